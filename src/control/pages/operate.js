// What can be changed at a running router, and what the last reload has changed.

import { change, where } from "./actions.js";
import { get } from "./api.js";
import { askFor, tell } from "./dialog.js";
import { fill, h } from "./dom.js";
import { time } from "./format.js";
import { Poll } from "./poll.js";
import { Table } from "./table.js";
import { forgetToken } from "./token.js";
import { Notice } from "./widgets.js";

export function open(root, feed) {
    const notice = new Notice();
    const summary = h("p", { role: "status" });
    const table = new Table(COLUMNS, {
        caption: "What the last reload has changed",
        empty: "Nothing.",
        key: (row) => `${row.at}`,
    });
    const poll = new Poll(() => get("/api/changes"), EVERY_MS, show);
    const reload = h(
        "button",
        { type: "button", onclick: () => reloadAsked(feed, poll) },
        "Reload the configuration…",
    );
    const drain = h(
        "button",
        { type: "button", class: "danger", onclick: () => drainAsked(feed) },
        "Drain and stop…",
    );
    const forget = h("button", { type: "button", onclick: forgetToken }, "Forget the token");
    fill(
        root,
        h("p", { class: "buttons" }, reload, drain, forget),
        notice.element,
        summary,
        table.element,
    );

    function show({ data, error }) {
        notice.show(error);
        table.element.hidden = error?.isMissing ?? false;
        if (!data) return;
        fill(summary, summaryOf(data));
        table.show(rowsOf(data));
    }

    return () => poll.stop();
}

function summaryOf({ time: at, error }) {
    if (error) return `The last reload, ${time(at)}, has failed and changed nothing: ${error}`;
    if (!at) return "The configuration has not been read again since the start.";
    return `Last reload: ${time(at)}.`;
}

function rowsOf({ applied = [], after_restart: later = [] }) {
    const now = (applied ?? []).map((row) => ({ ...row, when: "applied" }));
    const then = (later ?? []).map((row) => ({ ...row, when: "only after a restart" }));
    return [...now, ...then].map((row, at) => ({ ...row, at }));
}

const COLUMNS = [
    { title: "Place", show: (row) => row.place },
    { title: "Change", show: (row) => row.what },
    { title: "Holds", show: (row) => row.when },
];

async function reloadAsked(feed, poll) {
    const notes = [
        where(feed),
        "The configuration is read again and applied at once, or not at all.",
    ];
    if (!(await askFor({ title: "Reload", notes, fields: [], go: "Reload" }))) return;
    const done = await change("/api/reload", {});
    if (done) {
        const { applied, after_restart: later } = done;
        tell("Reloaded", [
            `${applied.length} changes applied, ${later.length} wait for a restart.`,
        ]);
    }
    poll.now();
}

async function drainAsked(feed) {
    const name = feed.router.environment?.name;
    const fields = [
        {
            name: "seconds",
            label: "Seconds to spread the goodbyes over",
            type: "number",
            value: "20",
            required: true,
        },
    ];
    if (name) fields.push({ name: "name", label: `Type ${name} to go on`, required: true });
    const notes = [
        where(feed),
        "Its clients are sent away one after the other, and then it stops. Nobody can undo this.",
    ];
    const answer = await askFor({
        title: "Drain and stop",
        notes,
        fields,
        go: "Drain",
        danger: true,
    });
    if (!answer) return;
    if (name && answer.name !== name)
        return tell("Nothing was changed", ["That is not the name of this router."]);
    const done = await change("/api/drain", {
        drain_ms: Math.round(Number(answer.seconds) * 1000),
    });
    if (done)
        tell("The router drains", [
            "It is not ready any more, and stops when its clients are gone.",
        ]);
}

const EVERY_MS = 3000;
