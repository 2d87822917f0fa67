// When the router is asked: not in a hidden tab, and less often while it does not answer.

import { equal, ok, test } from "./check.mjs";
import { openFront, visit } from "./frame.mjs";

// Notes for how long timers are set.
const NOTE_TIMERS = `{
    const set = window.setTimeout;
    window.delays = [];
    window.setTimeout = (run, delay, ...rest) => {
        window.delays.push(delay);
        return set(run, Math.min(delay, 100), ...rest);
    };
}`;

export async function testPolling(page, base) {
    await page.send("Page.addScriptToEvaluateOnNewDocument", { source: NOTE_TIMERS });
    let fails = false;
    await page.intercept((path) => (fails ? { status: 503, body: "<b>busy</b>" } : undefined));
    await openFront(page, base);

    await test("while it fails it is asked less often, and what is shown is old", async () => {
        fails = true;
        await page.until(`document.getElementById("state").className === "stale"`);
        await page.value("window.delays.length = 0");
        await page.until("window.delays.length > 8");
        const delays = await page.value("window.delays");
        ok(
            delays.every((delay, at) => at === 0 || delay >= delays[at - 1]),
            `${delays}`,
        );
        equal(Math.max(...delays), 30_000);
        const state = await page.text("#state");
        ok(state.startsWith("<b>busy</b> (503): what is shown is "), state);
        fails = false;
        await page.until(`document.getElementById("state").innerText === "live"`);
        await page.value("window.delays.length = 0");
        equal(
            (await page.until("window.delays.length > 3 && window.delays")).slice(0, 3),
            [1000, 1000, 1000],
        );
    });

    await test("nothing is asked while nobody looks", async () => {
        await visit(page, "Sessions");
        const hide = (hidden) =>
            page.value(`{
                const hidden = { value: ${hidden}, configurable: true };
                Object.defineProperty(document, "hidden", hidden);
                document.dispatchEvent(new Event("visibilitychange"));
            }`);
        await hide(true);
        await new Promise((resolve) => setTimeout(resolve, 500));
        page.requests.length = 0;
        await new Promise((resolve) => setTimeout(resolve, 1500));
        equal(page.requests, []);
        await hide(false);
        await new Promise((resolve) => setTimeout(resolve, 500));
        ok(
            page.requests.some((request) => request.includes("/api/sessions")),
            "it goes on",
        );
    });

    await test("what a router does not have is said", async () => {
        page.answer = (path) =>
            /topics|log|changes/.test(path) ? { status: 404, body: "" } : undefined;
        for (const [title, path] of [
            ["Topics", "topics"],
            ["Log", "log"],
            ["Operate", "changes"],
        ]) {
            await visit(page, title);
            await page.until(
                `document.querySelector("main .notice").innerText ===
                    "This router has no /api/${path}."`,
            );
        }
    });

    await test("only what was made to fail has failed", () => {
        ok(
            page.faults.every((fault) => /status of (503|404)/.test(fault)),
            `${page.faults}`,
        );
    });
}
