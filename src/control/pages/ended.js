// The sessions that have ended, and why.

import { get } from "./api.js";
import { showDetails } from "./dialog.js";
import { fill, h } from "./dom.js";
import { bytes, count, duration, time } from "./format.js";
import { Poll } from "./poll.js";
import { keyOf } from "./sessions.js";
import { Table } from "./table.js";
import { Notice, anyRealm, input, select } from "./widgets.js";

export function open(root, feed, query) {
    const asked = { search: "", realm: "", reason: "", ...Object.fromEntries(query) };
    const notice = new Notice();
    let reasons = [];
    const look = () =>
        Promise.all([get("/api/sessions/closed", { ...asked, limit: MOST }), get("/api/reasons")]);
    const poll = new Poll(look, EVERY_MS, show);
    const table = endedTable("The last sessions that ended", () => reasons);
    const counts = new Table(REASON_COLUMNS, {
        caption: "Since the start",
        empty: "No session has ended.",
        key: (row) => row.reason,
    });
    const options = () => [["", "any"], ...reasons.map(({ reason }) => [reason, reason])];
    const form = h(
        "form",
        { class: "filters", onsubmit: (event) => event.preventDefault() },
        input("Search", asked.search, (search) => ask({ search })),
        select("Reason", asked.reason, options, (reason) => ask({ reason })),
        select("Realm", asked.realm, anyRealm(feed), (realm) => ask({ realm })),
    );
    fill(root, form, notice.element, table.element, counts.element);

    function ask(changed) {
        Object.assign(asked, changed);
        poll.now();
    }

    function show({ data, error }) {
        notice.show(error);
        if (!data) return;
        reasons = data[1].reasons;
        table.show(data[0].sessions);
        counts.show(
            reasons.filter((row) => row.count > 0).sort((one, other) => other.count - one.count),
        );
    }

    return () => poll.stop();
}

// `reasons()`: those of /api/reasons.
export function endedTable(caption, reasons) {
    return new Table(columns(reasons), {
        caption,
        empty: "None has ended like this lately.",
        key: keyOf,
        onOpen: (row) => showDetails(`Session ${row.session}`, row, [why(reasons(), row)]),
    });
}

function why(reasons, row) {
    return `${row.reason}, ended by the ${row.closed_by}. ${sentence(reasons, row)}`;
}

// What is no reason of the table is a rule of transports.
function sentence(reasons, { reason }) {
    const known = (name) => reasons.find((row) => row.reason === name);
    return (known(reason) ?? known("transport_error"))?.when ?? "";
}

const columns = (reasons) => [
    { title: "Session", tight: true, show: (row) => String(row.session) },
    { title: "Authid", show: (row) => row.authid },
    { title: "Realm", show: (row) => row.realm, minor: true },
    { title: "Ended", tight: true, show: (row) => time(row.ended) },
    {
        title: "Reason",
        tight: true,
        show: (row) => row.reason,
        node: (row) => h("span", { class: "badge" }, row.reason),
    },
    { title: "By", tight: true, show: (row) => row.closed_by },
    { title: "Why", wide: true, minor: true, show: (row) => sentence(reasons(), row) },
    { title: "Lasted", number: true, show: (row) => duration(row.duration_ms) },
    { title: "Left waiting", number: true, show: (row) => bytes(row.pending_bytes) },
    { title: "Address", tight: true, show: (row) => row.peer, minor: true },
];

const REASON_COLUMNS = [
    { title: "Reason", show: (row) => row.reason },
    { title: "Sessions", number: true, show: (row) => count(row.count) },
    { title: "Ended by", show: (row) => row.closed_by },
    { title: "When", show: (row) => row.when },
];

const EVERY_MS = 2000;
const MOST = 500;
