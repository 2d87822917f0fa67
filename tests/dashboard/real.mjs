// Changes that the router itself makes: the last of them is its end.

import { readFileSync } from "node:fs";
import { equal, ok, test } from "./check.mjs";
import { openFront, visit } from "./frame.mjs";

export async function testChanges(page, base, scratch) {
    const token = readFileSync(`${scratch}/token`, "utf8").trim();
    await page.look({ width: 1000, height: 900 });
    await openFront(page, base);
    await visit(page, "Operate");
    const said = (text) =>
        page.until(`document.querySelector("dialog")?.innerText.includes(${JSON.stringify(text)})`);

    await test("the router reads its configuration again", async () => {
        await page.press("Reload the configuration…");
        await page.press("Reload", "dialog");
        await page.until(`document.querySelector("dialog input[name=token]")`);
        await page.type("dialog input[name=token]", token);
        await page.press("Go on", "dialog");
        await said("0 changes applied, 0 wait for a restart.");
        await page.press("Close", "dialog");
        await page.until(`document.querySelector("main").innerText.includes("Last reload: ")`);
        ok(!(await page.value(`document.body.innerText.includes(${JSON.stringify(token)})`)));
    });

    await test("the router drains, and is gone", async () => {
        equal((await fetch(`${base}/readyz`)).status, 200);
        await page.press("Drain and stop…");
        await page.type("dialog input[name=name]", "staging");
        await page.press("Drain", "dialog");
        await said("It is not ready any more");
        for (let left = 100; ; left -= 1) {
            const isThere = await fetch(`${base}/readyz`).then(
                () => true,
                () => false,
            );
            if (!isThere) break;
            ok(left > 0, "the router is still there");
            await new Promise((go) => setTimeout(go, 100));
        }
    });
}
