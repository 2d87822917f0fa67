// Try it: this page as a client of the router.

import { fill, h, text } from "./dom.js";
import { Messages } from "./messages.js";
import { Client, WampError } from "./wamp.js";
import { field, select, values } from "./widgets.js";

export function open(root, feed) {
    const desk = new Desk(feed);
    fill(root, desk.element);
    return () => desk.close();
}

class Desk {
    #feed;
    #client;
    // Counts what was begun: what another one has overtaken ends at once.
    #attempt = 0;
    #state = h("p", { role: "status" }, "Not connected.");
    #work = h("div", { class: "try", hidden: true });
    #held = h("ul", { class: "held" });
    #log = new Messages();
    #connect;
    #leave;
    #unlisten;

    constructor(feed) {
        this.#feed = feed;
        this.#leave = h(
            "button",
            { type: "button", disabled: true, onclick: () => this.#client?.leave() },
            "Leave",
        );
        this.#connect = this.#connectForm();
        this.element = h("div", {}, this.#connect, this.#state, this.#work, this.#log.element);
    }

    close() {
        this.#attempt += 1;
        this.#unlisten();
        this.#client?.leave();
    }

    #connectForm() {
        const urls = h("select", { name: "url" });
        const realms = h("datalist", { id: "realms" });
        let known = "";
        this.#unlisten = this.#feed.listen(() => {
            const found = [...webSockets(this.#feed)];
            const now = JSON.stringify([found, this.#feed.realms()]);
            if (now === known) return;
            known = now;
            fill(
                urls,
                found.map((url) => h("option", { value: url }, url)),
            );
            fill(
                realms,
                this.#feed.realms().map((name) => h("option", { value: name })),
            );
            const realm = this.#connect?.elements.realm;
            if (realm && !realm.value) realm.value = this.#feed.realms()[0] ?? "";
        });
        const submit = async (event) => {
            event.preventDefault();
            const { url, realm, authid, ticket } = values(event.target);
            await this.#join(url, realm, authid || ticket ? { authid, ticket } : undefined);
            event.target.elements.ticket.value = "";
        };
        return h(
            "form",
            { class: "filters", onsubmit: submit },
            h("label", {}, "Address", urls),
            field("Realm", "realm", this.#feed.realms()[0], { list: "realms", required: true }),
            realms,
            field("Authid (empty: anonymous)", "authid"),
            field("Ticket", "ticket", "", { type: "password" }),
            h("div", { class: "buttons" }, h("button", {}, "Connect"), this.#leave),
        );
    }

    async #join(url, realm, login) {
        const attempt = ++this.#attempt;
        this.#client?.leave();
        fill(this.#state, "…");
        let client;
        try {
            client = await Client.connect(url);
        } catch {
            if (attempt === this.#attempt) fill(this.#state, unreachable(url));
            return;
        }
        if (attempt !== this.#attempt) return client.leave();
        client.onMessage = (direction, message) => this.#log.add(direction, message);
        client.onEnd = (error) => this.#ended(client, error);
        this.#client = client;
        try {
            const { session, authid, authrole } = await client.join(realm, login);
            const who = `Session ${session} in ${realm} as ${authid}, role ${authrole}.`;
            fill(this.#state, who);
            fill(this.#held);
            fill(
                this.#work,
                this.#forms(client),
                h("h3", {}, "Subscribed and registered"),
                this.#held,
            );
            [this.#work.hidden, this.#leave.disabled] = [false, false];
        } catch (error) {
            fill(this.#state, `Refused: ${error.message}`);
        }
    }

    #ended(client, error) {
        if (client !== this.#client) return;
        this.#client = undefined;
        [this.#work.hidden, this.#leave.disabled] = [true, true];
        fill(this.#state, `Not connected: ${error.message}`);
    }

    #forms(client) {
        return [
            action(
                "Subscribe",
                [field("Topic", "topic", "com.example.try", { required: true }), match()],
                async (asked) => {
                    let events = 0;
                    const seen = h("b", {}, "0");
                    const id = await client.subscribe(asked.topic, { match: asked.match }, () =>
                        fill(seen, String((events += 1))),
                    );
                    const end = () => client.unsubscribe(id);
                    this.#hold(
                        [`${asked.topic} (${asked.match}), events: `, seen],
                        "Unsubscribe",
                        end,
                    );
                    return `SUBSCRIBED ${id}`;
                },
            ),
            action(
                "Publish",
                [
                    field("Topic", "topic", "com.example.try", { required: true }),
                    field("Arguments, a list", "args", '["Hello"]'),
                    field("Keywords, an object", "kwargs", "{}"),
                ],
                async ({ topic, args, kwargs }) => {
                    const more = { exclude_me: false };
                    const id = await client.publish(topic, list(args), object(kwargs), more);
                    return `PUBLISHED ${id}`;
                },
            ),
            action(
                "Call",
                [
                    field("Procedure", "procedure", "com.example.echo", { required: true }),
                    field("Arguments, a list", "args", '["Hello"]'),
                    field("Keywords, an object", "kwargs", "{}"),
                ],
                async ({ procedure, args, kwargs }) => {
                    const result = await client.call(procedure, list(args), object(kwargs));
                    return `RESULT ${JSON.stringify(result.args)} ${JSON.stringify(result.kwargs)}`;
                },
            ),
            action(
                "Register an echo",
                [field("Procedure", "procedure", "com.example.echo", { required: true })],
                async ({ procedure }) => {
                    const id = await client.register(procedure, {}, (args, kwargs) => [
                        args,
                        kwargs,
                    ]);
                    this.#hold(
                        [`${procedure}, answers with what it is called with`],
                        "Unregister",
                        () => client.unregister(id),
                    );
                    return `REGISTERED ${id}`;
                },
            ),
        ];
    }

    #hold(what, title, end) {
        const button = h("button", { type: "button" }, title);
        const entry = h("li", {}, what, " ", button);
        button.addEventListener("click", () =>
            end().then(
                () => entry.remove(),
                (error) => entry.append(...text(error.message)),
            ),
        );
        this.#held.append(entry);
    }
}

// What can be reached from a page: of listeners on all addresses, that by which this page came.
function* webSockets(feed) {
    for (const { urls } of feed.router.listeners ?? []) {
        for (const text of urls.filter((url) => /^wss?:/.test(url))) {
            const url = new URL(text);
            if (EVERYWHERE.includes(url.hostname)) url.hostname = location.hostname;
            if (url.hostname === "[::1]") url.hostname = "localhost";
            yield url.href;
        }
    }
}

function unreachable(url) {
    return [
        h("span", {}, `${url} could not be reached, or does not let this page in. `),
        h("span", {}, "If the log says http_origin, add this to its [[listener]]: "),
        h("code", {}, `origins = ["${location.origin}"]`),
    ];
}

function action(title, fields, run) {
    const said = h("output", {});
    const submit = async (event) => {
        event.preventDefault();
        fill(said, "…");
        try {
            fill(said, await run(values(event.target)));
        } catch (error) {
            const rest =
                error instanceof WampError && error.args?.length
                    ? ` ${JSON.stringify(error.args)}`
                    : "";
            fill(said, `${error.message}${rest}`);
        }
    };
    return h(
        "form",
        { class: "action", onsubmit: submit },
        h("h3", {}, title),
        fields,
        h("button", {}, title),
        said,
    );
}

function match() {
    const label = select(
        "Match",
        "exact",
        () => ["exact", "prefix", "wildcard"].map((name) => [name, name]),
        () => {},
    );
    label.querySelector("select").name = "match";
    return label;
}

function list(text) {
    const value = JSON.parse(text || "[]");
    if (!Array.isArray(value)) throw new Error("Arguments are a list, as in [1, 2].");
    return value;
}

function object(text) {
    const value = JSON.parse(text || "{}");
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw new Error('Keywords are an object, as in {"a": 1}.');
    }
    return value;
}

const EVERYWHERE = ["0.0.0.0", "[::]"];
