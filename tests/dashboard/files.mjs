// What is served, and what browsers are told about it.

import { equal, ok, test } from "./check.mjs";

export async function testFiles(base) {
    const html = { headers: { accept: "text/html,*/*" } };

    await test("a browser gets the dashboard, everybody else what there is", async () => {
        const page = await fetch(base, html);
        equal(page.headers.get("content-type"), "text/html; charset=utf-8");
        ok((await page.text()).startsWith("<!doctype html>"), "a page");
        ok((await (await fetch(base)).text()).includes("/api/sessions"), "a list");
        ok((await (await fetch(`${base}/help`, html)).text()).includes("/api/sessions"), "a list");
    });

    await test("pages may load nothing from elsewhere", async () => {
        const policy = (await fetch(base, html)).headers.get("content-security-policy");
        const rules = Object.fromEntries(
            policy.split("; ").map((rule) => {
                const [name, ...sources] = rule.split(" ");
                return [name, sources.join(" ")];
            }),
        );
        equal(rules["default-src"], "'none'");
        equal(rules["script-src"], "'self'");
        equal(rules["style-src"], "'self'");
        equal(rules["connect-src"], `'self' ws://${process.env.WAMP}`);
        equal(rules["frame-ancestors"], "'none'");
        equal(rules["require-trusted-types-for"], "'script'");
    });

    await test("what a browser has is not sent again", async () => {
        const first = await fetch(`${base}/pages/main.js`);
        equal(first.headers.get("content-type"), "text/javascript; charset=utf-8");
        equal(first.headers.get("cache-control"), "no-cache");
        const tag = first.headers.get("etag");
        const again = await fetch(`${base}/pages/main.js`, { headers: { "if-none-match": tag } });
        equal([again.status, await again.text()], [304, ""]);
        const other = await fetch(`${base}/pages/main.js`, { headers: { "if-none-match": '"x"' } });
        equal(other.status, 200);
        equal((await fetch(`${base}/pages/..%2fhttp.rs`)).status, 404);
    });
}
