// The dashboard under load: every page opens, and the figures are those of the load.

import { equal, near, ok, test } from "./check.mjs";
import { PAGES, fillGaps, openFront, settle, visit } from "./frame.mjs";

// The figure of a tile of the overview: `1.2 k/s` is 1200.
const tile = (name) => `(() => {
    const tiles = [...document.querySelectorAll(".tiles div")];
    const tile = tiles.find((it) => it.firstChild.innerText === ${JSON.stringify(name)});
    const text = tile.lastChild.innerText;
    const scale = text.includes("k") ? 1000 : text.includes("M") ? 1e6 : 1;
    return parseFloat(text.replaceAll(",", "")) * scale;
})()`;

// The middle one of some looks, a second apart.
async function settled(page, name) {
    const figures = [];
    for (let look = 0; look < 5; look += 1) {
        figures.push(await page.value(tile(name)));
        await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    return figures.sort((one, other) => one - other)[2];
}

export async function testLoad(page, base, load) {
    await page.look({ width: 1280, height: 900 });
    await fillGaps(page, base, 200);
    await openFront(page, base);

    await test("figures are those of the load", async () => {
        await page.until(`${tile("Calls")} > ${load.calls / 2}`, 40);
        near(await settled(page, "Publications"), load.publications, 0.15, "publications");
        near(await settled(page, "Calls"), load.calls, 0.15, "calls");
        near(
            await settled(page, "Events out"),
            load.publications * load.subscribers,
            0.15,
            "events",
        );
        const router = await (await fetch(`${base}/api/router`)).json();
        equal(await page.value(tile("Sessions")), router.gauges.sessions);
        ok(
            router.gauges.sessions >= load.idle + load.subscribers,
            `${router.gauges.sessions} sessions`,
        );
        equal(await page.value(tile("Subscriptions")), router.gauges.subscriptions);
    });

    await test("every page opens", async () => {
        for (const title of PAGES) {
            await visit(page, title);
            await settle(page, title);
            equal(
                await page.value(
                    `document.querySelector("main .notice:not([hidden])")?.innerText ?? ""`,
                ),
                "",
            );
        }
    });

    await test("sessions are found, sorted and shown whole", async () => {
        await visit(page, "Sessions");
        const first = await page.until(`document.querySelector("main tbody .link")?.innerText`);
        await page.type(`main input[type=search]`, first);
        const found = `document.querySelector("main tbody .link")?.innerText === "${first}"`;
        await page.until(`document.querySelectorAll("main tbody tr").length === 1 && ${found}`);
        await page.click("main tbody .link");
        ok(
            (await page.until(`document.querySelector("dialog")?.innerText`)).includes("realm1"),
            "details",
        );
        await page.press("Close", "dialog");
        await page.until(`!document.querySelector("dialog")`);
        await page.press("Age", "main th");
        await page.until(`document.querySelector("[aria-sort]").innerText.startsWith("Age")`);
    });

    await test("the console has said nothing under load", () => equal(page.faults, []));
}
