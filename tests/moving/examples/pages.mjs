// Pages of crossbar's examples in a browser, and who answers them: what they write into the console
// (or a program to its log) says that they hear and call each other.
//
// usage: pages.mjs NAME BACKEND, where BACKEND is a page or the log of a component, with PORT,
// SCRATCH, CHROMIUM and AUTOBAHN (a build of AutobahnJS) of the environment.

import { readFileSync } from "node:fs";
import { Browser } from "../../dashboard/browser.mjs";
import { equal, ok, test } from "../../dashboard/check.mjs";

const { AUTOBAHN, CHROMIUM, PORT, SCRATCH } = process.env;
const [name, backend] = process.argv.slice(2);
const LIBRARY = "http://autobahn.s3.amazonaws.com/*";
const PATIENCE_MS = 60_000;

// Numbers behind a text in these lines, in their order.
function numbers(lines, text) {
    const found = lines.map((line) => line.split(text)[1]).filter((rest) => rest !== undefined);
    return found.map((rest) => Number(rest.match(/^\d+/)?.[0]));
}

// Waits until there are so many numbers behind a text, and gives them.
async function atLeast(count, lines, text) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
        const found = numbers(lines(), text);
        if (found.length >= count) return found;
        if (Date.now() > end) {
            throw new Error(`${found.length} of "${text}":\n${lines().join("\n")}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

const steps = (found, by) => found.every((one, at) => at === 0 || one === found[at - 1] + by);

const browser = new Browser(CHROMIUM, `${SCRATCH}/${name}.browser`);
try {
    // What a page has written, once it has connected.
    async function open(path) {
        const page = await browser.page();
        await page.intercept(() => ({ body: readFileSync(AUTOBAHN, "utf8") }), LIBRARY);
        await page.open(`http://127.0.0.1:${PORT}/${path}`);
        const lines = () => page.faults;
        await test(`${name}: ${path || "the page"} connects`, async () => {
            await atLeast(1, lines, "Connected");
        });
        return lines;
    }
    const isPage = backend.endsWith(".html");
    const behind = isPage ? await open(backend) : () => readFileSync(backend, "utf8").split("\n");
    await atLeast(1, behind, "procedure add2() registered");
    const front = await open(isPage ? "frontend.html" : "");

    await test(`${name}: the page's calls are answered`, async () => {
        const sums = await atLeast(3, front, "add2() result: ");
        equal(sums.slice(0, 3), [18, 21, 24]);
        equal((await atLeast(1, behind, "add2() called with "))[0], 0);
    });
    await test(`${name}: the page hears every event`, async () => {
        const counters = await atLeast(3, front, "event received with counter ");
        ok(steps(counters, 1), counters);
    });
    await test(`${name}: the page answers calls`, async () => {
        const factors = await atLeast(3, front, "mul2() called with ");
        ok(steps(factors, 1), factors);
        const products = await atLeast(3, behind, "mul2() called with result: ");
        ok(steps(products, 3), products);
        equal(products[0], factors[0] * 3);
    });
    await test(`${name}: the page's events are heard`, async () => {
        const heard = "event for 'onhello' received: Hello from JavaScript (browser)";
        await atLeast(3, behind, heard);
    });
    await test(`${name}: nothing has failed`, () => {
        // What the library traces is left to the page, which calls before somebody can answer.
        const isTrace = (line) => line.startsWith("WebSocket transport ");
        const isOwn = (line) => !line.includes("/favicon.ico") && !isTrace(line);
        const lines = [...front(), ...behind()].filter(isOwn);
        equal(lines.filter((line) => /fail|lost|error|exception/i.test(line)), []);
    });
} finally {
    await browser.close();
}
