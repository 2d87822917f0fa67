// The end of the router's log, and how much of it there is to be.

import { change } from "./actions.js";
import { get } from "./api.js";
import { fill, h, text } from "./dom.js";
import { count, time } from "./format.js";
import { Poll } from "./poll.js";
import { Notice, input, select } from "./widgets.js";

export function open(root) {
    const asked = { level: "" };
    let [search, lines, isHeld] = ["", [], false];
    const notice = new Notice();
    const lost = h("p", { role: "status" });
    const list = h("ol", {
        class: "log",
        tabindex: "0",
        "aria-label": "Lines of the log, the newest last",
    });
    const poll = new Poll(() => get("/api/log", { ...asked, limit: MOST }), EVERY_MS, show);
    const hold = h("button", { type: "button", "aria-pressed": "false" }, "Hold");
    hold.addEventListener("click", () => {
        isHeld = !isHeld;
        hold.setAttribute("aria-pressed", String(isHeld));
        draw();
    });
    const level = h("button", { type: "button" }, "Set the level…");
    const chosen = select(
        "New level",
        "info",
        () => LEVELS.map((name) => [name, name]),
        () => {},
    );
    level.addEventListener("click", async () => {
        const done = await change("/api/log-level", {
            level: chosen.querySelector("select").value,
        });
        if (done) fill(lost, "The level is set.");
    });
    const form = h(
        "form",
        { class: "filters", onsubmit: (event) => event.preventDefault() },
        input("Search", "", (wanted) => {
            search = wanted;
            draw();
        }),
        select(
            "Level",
            "",
            () => [["", "any"], ...LEVELS.map((name) => [name, `${name} and worse`])],
            (name) => {
                asked.level = name;
                poll.now();
            },
        ),
        hold,
        chosen,
        level,
    );
    fill(root, form, notice.element, lost, list);

    function show({ data, error }) {
        notice.show(error);
        list.hidden = error?.isMissing ?? false;
        if (!data || isHeld) return;
        lines = data.lines.slice(-MOST);
        const gone = [
            data.lost && `${count(data.lost)} lines were lost.`,
            data.missed && `${count(data.missed)} are in the log and not here.`,
        ].filter(Boolean);
        if (gone.length > 0) fill(lost, gone.join(" "));
        draw();
    }

    function draw() {
        const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
        fill(list, lines.filter((line) => sentence(line).includes(search)).map(lineOf));
        if (isAtEnd) list.scrollTop = list.scrollHeight;
    }

    return () => poll.stop();
}

function lineOf(line) {
    const level = String(line.level).toLowerCase();
    const known = LEVELS.includes(level) ? level : undefined;
    return h(
        "li",
        {},
        h("time", {}, time(line.time)),
        " ",
        h("b", { class: known }, level),
        " ",
        text(sentence(line), LONGEST),
    );
}

function sentence({ message, fields = {}, target }) {
    const named = Object.entries(fields).map(
        ([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
    );
    return [message, ...named, target].join(" ");
}

const LEVELS = ["error", "warn", "info", "debug", "trace"];
const EVERY_MS = 2000;
const MOST = 300;
const LONGEST = 1000;
