// The messages of a WAMP client, the newest first.

import { fill, h, text } from "./dom.js";
import { time } from "./format.js";

// The last messages, both ways. They are drawn once a frame, however many there are.
export class Messages {
    #last = [];
    #count = 0;
    #isDue = false;
    #list = h("ol", { class: "log", tabindex: "0", "aria-label": "Messages, the newest first" });
    #title = h("h3", {}, "Messages");
    element = h("div", {}, this.#title, this.#list);

    add(direction, message) {
        this.#count += 1;
        this.#last.unshift([new Date(), direction, JSON.stringify(message).slice(0, LONGEST)]);
        this.#last.length = Math.min(this.#last.length, MOST_MESSAGES);
        if (this.#isDue) return;
        this.#isDue = true;
        requestAnimationFrame(() => this.#draw());
    }

    #draw() {
        this.#isDue = false;
        fill(this.#title, `Messages: ${this.#count}`);
        fill(
            this.#list,
            this.#last.map(([at, direction, message]) => {
                const sign = direction === "in" ? "← " : "→ ";
                return h(
                    "li",
                    { class: direction },
                    h("time", {}, time(at)),
                    " ",
                    sign,
                    text(message, LONGEST),
                );
            }),
        );
    }
}

const MOST_MESSAGES = 100;
const LONGEST = 500;
