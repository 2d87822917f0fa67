// A table of many rows, of which some are on the page. What has not changed stays untouched, so
// that what is focused or selected remains so.

import { fill, h } from "./dom.js";
import { count } from "./format.js";

// A column: `title`; `show(row)` gives its text, and `node(row)`, if there is one, what stands for
// it; `order` is what `onOrder` is told. How it looks: `number` aligns to the right, `tight` is not
// broken, `wide` gets room, `minor` goes first where there is little.
export class Table {
    #columns;
    #settings;
    #rows = [];
    #first = 0;
    #order;
    #known = new Map();
    #body = h("tbody");
    #place = h("span", { role: "status" });
    #heads;
    #pager;

    // `settings`: `caption`, `empty` (said instead of no rows), `key(row)`, `order`,
    // `onOrder(order)`, `onOpen(row)`: makes a button of the first column.
    constructor(columns, settings) {
        [this.#columns, this.#settings, this.#order] = [columns, settings, settings.order];
        this.#heads = columns.map((column) => this.#head(column));
        this.#pager = h(
            "p",
            { class: "pager" },
            this.#place,
            h("button", { type: "button", onclick: () => this.#turn(-1) }, "Previous"),
            h("button", { type: "button", onclick: () => this.#turn(1) }, "Next"),
        );
        const table = h(
            "table",
            {},
            h("caption", {}, settings.caption),
            h("thead", {}, h("tr", {}, this.#heads)),
            this.#body,
        );
        const scrolled = {
            class: "scroll",
            tabindex: "0",
            role: "region",
            "aria-label": settings.caption,
        };
        this.element = h("div", { class: "table" }, h("div", scrolled, table), this.#pager);
        this.#markOrder();
        this.#say("…", "empty waiting");
        this.#pager.hidden = true;
    }

    show(rows) {
        this.#rows = rows;
        this.#first = Math.min(this.#first, Math.max(0, Math.ceil(rows.length / PAGE) - 1) * PAGE);
        this.#draw();
    }

    #head(column) {
        const attributes = { scope: "col", class: classOf(column) };
        if (!column.order) return h("th", attributes, column.title);
        const choose = () => {
            this.#order = column.order;
            this.#first = 0;
            this.#markOrder();
            this.#settings.onOrder(column.order);
        };
        return h("th", attributes, h("button", { type: "button", onclick: choose }, column.title));
    }

    #markOrder() {
        this.#columns.forEach(({ order }, at) => {
            if (order && order === this.#order)
                this.#heads[at].setAttribute("aria-sort", "descending");
            else this.#heads[at].removeAttribute("aria-sort");
        });
    }

    #turn(pages) {
        this.#first += pages * PAGE;
        this.#draw();
    }

    #draw() {
        const shown = this.#rows.slice(this.#first, this.#first + PAGE);
        const known = new Map(shown.map((row) => [this.#settings.key(row), this.#line(row)]));
        this.#known = known;
        arrange(
            this.#body,
            [...known.values()].map((line) => line.element),
        );
        if (shown.length === 0) this.#say(this.#settings.empty, "empty");
        this.#drawPager(shown.length);
    }

    // A sentence instead of rows.
    #say(sentence, name) {
        const cell = h("td", { colspan: this.#columns.length, class: name }, sentence);
        this.#body.replaceChildren(h("tr", {}, cell));
    }

    #drawPager(shown) {
        const [all, from] = [this.#rows.length, this.#first];
        const [previous, next] = this.#pager.querySelectorAll("button");
        fill(this.#place, `${count(from + 1)} to ${count(from + shown)} of ${count(all)}`);
        previous.disabled = from === 0;
        next.disabled = from + PAGE >= all;
        this.#pager.hidden = all <= PAGE;
    }

    // The line of a row, as it was or made anew, with what has changed.
    #line(row) {
        const key = this.#settings.key(row);
        const line = this.#known.get(key) ?? this.#newLine();
        line.row = row;
        this.#columns.forEach((column, at) => {
            const text = column.show(row);
            if (line.texts[at] === text) return;
            line.texts[at] = text;
            const content = column.node ? column.node(row) : text;
            fill(line.cells[at], content);
        });
        return line;
    }

    #newLine() {
        const cells = this.#columns.map((column) => h("td", { class: classOf(column) }));
        const line = { cells: [...cells], texts: [], element: h("tr", {}, cells) };
        if (this.#settings.onOpen) {
            const open = () => this.#settings.onOpen(line.row);
            line.cells[0] = h("button", { type: "button", class: "link", onclick: open });
            cells[0].append(line.cells[0]);
        }
        return line;
    }
}

function classOf(column) {
    return (
        ["number", "tight", "wide", "minor"].filter((name) => column[name]).join(" ") || undefined
    );
}

// Puts elements in their order, and moves only those that stand elsewhere; the focus stays.
function arrange(parent, elements) {
    const wanted = new Set(elements);
    const focused = parent.contains(document.activeElement) ? document.activeElement : null;
    [...parent.children].filter((child) => !wanted.has(child)).forEach((child) => child.remove());
    elements.forEach((element, at) => {
        if (parent.children[at] !== element)
            parent.insertBefore(element, parent.children[at] ?? null);
    });
    if (focused?.isConnected && focused !== document.activeElement) focused.focus();
}

const PAGE = 50;
