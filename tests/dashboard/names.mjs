// The worst names that clients can choose, and as many as there can be.

import { answers, evil, plain } from "./answers.mjs";
import { equal, ok, test } from "./check.mjs";
import { PAGES, openFront, settle, visit } from "./frame.mjs";

// What every page must be like.
async function look(page, title, most) {
    await settle(page, title);
    const [hacked, active, styles, nodes, width] = await page.value(`[
        window.hacked ?? null,
        document.querySelectorAll("img, main script, iframe, object, main style").length,
        document.querySelectorAll("[style]:not(#environment), [onerror]").length,
        document.querySelectorAll("*").length,
        document.documentElement.scrollWidth,
    ]`);
    equal([title, hacked, active, styles], [title, null, 0, 0]);
    ok(nodes < most, `${title} has ${nodes} elements`);
    ok(width <= 360, `${title} is ${width} wide`);
}

export async function testNames(page, base) {
    let made = answers(evil, 22);
    await page.look({ width: 360, height: 780 });
    await page.intercept((path) => {
        if (path !== "/api/router") return made[path] && { body: made[path] };
        return undefined;
    });
    await openFront(page, base);

    await test("hostile names are text", async () => {
        for (const title of PAGES) {
            await visit(page, title);
            await look(page, title, 4000);
        }
        await visit(page, "Sessions");
        await page.until(`document.querySelectorAll("main tbody .link").length === 22`);
        const marks = await page.value(
            `[...document.querySelectorAll("main .mark")].map((it) => it.innerText)`,
        );
        for (const mark of ["U+202E", "U+2066", "U+200B", "U+0000", "U+001B", "U+0085", "U+D800"]) {
            ok(marks.includes(mark), `${mark} is shown`);
        }
        await page.picture(`${process.env.PICTURES}/hostile-sessions.png`);
        for (const row of [0, 3, 5]) {
            await page.clickFound(`document.querySelectorAll("main tbody .link")[${row}]`);
            await page.until(`document.querySelector("dialog[open]")`);
            await look(page, "details", 4000);
            if (row === 3) await page.picture(`${process.env.PICTURES}/hostile-details.png`);
            await page.press("Close", "dialog");
        }
    });

    await test("hostile names of what is not in a list", async () => {
        const router = await (await fetch(`${base}/api/router`)).json();
        router.environment = { name: evil(3), color: "red;background:url(x)" };
        router.version = evil(0);
        router.realms = [0, 1, 2, 3, 4, 5].map((number) => ({
            ...router.realms[0],
            name: evil(number),
        }));
        router.listeners = [
            { urls: ["ws://127.0.0.1:1/<img>", "wss://0.0.0.0:2/ws", "rs://127.0.0.1:3"] },
        ];
        page.answer = (path) => {
            if (path === "/api/router") return { body: router };
            return made[path] && { body: made[path] };
        };
        await page.until(`document.querySelector("#environment .mark")`);
        for (const title of ["Overview", "Sessions", "Try it"]) {
            await visit(page, title);
            await look(page, title, 4000);
        }
        const urls = await page.value(
            `[...document.querySelectorAll("select[name=url] option")].map((it) => it.value)`,
        );
        equal(urls, ["ws://127.0.0.1:1/%3Cimg%3E", "wss://127.0.0.1:2/ws"]);
    });

    await test("ten thousand sessions and a thousand topics are few elements", async () => {
        made = answers(plain, 1000);
        for (const title of PAGES) {
            await visit(page, title);
            await look(page, title, 4000);
        }
        await visit(page, "Topics");
        await page.until(
            `document.querySelector(".pager")?.innerText.startsWith("1 to 50 of 1,000")`,
        );
        await page.press("Next");
        await page.until(
            `document.querySelector(".pager").innerText.startsWith("51 to 100 of 1,000")`,
        );
        await page.type("main input[type=search]", "name-999999");
        await page.until(`document.querySelectorAll("main tbody tr").length === 1`);
    });

    await test("the console has said nothing about names", () => equal(page.faults, []));
}
