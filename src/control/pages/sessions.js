// The open sessions: who is slow, who sends most, who is here.

import { kick } from "./actions.js";
import { get } from "./api.js";
import { showDetails } from "./dialog.js";
import { fill, h } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import { Poll } from "./poll.js";
import { Table } from "./table.js";
import { Notice, anyRealm, input, select, unanswered } from "./widgets.js";

export function open(root, feed, query) {
    const asked = {
        search: "",
        realm: "",
        authrole: "",
        authid: "",
        sort: "pending",
        ...Object.fromEntries(query),
    };
    const notice = new Notice();
    const found = h("p", { role: "status" });
    const poll = new Poll(() => get("/api/sessions", { ...asked, limit: MOST }), EVERY_MS, show);
    const table = new Table(COLUMNS, {
        caption: "Open sessions",
        empty: "No session is as asked for.",
        key: keyOf,
        order: asked.sort,
        onOrder: (order) => ask({ sort: order }),
        onOpen: (row) => openSession(feed, row),
    });
    const form = h(
        "form",
        { class: "filters", onsubmit: (event) => event.preventDefault() },
        input("Search", asked.search, (search) => ask({ search })),
        select("Realm", asked.realm, anyRealm(feed), (realm) => ask({ realm })),
        input("Role", asked.authrole, (authrole) => ask({ authrole })),
    );
    fill(root, form, notice.element, found, table.element);

    function ask(changed) {
        Object.assign(asked, changed);
        poll.now();
    }

    function show({ data, error }) {
        notice.show(error ?? unanswered(data));
        if (!data) return;
        const shown =
            data.sessions.length < data.count
                ? `, ${count(data.sessions.length)} of them here`
                : "";
        fill(found, `${count(data.count)} found${shown}`);
        table.show(data.sessions);
    }

    return () => poll.stop();
}

export const keyOf = (row) => `${row.realm} ${row.session}`;

// Who a session is.
export const WHO = [
    { title: "Session", tight: true, show: (row) => String(row.session) },
    { title: "Authid", show: (row) => row.authid },
    { title: "Role", show: (row) => row.authrole, minor: true },
    { title: "Realm", show: (row) => row.realm, minor: true },
];

const COLUMNS = [
    ...WHO,
    { title: "Waiting", number: true, order: "pending", show: (row) => bytes(row.pending_bytes) },
    { title: "Refused", number: true, show: (row) => bytes(row.refused_bytes) },
    { title: "Oldest", number: true, order: "oldest", show: (row) => duration(row.oldest_ms) },
    {
        title: "Sent us",
        number: true,
        order: "messages",
        show: (row) => count(row.messages_received),
    },
    { title: "Got", number: true, order: "sent", show: (row) => bytes(row.bytes_sent) },
    { title: "Missed", number: true, show: (row) => count(row.events_dropped) },
    { title: "Age", number: true, order: "age", show: (row) => duration(row.age_ms) },
    { title: "Address", tight: true, minor: true, show: (row) => row.peer },
    {
        title: "Transport",
        tight: true,
        minor: true,
        show: (row) => `${row.transport}, ${row.serializer}`,
    },
];

export function openSession(feed, row) {
    const { realm, session, authid } = row;
    showDetails(
        `Session ${session}`,
        row,
        [],
        [
            {
                title: "Kick…",
                danger: true,
                run: () => kick(feed, { realm, session }, `session ${session}`),
            },
            {
                title: "Kick all of this authid…",
                danger: true,
                run: () => kick(feed, { realm, authid }, `all of ${authid}`),
            },
        ],
    );
}

const EVERY_MS = 2000;
const MOST = 500;
