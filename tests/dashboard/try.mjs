// Try it: the page as a client of the router.

import { equal, ok, test } from "./check.mjs";
import { openFront, visit } from "./frame.mjs";

const state = `document.querySelector("main p[role=status]").innerText`;

// Fills the form with this title, and sends it.
async function act(page, title, fields, expected) {
    const isIt = `it.querySelector("h3").innerText === ${JSON.stringify(title)}`;
    const form = `[...document.querySelectorAll(".action")].find((it) => ${isIt})`;
    await page.until(form);
    for (const [name, value] of Object.entries(fields)) {
        await page.value(
            `${form}.elements[${JSON.stringify(name)}].value = ${JSON.stringify(value)}`,
        );
    }
    await page.clickFound(`${form}.querySelector("button")`);
    await page.until(
        `${form}.querySelector("output").innerText.startsWith(${JSON.stringify(expected)})`,
    );
}

export async function testTryIt(page, base) {
    const { TICKET, WAMP } = process.env;
    await page.look({ width: 1150, height: 900 });
    await openFront(page, base);
    await visit(page, "Try it");

    await test("a page of the admin listener joins without more ado", async () => {
        await page.until(`document.querySelector("select[name=url]").value === "ws://${WAMP}/ws"`);
        equal(await page.value(`document.querySelector("input[name=realm]").value`), "realm1");
        await page.press("Connect");
        await page.until(`${state}.startsWith("Session ")`);
    });

    await test("it gets what it publishes", async () => {
        await act(page, "Subscribe", { topic: "com.example.", match: "prefix" }, "SUBSCRIBED");
        await act(page, "Publish", { topic: "com.example.try", args: '["Hello"]' }, "PUBLISHED");
        await page.until(`document.querySelector(".held b").innerText === "1"`);
        await act(page, "Publish", { args: "{" }, "Expected");
        await act(page, "Publish", { args: "{}" }, "Arguments are a list");
        await act(page, "Publish", { topic: "a..b", args: "[]" }, "wamp.error.invalid_uri");
    });

    await test("it calls its own echo", async () => {
        await act(page, "Call", {}, "wamp.error.no_such_procedure");
        await act(page, "Register an echo", {}, "REGISTERED");
        await act(
            page,
            "Call",
            { args: '[1, {"a": null}]', kwargs: '{"b": 2}' },
            `RESULT [1,{"a":null}] {"b":2}`,
        );
        await act(page, "Publish", { topic: "com.example.try", args: '["Hello"]' }, "PUBLISHED");
        await page.value("scrollTo(0, 0)");
        await page.picture(`${process.env.PICTURES}/docs-try-it.png`);
        await page.press("Unregister");
        await page.until(`document.querySelectorAll(".held li").length === 1`);
        await act(page, "Call", {}, "wamp.error.no_such_procedure");
        await page.press("Leave");
        await page.until(`${state}.includes("goodbye_and_out")`);
    });

    await test("it logs in by ticket", async () => {
        await page.type("input[name=authid]", "<img src=x onerror=window.hacked=1>");
        await page.type("input[name=ticket]", "wrong");
        await page.press("Connect");
        await page.until(
            `${state}.includes("wamp.error.authentication_failed") || ${state}.includes("denied")`,
        );
        await page.type("input[name=ticket]", TICKET);
        await page.press("Connect");
        await page.until(
            `${state}.includes("as <img src=x onerror=window.hacked=1>, role anonymous")`,
        );
        equal(await page.value(`document.querySelector("input[name=ticket]").value`), "");
        ok(!(await page.text(".log")).includes(TICKET), "the ticket is not shown");
        const evil = JSON.stringify(["<img src=x onerror=window.hacked=1>\u202E"]);
        await act(page, "Subscribe", { topic: "com.example.try" }, "SUBSCRIBED");
        await act(page, "Publish", { topic: "com.example.try", args: evil }, "PUBLISHED");
        await page.until(`document.querySelector(".log .in .mark")?.innerText === "U+202E"`);
        // Who opens another page has left.
        await visit(page, "Ended");
        await page.until(
            `[...document.querySelectorAll("td")].some((it) =>
                it.innerText === "<img src=x onerror=window.hacked=1>")`,
        );
        equal(await page.value("[window.hacked, document.images.length]"), [null, 0]);
    });

    await test("the console has said nothing while it was tried", () => equal(page.faults, []));
}
