// The frame of all pages: which one is open, whether the router answers, and where one is.

import { fill, h, text } from "./dom.js";
import { duration } from "./format.js";
import { Feed } from "./feed.js";
import * as ended from "./ended.js";
import * as histories from "./histories.js";
import * as log from "./log.js";
import * as nodes from "./nodes.js";
import * as operate from "./operate.js";
import * as overview from "./overview.js";
import * as roles from "./roles.js";
import * as sessions from "./sessions.js";
import * as shards from "./shards.js";
import * as slow from "./slow.js";
import { KEPT, askToken } from "./token.js";
import * as tryIt from "./try.js";
import { procedures, topics } from "./uris.js";

const PAGES = new Map([
    ["overview", ["Overview", overview]],
    ["sessions", ["Sessions", sessions]],
    ["ended", ["Ended", ended]],
    ["slow", ["Slow", slow]],
    ["topics", ["Topics", topics]],
    ["procedures", ["Procedures", procedures]],
    ["roles", ["Roles", roles]],
    ["shards", ["Shards", shards]],
    ["nodes", ["Nodes", nodes]],
    ["histories", ["Histories", histories]],
    ["log", ["Log", log]],
    ["operate", ["Operate", operate]],
    ["try", ["Try it", tryIt]],
]);

const feed = new Feed();
const content = document.getElementById("content");
const tokenButton = document.getElementById("token");
let close = () => {};

// Addresses are as `#sessions?authid=joe`.
function route() {
    const [asked, query = ""] = location.hash.slice(1).split("?", 2);
    const name = PAGES.has(asked) ? asked : "overview";
    const [title, page] = PAGES.get(name);
    close();
    const root = h("section", { "aria-label": title });
    fill(content, h("h2", {}, title), root);
    close = page.open(root, feed, new URLSearchParams(query)) ?? (() => {});
    for (const link of document.querySelectorAll("#nav a")) {
        if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
    }
}

function showFrame({ router, error, seen }) {
    const { environment, version, uptime_seconds: uptime } = router;
    const strip = document.getElementById("environment");
    strip.hidden = !environment;
    if (environment) {
        fill(strip, text(environment.name));
        const color = COLOR.test(environment.color ?? "") ? environment.color : "#5b6573";
        [strip.style.backgroundColor, strip.style.color] = [color, inkOn(color)];
    }
    document.title = environment ? `${environment.name} – Stentor` : "Stentor";
    if (version)
        fill(document.getElementById("about"), `${version}, up for ${duration(uptime * 1000)}`);
    showState(error, seen);
    tokenButton.hidden = error?.status !== 401;
    // Of a cluster alone.
    document.querySelector('#nav a[href="#nodes"]').hidden = !router.cluster;
}

function showState(error, seen) {
    const state = document.getElementById("state");
    const age = seen
        ? `what is shown is ${duration(performance.now() - seen)} old`
        : "nothing is known";
    const said = error ? `${error.message}: ${age}` : seen ? "live" : "…";
    state.className = error ? "stale" : "live";
    if (state.textContent !== said) fill(state, said);
}

// Black or white, whichever can be read.
function inkOn(color) {
    const [red, green, blue] = [1, 3, 5].map((at) => {
        const share = parseInt(color.slice(at, at + 2), 16) / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}

const COLOR = /^#[0-9a-f]{6}$/i;

const links = [...PAGES].map(([name, [title]]) => h("a", { href: `#${name}` }, title));
fill(document.getElementById("nav"), links);
document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    content.focus();
});
tokenButton.addEventListener("click", async () => {
    if ((await askToken(KEPT)) === undefined) return;
    feed.now();
    route();
});
window.addEventListener("hashchange", route);
feed.listen(showFrame);
feed.start();
route();
