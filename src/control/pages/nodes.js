// The nodes of the cluster as this one sees them, and what is wrong.

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { bytes, count, duration, micros } from "./format.js";
import { Poll } from "./poll.js";
import { Table } from "./table.js";
import { Notice } from "./widgets.js";

export function open(root) {
    const notice = new Notice();
    const figures = h("p");
    const faults = h("ul", { class: "faults", "aria-label": "What is wrong", hidden: true });
    const table = new Table(COLUMNS, {
        caption: "Nodes",
        empty: "None is known.",
        key: (row) => row.incarnation,
    });
    const intro =
        "Each row is a node as this one sees it. A link is down while nothing is heard through " +
        "it; what waits is what the other node has not dealt with, and beyond queue_bytes events " +
        "for it are dropped.";
    fill(root, h("p", {}, intro), figures, notice.element, faults, table.element);
    let drawn;
    const poll = new Poll(
        () => get("/clusterz"),
        EVERY_MS,
        ({ data, error }) => {
            notice.show(error);
            if (!data) return;
            fill(figures, summary(data));
            table.show(data.nodes);
            const said = data.wrong.join("\n");
            if (said === drawn) return;
            drawn = said;
            faults.hidden = data.wrong.length === 0;
            fill(
                faults,
                data.wrong.map((fault) => h("li", {}, fault)),
            );
        },
    );
    return () => poll.stop();
}

function summary({ cluster, node, nodes, nats, bucket, removals }) {
    const connection = nats.is_connected ? "connected to NATS" : "not connected to NATS";
    const removed = removals.others + removals.own;
    return (
        `This is node ${node} of ${nodes.length} of the cluster ${cluster}, ${connection} for ` +
        `${duration(nats.since_ms)}; the bucket is read up to ${count(bucket.revision)}. Since ` +
        `the start: nodes removed: ${count(removed)}, lost connections to NATS that came back: ` +
        `${count(nats.reconnects)}.`
    );
}

function state({ link }) {
    return h("span", { class: link === "down" ? "badge bad" : "badge" }, link);
}

// In the order of `stentor nodes`.
const COLUMNS = [
    { title: "Node", tight: true, show: (row) => row.node },
    { title: "Number", number: true, show: (row) => count(row.number) },
    { title: "Link", tight: true, show: (row) => row.link, node: state },
    { title: "Linked for", number: true, show: (row) => duration(row.linked_ms) },
    { title: "Silent for", number: true, minor: true, show: (row) => duration(row.silent_ms) },
    { title: "Round trip", number: true, show: (row) => micros(row.round_trip_us) },
    { title: "Waiting", number: true, show: (row) => bytes(row.queued_bytes) },
    { title: "Sent", number: true, minor: true, show: (row) => bytes(row.bytes_sent) },
    { title: "Received", number: true, minor: true, show: (row) => bytes(row.bytes_received) },
    { title: "Sent again", number: true, minor: true, show: (row) => count(row.parcels_resent) },
    { title: "Events dropped", number: true, show: (row) => count(row.events_dropped) },
    { title: "What is wrong", wide: true, show: (row) => row.wrong.join("; ") || "–" },
];

const EVERY_MS = 2000;
