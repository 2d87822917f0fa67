// Questions to the operator, and what there is to know of one thing.

import { fill, h, text } from "./dom.js";

// All there is in a row of an answer, with what can be done about it.
export function showDetails(title, row, notes = [], actions = []) {
    const entries = Object.entries(row).map(([name, value]) => {
        const said = typeof value === "object" ? JSON.stringify(value) : String(value);
        return [h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, longText(said))];
    });
    const dialog = h("dialog", { "aria-label": title });
    const buttons = actions.map(({ title: label, run, danger }) => {
        const act = () => {
            dialog.close();
            run();
        };
        return h("button", { type: "button", class: danger && "danger", onclick: act }, label);
    });
    const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
    fill(
        dialog,
        h("h2", {}, title),
        notes.map((note) => h("p", {}, note)),
        h("dl", {}, entries),
        h("p", { class: "buttons" }, buttons, close),
    );
    open(dialog);
}

// Asks for the values of some fields: `{ name, label, type, value, required, hint }`. `null`: the
// operator has thought better of it.
export function askFor({ title, notes = [], fields, go = "Go on", danger = false }) {
    return new Promise((resolve) => {
        let answer = null;
        const dialog = h("dialog", { "aria-label": title, onclose: () => resolve(answer) });
        const inputs = fields.map(({ name, type = "text", value, required, pattern }) =>
            h("input", {
                name,
                type,
                value,
                required,
                pattern,
                autocomplete: "off",
                spellcheck: "false",
            }),
        );
        const labels = fields.map(({ label }, at) => h("label", {}, label, inputs[at]));
        const submit = (event) => {
            event.preventDefault();
            answer = Object.fromEntries(inputs.map((input) => [input.name, input.value]));
            dialog.close();
        };
        const form = h(
            "form",
            { onsubmit: submit },
            labels,
            h(
                "p",
                { class: "buttons" },
                h("button", { class: danger && "danger" }, go),
                h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
            ),
        );
        fill(
            dialog,
            h("h2", {}, title),
            notes.map((note) => h("p", {}, note)),
            form,
        );
        open(dialog);
    });
}

export function tell(title, said) {
    showDetails(title, {}, said);
}

function open(dialog) {
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
}

function longText(value) {
    return h("span", { class: "long" }, text(value, LONGEST));
}

const LONGEST = 2000;
