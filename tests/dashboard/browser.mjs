// A browser, driven over a pipe by the DevTools protocol.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";

export class Browser {
    #process;
    #last = 0;
    #asked = new Map();
    #pages = new Map();

    constructor(program, folder) {
        const flags = [
            "--headless=new",
            "--remote-debugging-pipe",
            `--user-data-dir=${folder}`,
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-gpu",
            "--force-color-profile=srgb",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        ];
        if (process.getuid() === 0) flags.push("--no-sandbox");
        const stdio = ["ignore", "ignore", "ignore", "pipe", "pipe"];
        this.#process = spawn(program, flags, { stdio });
        let rest = "";
        this.#process.stdio[4].setEncoding("utf8").on("data", (text) => {
            const messages = (rest + text).split("\0");
            rest = messages.pop();
            messages.forEach((message) => this.#take(JSON.parse(message)));
        });
    }

    async page() {
        // In a window of its own: a tab behind another one is hidden.
        const target = { url: "about:blank", newWindow: true };
        const { targetId } = await this.send("Target.createTarget", target);
        const attach = { targetId, flatten: true };
        const { sessionId } = await this.send("Target.attachToTarget", attach);
        const page = new Page((method, params) => this.send(method, params, sessionId));
        this.#pages.set(sessionId, page);
        for (const domain of ["Page", "Runtime", "Log", "Network"]) {
            await page.send(`${domain}.enable`);
        }
        return page;
    }

    send(method, params = {}, sessionId = undefined) {
        const id = ++this.#last;
        this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
        return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject, method }));
    }

    async close() {
        const ended = once(this.#process, "exit");
        this.send("Browser.close").catch(() => {});
        await ended;
    }

    #take({ id, result, error, method, params, sessionId }) {
        if (id === undefined) return this.#pages.get(sessionId)?.take(method, params);
        const asked = this.#asked.get(id);
        this.#asked.delete(id);
        if (error) asked.reject(new Error(`${asked.method}: ${error.message}`));
        else asked.resolve(result);
    }
}

export class Page {
    // What its console has said, and what the browser has complained of.
    faults = [];
    // Of each request: its method and its path.
    requests = [];
    // Answers instead of the router: `{ status, body, headers }`, or nothing to have it answer.
    answer = undefined;

    constructor(send) {
        this.send = send;
    }

    take(method, params) {
        if (method === "Runtime.exceptionThrown") {
            const { exception, text } = params.exceptionDetails;
            this.faults.push(exception?.description ?? text);
        } else if (method === "Runtime.consoleAPICalled") {
            this.faults.push(params.args.map((arg) => arg.value ?? arg.description).join(" "));
        } else if (method === "Log.entryAdded") {
            this.faults.push(`${params.entry.text} ${params.entry.url ?? ""}`);
        } else if (method === "Network.requestWillBeSent") {
            this.requests.push(`${params.request.method} ${params.request.url}`);
        } else if (method === "Fetch.requestPaused") this.#answer(params);
    }

    // From now on `answer(path, request)` is asked first.
    async intercept(answer, urlPattern = "*/api/*") {
        this.answer = answer;
        await this.send("Fetch.enable", { patterns: [{ urlPattern }] });
    }

    async #answer({ requestId, request }) {
        const url = new URL(request.url);
        const own = this.answer?.(url.pathname, request, url.searchParams);
        if (!own) return this.#fetch("Fetch.continueRequest", { requestId });
        const body = Buffer.from(
            typeof own.body === "string" ? own.body : JSON.stringify(own.body),
        );
        const responseCode = own.status ?? 200;
        await this.#fetch("Fetch.fulfillRequest", {
            requestId,
            responseCode,
            body: body.toString("base64"),
        });
    }

    // A page that was left has forgotten what it had asked for, and one that was closed is gone.
    async #fetch(method, answer) {
        try {
            await this.send(method, answer);
        } catch (error) {
            const isOver = ["Invalid InterceptionId", "Session with given id not found"];
            if (!isOver.some((text) => error.message.includes(text))) throw error;
        }
    }

    async open(url) {
        await this.send("Page.navigate", { url });
        await this.until("document.readyState === 'complete'");
    }

    // The value of an expression in the page, or of what it promises.
    async value(expression) {
        const asked = { expression, awaitPromise: true, returnByValue: true };
        const { result, exceptionDetails } = await this.send("Runtime.evaluate", asked);
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? "a fault");
        return result.value;
    }

    // Waits until an expression is true, and gives it.
    async until(expression, seconds = 20) {
        const end = Date.now() + seconds * 1000;
        for (;;) {
            const value = await this.value(expression).catch(() => undefined);
            if (value) return value;
            if (Date.now() > end) throw new Error(`never: ${expression}`);
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
    }

    text(selector) {
        return this.value(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? null`);
    }

    // Clicks as a person does: on what is at the middle of the element.
    async click(selector) {
        await this.clickFound(`document.querySelector(${JSON.stringify(selector)})`);
    }

    async clickFound(element) {
        const found = await this.until(`(() => {
            const element = ${element};
            element?.scrollIntoView({ block: "center" });
            const box = element?.getBoundingClientRect();
            return box?.width && { x: box.x + box.width / 2, y: box.y + box.height / 2 };
        })()`);
        for (const type of ["mousePressed", "mouseReleased"]) {
            const event = { type, ...found, button: "left", clickCount: 1 };
            await this.send("Input.dispatchMouseEvent", event);
        }
    }

    // The button with this text, or the link.
    press(title, within = "body") {
        const selector = JSON.stringify(`${within} button, ${within} nav a`);
        const all = `document.querySelectorAll(${selector})`;
        return this.clickFound(
            `[...${all}].find((it) => it.innerText.trim() === ${JSON.stringify(title)})`,
        );
    }

    async type(selector, text) {
        await this.click(selector);
        await this.value(`document.querySelector(${JSON.stringify(selector)}).select()`);
        await this.send("Input.insertText", { text });
    }

    async key(key) {
        const codes = { Tab: 9, Enter: 13, Escape: 27 };
        const windowsVirtualKeyCode = codes[key];
        const text = key === "Enter" ? "\r" : undefined;
        await this.send("Input.dispatchKeyEvent", {
            type: "keyDown",
            key,
            windowsVirtualKeyCode,
            text,
        });
        await this.send("Input.dispatchKeyEvent", { type: "keyUp", key, windowsVirtualKeyCode });
    }

    async look({ width, height, dark = false, scale = 1 }) {
        const metrics = { width, height, deviceScaleFactor: scale, mobile: false };
        await this.send("Emulation.setDeviceMetricsOverride", metrics);
        const value = dark ? "dark" : "light";
        await this.send("Emulation.setEmulatedMedia", {
            features: [{ name: "prefers-color-scheme", value }],
        });
    }

    async picture(file, whole = false) {
        const { data } = await this.send("Page.captureScreenshot", {
            captureBeyondViewport: whole,
        });
        writeFileSync(file, Buffer.from(data, "base64"));
    }
}
