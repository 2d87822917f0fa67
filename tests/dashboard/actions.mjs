// Changes: the token is asked for, sent, and forgotten when it is wrong; refusals are said.

import { answers, plain } from "./answers.mjs";
import { equal, ok, test } from "./check.mjs";
import { openFront, visit } from "./frame.mjs";

const denied = { status: 401, body: { error: "show the token" } };

export async function testActions(page, base) {
    const posted = [];
    let guardsReads = false;
    let reply = () => ({ body: { kicked: 1 } });
    const made = answers(plain, 5);
    await page.look({ width: 1000, height: 900 });
    await page.intercept((path, request) => {
        const token = request.headers.authorization ?? request.headers.Authorization;
        if (request.method === "GET") {
            if (guardsReads && token !== "Bearer right") return denied;
            return made[path] && { body: made[path] };
        }
        posted.push([path, token, JSON.parse(request.postData)]);
        return reply(token);
    });
    await openFront(page, base);
    await visit(page, "Sessions");

    const openKick = async () => {
        await page.click("main tbody .link");
        await page.press("Kick…", "dialog");
        await page.until(
            `document.querySelector("dialog h2").innerText.startsWith("Kick session")`,
        );
    };
    const giveToken = async (token) => {
        await page.until(`document.querySelector("dialog input[name=token]")`);
        await page.type("dialog input[name=token]", token);
        await page.press("Go on", "dialog");
    };
    const said = (text) =>
        page.until(`document.querySelector("dialog")?.innerText.includes(${JSON.stringify(text)})`);

    await test("a kick names the router, and asks for the token", async () => {
        reply = (token) =>
            token === "Bearer right" ? { body: { kicked: 1 } } : { status: 401, body: "no" };
        await openKick();
        await said("This is staging");
        await page.picture(`${process.env.PICTURES}/kick.png`);
        await page.type("dialog input[name=message]", "Bye <b>");
        await page.press("Kick", "dialog");
        await giveToken("wrong");
        await said("does not take this token");
        await giveToken("right");
        await said("1 ended.");
        await page.press("Close", "dialog");
        const body = { realm: plain(0), session: 4_000_000_000_000_000, message: "Bye <b>" };
        equal(posted, [
            ["/api/sessions/kick", "Bearer wrong", body],
            ["/api/sessions/kick", "Bearer right", body],
        ]);
    });

    await test("the token is kept for this tab alone", async () => {
        posted.length = 0;
        await openKick();
        await page.press("Kick", "dialog");
        await said("1 ended.");
        await page.press("Close", "dialog");
        equal(posted[0][1], "Bearer right");
        equal(
            await page.value(
                `[localStorage.length, document.cookie, location.href.includes("right")]`,
            ),
            [0, "", false],
        );
        await visit(page, "Operate");
        await page.press("Forget the token");
        equal(await page.value("sessionStorage.length"), 0);
    });

    await test("a refusal is said as the router says it", async () => {
        const why = "changes are off: set `token` in [admin] <img src=x onerror=window.hacked=1>";
        reply = () => ({ status: 403, body: why });
        await page.press("Reload the configuration…");
        await page.press("Reload", "dialog");
        await giveToken("right");
        await said(why);
        await page.press("Close", "dialog");
        reply = () => ({ status: 422, body: { error: "line 3: unknown key `nestign`" } });
        await page.press("Reload the configuration…");
        await page.press("Reload", "dialog");
        await said("line 3: unknown key `nestign`");
        await page.press("Close", "dialog");
        reply = () => ({ status: 404, body: { error: "realm `a` has no session 7" } });
        await page.press("Reload the configuration…");
        await page.press("Reload", "dialog");
        await said("realm `a` has no session 7");
        await page.press("Close", "dialog");
        reply = () => ({ status: 404, body: "nothing is here" });
        await page.press("Drain and stop…");
        await page.type("dialog input[name=name]", "production");
        await page.press("Drain", "dialog");
        await said("not the name of this router");
        await page.press("Close", "dialog");
        await page.press("Drain and stop…");
        await page.type("dialog input[name=name]", "staging");
        await page.press("Drain", "dialog");
        await said("This router has no /api/drain");
        await page.press("Close", "dialog");
        equal(posted.at(-1)[2], { drain_ms: 20_000 });
        equal(await page.value("[window.hacked, document.images.length]"), [null, 0]);
    });

    await test("where reads need the token it is asked for", async () => {
        await visit(page, "Operate");
        await page.press("Forget the token");
        guardsReads = true;
        await page.until(`document.getElementById("state").innerText.startsWith("show the token")`);
        await page.click("#token");
        await giveToken("wrong");
        await page.until(`!document.querySelector("dialog")`);
        await page.click("#token");
        await giveToken("right");
        await page.until(`document.getElementById("state").innerText === "live"`);
        await page.until(`document.getElementById("token").hidden`);
        await page.until(`document.querySelectorAll("main tbody tr").length === 6`);
        guardsReads = false;
    });

    await test("nothing is sent where the operator turns back", async () => {
        posted.length = 0;
        await visit(page, "Sessions");
        await openKick();
        await page.press("Cancel", "dialog");
        await openKick();
        await page.key("Escape");
        await page.until(`!document.querySelector("dialog")`);
        equal(posted, []);
        ok(
            page.faults.every((fault) => /status of (401|403|422|404)/.test(fault)),
            `${page.faults}`,
        );
    });
}
