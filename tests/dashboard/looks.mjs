// How the pages look: nothing is cut off where there is little room, and all can be read; with
// pictures of each in light and dark, narrow and wide.

import { equal, ok, test } from "./check.mjs";
import { PAGES, fillGaps, openFront, settle, visit } from "./frame.mjs";

const SIZES = [
    { name: "narrow", width: 360, height: 780 },
    { name: "wide", width: 1440, height: 900 },
];

// The contrast (WCAG 2) of each colour of text with what it stands on.
const CONTRASTS = `(() => {
    const style = getComputedStyle(document.documentElement);
    const light = (name) => {
        const hex = style.getPropertyValue(name).trim();
        const [red, green, blue] = [1, 3, 5].map((at) => {
            const share = parseInt(hex.slice(at, at + 2), 16) / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const ratio = (one, other) => {
        const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
        return (bright + 0.05) / (dark + 0.05);
    };
    const inks = ["--ink", "--quiet", "--link", "--bad", "--warn", "--good"];
    const pairs = inks.flatMap((ink) => [[ink, "--panel"], [ink, "--back"]]);
    return [...pairs, ["--ink", "--mark"]].map(([ink, on]) => [ink + " on " + on, ratio(ink, on)]);
})()`;

// A picture of docs/operations.md, from a page that has watched for a while.
export async function drawForDocs(page, title, size) {
    await page.look(size);
    await visit(page, title);
    await page.until(`document.querySelector("main tbody td:not(.empty), main .legend b")`);
    await page.value("scrollTo(0, 0)");
    await page.picture(`${process.env.PICTURES}/docs-${title.toLowerCase()}.png`);
}

export async function testLooks(page, base) {
    await fillGaps(page, base, 200);
    for (const dark of [false, true]) {
        for (const { name, ...size } of SIZES) {
            await page.look({ ...size, dark });
            await openFront(page, base);
            const scheme = dark ? "dark" : "light";
            await test(`${name} and ${scheme}: nothing is cut off`, async () => {
                await page.until(`document.querySelector(".legend b")?.innerText.includes("/s")`);
                for (const title of PAGES) {
                    await visit(page, title);
                    await settle(page, title);
                    const file = `${process.env.PICTURES}/${title.replace(" ", "-").toLowerCase()}`;
                    if (title === "Overview")
                        await new Promise((resolve) => setTimeout(resolve, 4000));
                    await page.picture(`${file}-${name}-${scheme}.png`);
                    const width = await page.value("document.documentElement.scrollWidth");
                    ok(width <= size.width, `${title} is ${width} wide`);
                }
            });
        }
        await test(`${dark ? "dark" : "light"}: text can be read`, async () => {
            for (const [pair, ratio] of await page.value(CONTRASTS))
                ok(ratio >= 4.5, `${pair}: ${ratio}`);
        });
    }

    await test("the environment stands above all", async () => {
        equal(await page.text("#environment"), "staging");
        equal(
            await page.value(`document.querySelector("#environment").style.backgroundColor`),
            "rgb(138, 83, 0)",
        );
        equal(await page.value("document.title"), "staging – Stentor");
    });

    await test("keys alone are enough", async () => {
        await page.open("about:blank");
        await openFront(page, base);
        await page.key("Tab");
        equal(await page.value("document.activeElement.innerText"), "To the content");
        await page.key("Tab");
        await page.key("Tab");
        equal(await page.value("document.activeElement.innerText"), "Sessions");
        await page.key("Enter");
        await page.until(`document.querySelector("main h2").innerText === "Sessions"`);
        await page.until(`document.querySelector("main tbody .link")`);
        await page.value(`document.querySelector("main tbody .link").focus()`);
        await page.key("Enter");
        await page.until(`document.querySelector("dialog[open]")`);
        await page.key("Escape");
        await page.until(`!document.querySelector("dialog")`);
    });

    await test("the console has said nothing about looks", () => equal(page.faults, []));
}
