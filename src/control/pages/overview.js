// How the router does: figures, five minutes of lines, and its realms.

import { Chart } from "./chart.js";
import { fill, h } from "./dom.js";
import { byteRate, bytes, count, duration, micros, percent, rate, short } from "./format.js";
import { Table } from "./table.js";

export function open(root, feed) {
    const tiles = h("dl", { class: "tiles" });
    const alarms = h("div", { role: "alert" });
    const charts = CHARTS.map((make) => make());
    const realms = new Table(REALM_COLUMNS, {
        caption: "Realms",
        empty: "No realms.",
        key: (it) => it.name,
    });
    const grid = h(
        "div",
        { class: "charts" },
        charts.map(({ chart }) => chart.element),
    );
    fill(root, alarms, tiles, grid, realms.element);
    return feed.listen(() => {
        showAlarms(alarms, feed);
        showTiles(tiles, feed);
        charts.forEach(({ chart, lines }) => chart.show(feed.points, lines?.(feed.shards.length)));
        realms.show(feed.router.realms);
    });
}

const CHARTS = [
    chart("Messages", rate, [
        ["events out", (point) => point.delivered],
        ["messages in", (point) => point.received],
    ]),
    chart("Publications and calls", rate, [
        ["publications", (point) => point.publications],
        ["calls", (point) => point.calls],
        ["answers", (point) => point.answers],
    ]),
    chart(
        "Latency: how long turns take",
        micros,
        [
            ["99 %", (point) => point.slowest],
            ["median", (point) => point.median],
        ],
        { most: 100 },
    ),
    chart(
        "Traffic",
        byteRate,
        [
            ["out", (point) => point.bytesOut],
            ["in", (point) => point.bytesIn],
        ],
        { most: 1024, base: 1024 },
    ),
    chart(
        "Memory",
        bytes,
        [
            ["process", (point) => point.resident],
            ["waiting for sockets", (point) => point.pending],
            ["waiting inside", (point) => point.held],
        ],
        { most: 1024, base: 1024 },
    ),
    () => ({ chart: new Chart("Load of the shards", percent, []), lines: loadLines }),
    chart("Sessions", short, [["open", (point) => point.sessions]]),
    chart("Comings and goings", rate, [
        ["joined", (point) => point.joined],
        ["ended", (point) => point.ended],
    ]),
    chart("Slow consumers", rate, [
        ["events dropped", (point) => point.dropped],
        ["sessions ended", (point) => point.cut],
    ]),
];

function chart(title, format, lines, scale) {
    return () => ({ chart: new Chart(title, format, lines, scale) });
}

// One line for each shard, as long as they can be told apart.
function loadLines(shards) {
    if (shards <= MOST_LINES) {
        return Array.from({ length: shards }, (_, at) => [
            `shard ${at}`,
            (point) => point.busy[at],
        ]);
    }
    const mean = (busy) => busy.reduce((sum, share) => sum + share, 0) / busy.length;
    return [
        ["fullest", ({ busy }) => Math.max(...busy)],
        ["mean", ({ busy }) => mean(busy)],
    ];
}

function showAlarms(alarms, { router, shards, last }) {
    const { totals } = router;
    const stuck = shards
        .filter((shard) => shard.unanswered_seconds > STUCK_S)
        .map((shard) => shard.shard);
    const said = [
        stuck.length > 0 && `Shard ${stuck.join(", ")} has not answered for over ${STUCK_S} s.`,
        totals.store_outages > totals.store_recoveries &&
            "The store cannot be written: what is durable is not safe.",
        last.busy?.some((share) => share > FULL) && "A shard has no time left: it is full.",
        last.dropped > 0 && "Subscribers miss events: some read too slowly.",
    ].filter(Boolean);
    if (alarms.textContent !== said.join(""))
        fill(
            alarms,
            said.map((text) => h("p", { class: "alarm" }, text)),
        );
}

function showTiles(tiles, { router, last }) {
    const { gauges, totals } = router;
    const figures = [
        ["Sessions", count(gauges.sessions)],
        ["Connections", count(gauges.connections)],
        ["Subscriptions", count(gauges.subscriptions)],
        ["Registrations", count(gauges.registrations)],
        ["Events out", rate(last.delivered)],
        ["Publications", rate(last.publications)],
        ["Calls", rate(last.calls)],
        ["Calls under way", count(gauges.calls)],
        ["Output waiting", bytes(gauges.output_bytes)],
        ["Memory", bytes(router.process?.resident_bytes)],
        ["Ended as too slow", count(totals.slow_consumers_disconnected)],
        ["Up for", duration(router.uptime_seconds * 1000)],
    ];
    if (tiles.children.length === 0) {
        fill(
            tiles,
            figures.map(([name]) => h("div", {}, h("dt", {}, name), h("dd", {}))),
        );
    }
    const values = tiles.querySelectorAll("dd");
    figures.forEach(([, value], at) => {
        if (values[at].textContent !== value) fill(values[at], value);
    });
}

const REALM_COLUMNS = [
    { title: "Realm", show: (realm) => realm.name },
    { title: "Sessions", number: true, show: (realm) => count(realm.sessions) },
    { title: "Subscriptions", number: true, show: (realm) => count(realm.subscriptions) },
    { title: "Registrations", number: true, show: (realm) => count(realm.registrations) },
    {
        title: "Retained events",
        number: true,
        minor: true,
        show: (realm) => count(realm.retained_events),
    },
    { title: "Kept", number: true, minor: true, show: (realm) => bytes(realm.kept_bytes) },
];

const MOST_LINES = 6;
const STUCK_S = 2;
const FULL = 0.95;
