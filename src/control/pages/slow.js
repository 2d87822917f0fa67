// Who does not read as fast as it is sent to, and who was ended for it.

import { get } from "./api.js";
import { endedTable } from "./ended.js";
import { fill, h } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import { Poll } from "./poll.js";
import { WHO, keyOf, openSession } from "./sessions.js";
import { Table } from "./table.js";
import { Notice, meter } from "./widgets.js";

export function open(root, feed) {
    const notice = new Notice();
    const figures = h("p");
    let reasons = [];
    const waiting = new Table(columns(feed), {
        caption: "For whom most bytes wait",
        empty: "Nobody: all clients read as fast as they are sent to.",
        key: keyOf,
        onOpen: (row) => openSession(feed, row),
    });
    const cut = endedTable("Ended because they were too slow", () => reasons);
    const intro =
        "A client is slow when its socket refuses what it is offered. What is refused lies at " +
        "the client or in the network; what only waits lies at the router. The oldest refused " +
        "byte has waited for so long; up to twice as long may be said.";
    fill(root, h("p", {}, intro), figures, notice.element, waiting.element, cut.element);
    const closed = { reason: "slow_consumer", limit: MOST };
    const look = () =>
        Promise.all([
            get("/api/sessions", { sort: "pending", limit: MOST }),
            get("/api/sessions/closed", closed),
            get("/api/reasons"),
        ]);
    const poll = new Poll(look, EVERY_MS, ({ data, error }) => {
        notice.show(error);
        if (!data) return;
        reasons = data[2].reasons;
        waiting.show(data[0].sessions.filter((row) => row.pending_bytes > 0));
        cut.show(data[1].sessions);
    });
    const unlisten = feed.listen(({ router: { gauges, totals } }) => {
        const { events_dropped_slow: dropped, slow_consumers_disconnected: ended } = totals;
        const { output_bytes: all, refused_bytes: refused } = gauges;
        fill(
            figures,
            `${bytes(all)} wait, ${bytes(refused)} of them refused; ` +
                `${count(dropped)} events dropped, ${count(ended)} sessions ended since the start.`,
        );
    });
    return () => {
        poll.stop();
        unlisten();
    };
}

const columns = (feed) => [
    ...WHO,
    { title: "Waiting", number: true, show: (row) => bytes(row.pending_bytes) },
    { title: "Refused", number: true, show: (row) => bytes(row.refused_bytes) },
    { title: "Oldest", number: true, show: (row) => duration(row.oldest_ms) },
    {
        title: "Share of all",
        show: (row) => share(feed, row).toFixed(2),
        node: (row) => meter(share(feed, row)),
    },
    { title: "Missed", number: true, show: (row) => count(row.events_dropped) },
    { title: "Age", number: true, minor: true, show: (row) => duration(row.age_ms) },
    { title: "Address", tight: true, show: (row) => row.peer, minor: true },
];

function share({ router }, row) {
    return Math.min(1, row.pending_bytes / Math.max(1, router.gauges.output_bytes));
}

const EVERY_MS = 2000;
const MOST = 50;
