// What a newcomer asks on a bad day, each answered by the dashboard and by the command, in less
// than a minute, while a client does not read. Draws the pictures of docs/operations.md.

import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { equal, ok, test } from "./check.mjs";
import { drawForDocs } from "./looks.mjs";
import { openFront, settle, visit } from "./frame.mjs";
import { stall } from "./stalled.mjs";

const run = promisify(execFile);
const { ADMIN, SCRATCH, SLEEPY_TICKET, STENTOR_BIN, WAMP } = process.env;

// The lines of what the command prints.
async function said(...words) {
    const [command, ...rest] = words;
    const { stdout } = await run(STENTOR_BIN, [command, "--admin", `http://${ADMIN}`, ...rest]);
    return stdout.trimEnd().split("\n");
}

// Asks again until the answer holds.
async function eventually(what, ask) {
    for (const begin = Date.now(); Date.now() - begin < MINUTE_MS; ) {
        const found = await ask();
        if (found) return found;
        await new Promise((go) => setTimeout(go, 300));
    }
    throw new Error(`not within a minute: ${what}`);
}

// The texts of the cells of a table, row by row.
const rows = (page, caption) =>
    page.value(`(() => {
        const tables = [...document.querySelectorAll("main table")];
        const table = tables.find((it) => it.caption.innerText === ${JSON.stringify(caption)});
        const lines = [...(table?.tBodies[0].rows ?? [])];
        return lines.map((line) => [...line.cells].map((cell) => cell.innerText));
    })()`);

async function shown(page, title, caption, holds) {
    await visit(page, title);
    await settle(page, title);
    return eventually(`${title}: ${caption}`, async () => {
        const found = await rows(page, caption);
        return holds(found) && found;
    });
}

const names = (word) => (found) => found.some((row) => row.includes(word));

export async function testQuestions(page, base) {
    await openFront(page, base);
    const wake = await stall(WAMP, SLEEPY_TICKET);

    await test("who is slow?", async () => {
        await shown(page, "Slow", "For whom most bytes wait", names("sleepy"));
        const isSleepy = ([, first]) => first?.split(/ +/)[1] === "sleepy";
        await eventually("sessions", async () => isSleepy(await said("sessions")));
    });

    await test("why was it cut?", async () => {
        const found = await shown(page, "Ended", "The last sessions that ended", (all) =>
            all.some((row) => row.includes("sleepy") && row.includes("slow_consumer")),
        );
        ok(found.length > 0, "it is listed");
        // It is back, and slow again.
        await shown(page, "Slow", "For whom most bytes wait", names("sleepy"));
        await drawForDocs(page, "Slow", { width: 1360, height: 560 });
        const lines = await said("sessions", "--closed", "--reason", "slow_consumer");
        ok(/ sleepy .* slow_consumer +router/.test(lines[1]), lines[1]);
    });

    await test("which topic is busiest?", async () => {
        const [first] = await shown(page, "Topics", "Busiest topics", ([row]) => row?.length > 1);
        await drawForDocs(page, "Topics", { width: 1100, height: 420 });
        const [head, line] = await said("topics");
        ok(head.startsWith("TOPIC"), head);
        equal(line.split(/ +/)[0], first[0]);
    });

    await test("which shard is full?", async () => {
        const isLoad = (row) => /^\d+ %$/.test(row[1]);
        const found = await shown(page, "Shards", "Shards", (all) => all.every(isLoad));
        await drawForDocs(page, "Shards", { width: 1100, height: 420 });
        const [head, ...lines] = await said("shards");
        ok(/^SHARD +LOAD/.test(head), head);
        equal(lines.length, found.length);
        ok(lines.every((line) => /^\d+ +\d+ %/.test(line)), lines.join("\n"));
        ok(lines.some((line) => !/^\d+ +0 %/.test(line)), "some shard works");
    });

    await test("what may a role do?", async () => {
        await shown(page, "Roles", "Rules", names("viewer"));
        await drawForDocs(page, "Roles", { width: 1100, height: 540 });
        const lines = await said("roles", "viewer");
        const rule = lines.map((line) => line.trim().split(/ {2,}/));
        ok(
            rule.some(([uri, match, may]) => [uri, match, may].join() === VIEWER),
            lines.join("\n"),
        );
        const { stdout } = await run(STENTOR_BIN, [
            ...["explain", "publish", "com.example.x", "--live", "--role", "viewer"],
            ...["--admin", `http://${ADMIN}`],
        ]).catch((error) => error);
        ok(stdout.includes("denied"), stdout);
    });

    await test("what has the last reload changed?", async () => {
        const file = `${SCRATCH}/stentor.toml`;
        const text = readFileSync(file, "utf8");
        writeFileSync(file, text.replace("soft_ms = 4000", "soft_ms = 5000"));
        await said("reload", "--token-file", `${SCRATCH}/token`);
        const [row] = await shown(page, "Operate", "What the last reload has changed", ([row]) =>
            row?.includes("output.soft_ms"),
        );
        ok(row.includes("from 4000 to 5000"), row.join());
        await drawForDocs(page, "Operate", { width: 1100, height: 420 });
        const lines = await said("changes");
        ok(lines.some((line) => /output\.soft_ms.*from 4000 to 5000/.test(line)), lines.join("\n"));
    });

    wake();
    await test("the console has said nothing about questions", () => equal(page.faults, []));
}

const VIEWER = "com.example.,prefix,subscribe";
const MINUTE_MS = 60_000;
