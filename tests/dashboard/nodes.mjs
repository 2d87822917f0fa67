// The nodes of a cluster, as a router that is one would tell of them.

import { equal, ok, test } from "./check.mjs";
import { openFront, visit } from "./frame.mjs";

const other = {
    node: "b",
    number: 1,
    incarnation: "000000000000000b",
    link: "linked",
    linked_ms: 3_723_000,
    silent_ms: 400,
    round_trip_us: 1_250,
    queued_bytes: 0,
    parcels_sent: 7_000,
    bytes_sent: 1_234_567,
    parcels_resent: 0,
    parcels_received: 6_000,
    bytes_received: 987_654,
    window_waits: 0,
    events_dropped: 0,
    lag: 0,
    is_alike: true,
    wrong: [],
};
const fault = "there is no link with it, and nothing was heard of it for 0:00:07";
const down = {
    ...other,
    node: "c",
    number: 2,
    incarnation: "000000000000000c",
    link: "down",
    linked_ms: null,
    silent_ms: 7_000,
    round_trip_us: null,
    queued_bytes: 23_104,
    events_dropped: 12,
    wrong: [fault],
};
const cluster = {
    cluster: "demo",
    node: "a",
    number: 0,
    wrong: [`node c: ${fault}`],
    nodes: [
        { node: "a", number: 0, incarnation: "000000000000000a", link: "self", wrong: [] },
        other,
        down,
    ],
    nats: { is_connected: true, since_ms: 3_723_000, reconnects: 1 },
    bucket: { revision: 12_345 },
    removals: { others: 1, own: 0 },
};

export async function testNodes(page, base) {
    const router = await (await fetch(`${base}/api/router`)).json();
    const link = `document.querySelector('#nav a[href="#nodes"]')`;

    await test("a router alone has no page of nodes", async () => {
        equal(router.cluster, null);
        await openFront(page, base);
        await page.until(`${link}.hidden`);
    });

    await test("a node shows the others, and what is wrong", async () => {
        router.cluster = { name: "demo", node: "a" };
        let said = cluster;
        const made = (path) => {
            if (path === "/api/router") return { body: router };
            return path === "/clusterz" ? { body: said } : undefined;
        };
        await page.intercept(made, "*");
        await page.look({ width: 1360, height: 480 });
        await openFront(page, base);
        await page.until(`!${link}.hidden`);
        await visit(page, "Nodes");
        await page.until(`document.querySelectorAll("main tbody tr").length === 3`);
        equal(await page.value(`document.querySelector(".badge.bad").innerText`), "down");
        equal(await page.text(".faults"), `node c: ${fault}`);
        const titles = `[...document.querySelectorAll("main th")].map((it) => it.textContent)`;
        equal(await page.value(`${titles}.slice(3, 6).join()`), "Linked for,Silent for,Round trip");
        ok((await page.text("main")).includes("node a of 3 of the cluster demo"), "who is asked");
        await page.picture(`${process.env.PICTURES}/docs-nodes.png`);
        await page.look({ width: 360, height: 780, dark: true });
        await page.picture(`${process.env.PICTURES}/nodes-narrow-dark.png`);
        const width = await page.value("document.documentElement.scrollWidth");
        ok(width <= 360, `it is ${width} wide`);
        said = { ...cluster, wrong: [], nodes: [cluster.nodes[0], other] };
        await page.until(`document.querySelector(".faults").hidden`);
        equal(await page.value(`document.querySelectorAll("main tbody tr").length`), 2);
    });
}
