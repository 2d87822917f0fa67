// The busiest topics and procedures.

import { get } from "./api.js";
import { showDetails } from "./dialog.js";
import { fill, h } from "./dom.js";
import { count, duration, rate } from "./format.js";
import { Poll } from "./poll.js";
import { Table } from "./table.js";
import { Notice, anyRealm, input, select, unanswered } from "./widgets.js";

export const topics = page(
    "topics",
    "Topic",
    [
        {
            title: "Published/s",
            number: true,
            order: "rate",
            show: (row) => rate(row.rate),
        },
        {
            title: "Events/s",
            number: true,
            order: "events",
            show: (row) => rate(row.event_rate),
        },
        {
            title: "Subscribers",
            number: true,
            order: "subscribers",
            show: (row) => count(row.subscribers),
        },
        {
            title: "Publications",
            number: true,
            minor: true,
            show: (row) => count(row.publications),
        },
        { title: "Events", number: true, minor: true, show: (row) => count(row.events) },
    ],
    "rate",
);

export const procedures = page("procedures", "Procedure", [
    { title: "Calls/s", number: true, show: (row) => rate(row.rate) },
    { title: "Calls", number: true, show: (row) => count(row.calls) },
    { title: "Callees", number: true, show: (row) => count(row.callees) },
]);

// `list`: the name of the endpoint and of the list in its answer; `sort`: its first order, if it
// has several.
function page(list, title, figures, sort) {
    const columns = [
        { title, show: name },
        { title: "Realm", show: (row) => row.realm, minor: true },
        ...figures,
    ];
    return { open: (root, feed) => open(root, feed, list, columns, sort) };
}

function open(root, feed, list, columns, sort) {
    const asked = { realm: "", sort };
    let [search, rows] = ["", []];
    const notice = new Notice();
    const since = h("p");
    const poll = new Poll(() => get(`/api/${list}`, { ...asked, limit: MOST }), EVERY_MS, show);
    const table = new Table(columns, {
        caption: `Busiest ${list}`,
        empty: `No ${list} are known.`,
        key: (row) => `${row.realm} ${row.match ?? ""} ${row.uri}`,
        order: asked.sort,
        onOrder: (order) => ask({ sort: order }),
        onOpen: (row) => showDetails(row.uri.slice(0, 100), row),
    });
    const form = h(
        "form",
        { class: "filters", onsubmit: (event) => event.preventDefault() },
        input("Search", "", (text) => {
            search = text;
            draw();
        }),
        select("Realm", "", anyRealm(feed), (realm) => ask({ realm })),
    );
    fill(root, form, notice.element, since, table.element);

    function ask(changed) {
        Object.assign(asked, changed);
        poll.now();
    }

    function show({ data, error }) {
        notice.show(error ?? unanswered(data));
        table.element.hidden = error?.isMissing ?? false;
        if (!data) return;
        fill(
            since,
            data.since_seconds ? `Counted for ${duration(data.since_seconds * 1000)}.` : "",
        );
        rows = data[list];
        draw();
    }

    function draw() {
        table.show(rows.filter((row) => row.uri.includes(search)));
    }

    return () => poll.stop();
}

// Of a subscription also how its URI matches, if that is a pattern.
function name(row) {
    const uri = row.is_cut ? `${row.uri}…` : row.uri;
    return (row.match ?? "exact") === "exact" ? uri : `${uri} (${row.match})`;
}

const EVERY_MS = 2000;
const MOST = 1000;
