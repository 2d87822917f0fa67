// Parts that several pages have.

import { fill, h } from "./dom.js";

// A field with its label; `change` is told its value a moment after the last letter.
export function input(label, value, change, type = "search") {
    let timer;
    const field = h("input", {
        type,
        value,
        spellcheck: "false",
        autocomplete: "off",
        maxlength: "1000",
    });
    field.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(() => change(field.value), TYPING_MS);
    });
    return h("label", {}, label, field);
}

// A choice of `[value, title]` pairs; `options()` gives them when the list is opened, since they
// may change.
export function select(label, value, options, change) {
    const list = h("select", { onchange: () => change(list.value) });
    let drawn;
    const draw = () => {
        const chosen = list.value || value;
        const titles = options();
        const known = titles.some(([name]) => name === chosen)
            ? titles
            : [[chosen, chosen], ...titles];
        const now = JSON.stringify(known);
        if (now === drawn) return;
        drawn = now;
        fill(
            list,
            known.map(([name, title]) =>
                h("option", { value: name, selected: name === chosen }, title),
            ),
        );
    };
    list.addEventListener("focus", draw);
    draw();
    return h("label", {}, label, list);
}

export const anyRealm = (feed) => () => [["", "any"], ...feed.realms().map((name) => [name, name])];

// A field of a form, with its label.
export function field(label, name, value = "", more = {}) {
    return h(
        "label",
        {},
        label,
        h("input", { name, value, spellcheck: "false", autocomplete: "off", ...more }),
    );
}

// What stands in the fields of a form.
export const values = (form) => Object.fromEntries(new FormData(form));

// A place where a page says what goes wrong with what it asks.
export class Notice {
    element = h("p", { role: "status", class: "notice", hidden: true });

    show(error) {
        const said = error ? error.message : "";
        this.element.hidden = !error;
        if (this.element.textContent !== said) fill(this.element, said);
    }
}

// A meter from 0 to 1.
export const meter = (share) => h("meter", { min: 0, max: 1, high: 0.8, optimum: 0, value: share });

const TYPING_MS = 250;

// What to say of an answer that lacks something.
export function unanswered({ unanswered_shards: shards = [] }) {
    return shards.length > 0
        ? new Error(`Shard ${shards.join(", ")} does not answer; what it has is missing.`)
        : undefined;
}
