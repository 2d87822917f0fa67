// A page without a library, in a browser: its WebSocket is compressed, and it publishes, calls and
// listens by plain requests, too. run.sh says where.

import { Browser } from "../dashboard/browser.mjs";
import { end, equal, ok, test } from "../dashboard/check.mjs";

const { ADMIN, CHROMIUM, SCRATCH, WEB } = process.env;

// What the router has counted: messages that were compressed, and their bytes, by direction.
async function compressed() {
    const lines = (await (await fetch(`http://${ADMIN}/metrics`)).text()).split("\n");
    const value = (name, direction) => {
        const start = `stentor_compressed_${name}_total{direction="${direction}"} `;
        return Number(lines.find((line) => line.startsWith(start)).slice(start.length));
    };
    const both = (name) => ({ received: value(name, "received"), sent: value(name, "sent") });
    return { messages: both("messages"), bytes: both("bytes"), plain: both("plain_bytes") };
}

const browser = new Browser(CHROMIUM, `${SCRATCH}/browser`);
try {
    const page = await browser.page();
    await page.open(`http://${WEB}/`);
    await page.until("window.isReady");

    await test("the browser agrees to compression", async () => {
        await page.value(`(async () => {
            window.session = await Session.join("realm1");
            await session.subscribe("com.example.text");
        })()`);
        const agreed = await page.value("session.socket.extensions");
        ok(agreed.startsWith("permessage-deflate"), agreed);
        ok(agreed.includes("server_no_context_takeover"), agreed);
    });

    await test("what it publishes comes back as it was, long and short", async () => {
        const before = await compressed();
        for (const length of [10, 200, 1024, 65_536, 700_000]) {
            await page.value(`(async () => {
                window.sent = { args: [text(${length}), ${length}] };
                sent.publication = await session.publish("com.example.text", sent.args);
            })()`);
            await page.until("session.events.length === 1");
            const same = await page.value(`(() => {
                const { publication, args } = session.events.pop();
                return publication === sent.publication &&
                    JSON.stringify(args) === JSON.stringify(sent.args);
            })()`);
            ok(same, `${length} characters`);
        }
        let after = before;
        const more = (name, direction) => after[name][direction] - before[name][direction];
        // What a turn has compressed is counted at its end.
        for (let left = 50; left > 0 && more("messages", "sent") < 3; left -= 1) {
            after = await compressed();
        }
        // Browsers compress short ones, too; the router only those over `output.deflate_min_bytes`.
        ok(more("messages", "received") >= 3, JSON.stringify(after));
        equal(more("messages", "sent"), 3, "events that went out compressed");
        for (const direction of ["received", "sent"]) {
            ok(more("plain", direction) > 700_000, JSON.stringify(after));
            ok(more("bytes", direction) < more("plain", direction) / 2, JSON.stringify(after));
        }
    });

    await test("it calls over the WebSocket", async () => {
        equal(await page.value(`session.call("com.example.add", [2, 3])`), [5]);
        const long = `session.call("com.example.add", [text(5000), text(7000)])`;
        equal(await page.value(`${long}.then(([sum]) => sum === text(5000) + text(7000))`), true);
    });

    await test("it publishes by fetch, and hears it both ways", async () => {
        await page.value(`(async () => {
            window.listener = await Listener.open("com.example.text");
        })()`);
        for (const length of [10, 20_000]) {
            const { status, body } = await page.value(
                `post("/publish", { topic: "com.example.text", args: [text(${length})] })`,
            );
            equal(status, 200);
            for (const hears of ["session", "listener"]) {
                await page.until(`${hears}.events.length === 1`);
                equal(
                    await page.value(`(() => {
                        const { publication, args } = ${hears}.events.pop();
                        return [publication, args.length, args[0] === text(${length})];
                    })()`),
                    [body.id, 1, true],
                    hears,
                );
            }
        }
    });

    await test("what comes over the WebSocket is heard by EventSource", async () => {
        const args = "[text(3000), { a: null }]";
        const id = await page.value(`session.publish("com.example.text", ${args})`);
        await page.until("listener.events.length === 1 && session.events.length === 1");
        const heard = await page.value("listener.events.pop()");
        equal([heard.publication, heard.topic], [id, "com.example.text"]);
        equal([heard.args[0].length, heard.args[1]], [3000, { a: null }]);
    });

    await test("it calls by fetch", async () => {
        const call = (procedure, args) =>
            page.value(`post("/call", ${JSON.stringify({ procedure, args })})`);
        equal(await call("com.example.add", [2, 3]), { status: 200, body: { args: [5] } });
        const refused = await call("com.other.add", [2, 3]);
        equal([refused.status, refused.body.error], [200, "wamp.error.not_authorized"]);
    });

    await test("nobody has complained", async () => {
        equal(await page.value("session.ended ?? null"), null);
        equal(page.faults, []);
    });
} finally {
    await browser.close();
}
end();
