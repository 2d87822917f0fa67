// What the tests have in common: the pages, and how one is opened.

import { answers, plain } from "./answers.mjs";

export const PAGES = [
    "Overview",
    "Sessions",
    "Ended",
    "Slow",
    "Topics",
    "Procedures",
    "Roles",
    "Shards",
    "Histories",
    "Log",
    "Operate",
    "Try it",
];

// Opens a page by its link, and waits until it is there. A click may go astray while lines above it
// come or go.
export async function visit(page, title) {
    const isOpen = `document.querySelector("main h2")?.innerText === ${JSON.stringify(title)}`;
    for (let attempt = 1; attempt < 4; attempt += 1) {
        await page.press(title);
        if (await page.until(isOpen, 3).catch(() => false)) return;
    }
    throw new Error(`${title} does not open`);
}

// Waits until what the open page has asked for is there.
export async function settle(page, title) {
    const shown = title === "Log" ? "main .log li" : "main .table tbody td, main form";
    await page.until(`document.querySelector(${JSON.stringify(shown)})`);
    await page.until(`!document.querySelector("main .waiting")`);
}

export async function openFront(page, base) {
    await page.open(base);
    await page.until(`document.getElementById("state").innerText === "live"`);
}

// The answers that this router does not have yet are made up.
export async function fillGaps(page, base, rows) {
    const made = answers(plain, rows);
    const missing = new Set();
    for (const path of Object.keys(made)) {
        if ((await fetch(base + path)).status === 404) missing.add(path);
    }
    const answer = (path) => (missing.has(path) ? { body: made[path] } : undefined);
    await page.intercept(answer);
}
