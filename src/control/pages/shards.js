// The event loops: which is full, which stands still, and what waits at it.

import { fill, h } from "./dom.js";
import { bytes, count, duration, percent } from "./format.js";
import { Table } from "./table.js";
import { meter } from "./widgets.js";

export function open(root, feed) {
    const table = new Table(columns(feed), {
        caption: "Shards",
        empty: "None is known.",
        key: (row) => row.shard,
    });
    const intro =
        "Each shard is a thread with connections of its own. Load is the share of the last " +
        "second in which it worked; at 100 % it is full, and its clients wait.";
    fill(root, h("p", {}, intro), table.element);
    return feed.listen(() => table.show(feed.shards));
}

const columns = (feed) => [
    { title: "Shard", tight: true, show: (row) => `shard ${row.shard}` },
    { title: "Load", number: true, show: (row) => percent(load(feed, row)) },
    {
        title: "",
        show: (row) => String(load(feed, row)),
        node: (row) => meter(load(feed, row) ?? 0),
    },
    { title: "Unanswered", number: true, show: (row) => duration(row.unanswered_seconds * 1000) },
    { title: "Sessions", number: true, show: (row) => count(row.gauges.sessions) },
    { title: "Mail", number: true, show: (row) => bytes(row.queued_bytes) },
    { title: "Held", number: true, minor: true, show: (row) => bytes(row.held_bytes) },
    { title: "Waiting for sockets", number: true, show: (row) => bytes(row.gauges.output_bytes) },
    {
        title: "Not dealt with",
        number: true,
        minor: true,
        show: (row) => bytes(row.gauges.input_bytes),
    },
    { title: "Calls", number: true, minor: true, show: (row) => count(row.gauges.calls) },
    { title: "Turns", number: true, minor: true, show: (row) => count(row.turns) },
];

function load(feed, row) {
    return feed.last.busy?.[row.shard];
}
