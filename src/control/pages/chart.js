// Lines over the last minute, or as much of the last five as is known, on a canvas.

import { fill, h } from "./dom.js";
import { MOST_POINTS } from "./feed.js";
import { duration } from "./format.js";

export class Chart {
    #canvas = h("canvas", { role: "img" });
    #legend = h("ul", { class: "legend" });
    #lines;
    #format;
    #most;
    #base;
    #title;
    #points = [];
    #pointed = null;

    // `lines`: pairs of a name and the function that finds its value in a point; `most`: the least
    // that the scale reaches up to; `base`: of the units, 1000 or 1024.
    constructor(title, format, lines, { most = 1, base = 1000 } = {}) {
        [this.#title, this.#format, this.#lines] = [title, format, lines];
        [this.#most, this.#base] = [most, base];
        this.element = h(
            "figure",
            { class: "chart" },
            h("figcaption", {}, title),
            this.#canvas,
            this.#legend,
        );
        this.#canvas.addEventListener("pointermove", (event) => this.#point(event.offsetX));
        this.#canvas.addEventListener("pointerleave", () => this.#point(null));
        new ResizeObserver(() => this.#draw()).observe(this.#canvas);
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    }

    show(points, lines = this.#lines) {
        [this.#points, this.#lines] = [points, lines];
        this.#draw();
    }

    #point(x) {
        this.#pointed = x;
        this.#draw();
    }

    #draw() {
        const { clientWidth: width, clientHeight: height } = this.#canvas;
        if (width === 0) return;
        const scale = devicePixelRatio;
        [this.#canvas.width, this.#canvas.height] = [width * scale, height * scale];
        const pen = this.#canvas.getContext("2d");
        pen.scale(scale, scale);
        const style = getComputedStyle(this.#canvas);
        const color = (at) => style.getPropertyValue(`--series-${at % SERIES}`);
        const field = this.#field(width, height, pen, style);
        this.#lines.forEach(([, value], at) => this.#line(pen, field, color(at), value));
        const shown = this.#shown(field);
        if (shown && this.#pointed !== null) this.#cross(pen, field, shown, style);
        this.#describe(shown);
    }

    // Where the lines lie, and how their values become places.
    #field(width, height, pen, style) {
        const [first, last] = [this.#points[0]?.at ?? 0, this.#points.at(-1)?.at ?? 0];
        const span = Math.min(Math.max(last - first, SHORTEST_MS), LONGEST_MS);
        const values = this.#points.flatMap((point) =>
            this.#lines.map(([, value]) => value(point) ?? 0),
        );
        const top = niceAbove(Math.max(this.#most, ...values), this.#base);
        pen.font = `11px ${style.fontFamily}`;
        const ticks = [0, top / 2, top].map((value) => [value, this.#format(value)]);
        const left = Math.max(...ticks.map(([, label]) => pen.measureText(label).width)) + 8;
        const [right, above, below] = [width - 2, 8, height - 16];
        const x = (at) => right - ((last - at) / span) * (right - left);
        const y = (value) => below - (value / top) * (below - above);
        [pen.fillStyle, pen.strokeStyle] = [style.color, style.borderTopColor];
        pen.textAlign = "right";
        for (const [value, label] of ticks) {
            pen.fillText(label, left - 6, y(value) + 4);
            stroke(pen, 1, [
                [left, y(value)],
                [right, y(value)],
            ]);
        }
        pen.fillText("now", right, height - 3);
        pen.textAlign = "left";
        pen.fillText(`${duration(span)} ago`, left, height - 3);
        return { x, y, left, above, below };
    }

    // A gap where the page was not looked at.
    #line(pen, { x, y, left }, color, value) {
        pen.strokeStyle = color;
        let [part, before] = [[], -Infinity];
        for (const point of this.#points) {
            const known = value(point);
            if (known === undefined || x(point.at) < left) continue;
            if (point.at - before > GAP_MS) {
                stroke(pen, 1.5, part);
                part = [];
            }
            part.push([x(point.at), y(known)]);
            before = point.at;
        }
        stroke(pen, 1.5, part);
    }

    // The point that the pointer is at, or else the last.
    #shown({ x }) {
        if (this.#pointed === null || this.#points.length === 0) return this.#points.at(-1);
        const distance = (point) => Math.abs(x(point.at) - this.#pointed);
        return this.#points.reduce((best, point) =>
            distance(point) < distance(best) ? point : best,
        );
    }

    #cross(pen, { x, above, below }, point, style) {
        pen.strokeStyle = style.color;
        stroke(pen, 1, [
            [x(point.at), above],
            [x(point.at), below],
        ]);
    }

    #describe(point) {
        const entries = this.#lines.map(([name, value]) => [
            name,
            point ? this.#format(value(point)) : "–",
        ]);
        const texts = entries.map(([name, value]) => `${name} ${value}`);
        this.#canvas.setAttribute("aria-label", `${this.#title}: ${texts.join(", ")}`);
        if (this.#legend.children.length !== entries.length) {
            const items = entries.map((_, at) => h("li", { class: `series-${at % SERIES}` }));
            fill(this.#legend, items);
        }
        entries.forEach(([name, value], at) => {
            fill(this.#legend.children[at], `${name} `, h("b", {}, value));
        });
    }
}

function stroke(pen, width, places) {
    pen.lineWidth = width;
    pen.beginPath();
    places.forEach(([x, y], at) => (at ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
}

// A round number of a unit, as high as the value or higher.
function niceAbove(value, base) {
    let unit = 1;
    while (value > unit * base) unit *= base;
    return unit * [1, 2, 5, 10, 20, 50, 100, 200, 500, base].find((step) => step * unit >= value);
}

const SHORTEST_MS = 60_000;
const LONGEST_MS = MOST_POINTS * 1000;
const GAP_MS = 5000;
const SERIES = 6;
