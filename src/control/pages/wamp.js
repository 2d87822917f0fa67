// A WAMP client over WebSocket, with JSON: as much as it takes to try a router.

export class WampError extends Error {
    // `uri` and the rest as the router or a callee has said them.
    constructor(uri, details = {}, args = [], kwargs = {}) {
        super(details.message ? `${uri}: ${details.message}` : uri);
        Object.assign(this, { uri, details, args, kwargs });
    }
}

export class Client {
    #socket;
    #last = 0;
    // By request: what to do with the answer.
    #asked = new Map();
    #topics = new Map();
    #procedures = new Map();
    // `{ session, realm, authid, … }` after `join`.
    welcome;
    // Told each message: "in" or "out", and the message. And the end, once.
    onMessage = () => {};
    onEnd = () => {};

    // Settles when the socket is open.
    static connect(url) {
        const client = new Client();
        const socket = new WebSocket(url, ["wamp.2.json"]);
        client.#socket = socket;
        return new Promise((resolve, reject) => {
            socket.addEventListener("open", () => resolve(client));
            socket.addEventListener("message", ({ data }) => client.#take(JSON.parse(data)));
            socket.addEventListener("close", ({ code, reason }) => {
                const error = new Error(
                    `the connection is closed (${code}${reason ? `: ${reason}` : ""})`,
                );
                reject(error);
                client.#end(error);
            });
        });
    }

    // Joins as an anonymous client, or with `{ authid, ticket }`.
    join(realm, login) {
        const roles = {
            publisher: {},
            subscriber: { features: { pattern_based_subscription: true } },
            caller: {},
            callee: {},
        };
        const details = { roles, agent: "Stentor's page Try it" };
        if (login) Object.assign(details, { authmethods: ["ticket"], authid: login.authid });
        else details.authmethods = ["anonymous"];
        return new Promise((resolve, reject) => {
            this.#asked.set(HELLO, { resolve, reject, realm, ticket: login?.ticket });
            this.#send([HELLO, realm, details]);
        });
    }

    leave() {
        if (this.welcome) this.#send([GOODBYE, {}, "wamp.close.normal"]);
        else this.#socket.close();
    }

    // `handler(args, kwargs, details)`; gives the subscription's id.
    async subscribe(topic, options, handler) {
        const [, , id] = await this.#ask([SUBSCRIBE, null, options, topic]);
        this.#topics.set(id, handler);
        return id;
    }

    async unsubscribe(id) {
        await this.#ask([UNSUBSCRIBE, null, id]);
        this.#topics.delete(id);
    }

    // Gives the publication's id.
    async publish(topic, args, kwargs, options = {}) {
        const published = await this.#ask([
            PUBLISH,
            null,
            { ...options, acknowledge: true },
            topic,
            args,
            kwargs,
        ]);
        return published[2];
    }

    async call(procedure, args, kwargs, options = {}) {
        const [, , details, results = [], named = {}] = await this.#ask([
            CALL,
            null,
            options,
            procedure,
            args,
            kwargs,
        ]);
        return { details, args: results, kwargs: named };
    }

    // `procedure` is answered with what `handler(args, kwargs)` gives: `[args, kwargs]`.
    async register(procedure, options, handler) {
        const [, , id] = await this.#ask([REGISTER, null, options, procedure]);
        this.#procedures.set(id, handler);
        return id;
    }

    async unregister(id) {
        await this.#ask([UNREGISTER, null, id]);
        this.#procedures.delete(id);
    }

    #ask(message) {
        const request = ++this.#last;
        message[1] = request;
        return new Promise((resolve, reject) => {
            this.#asked.set(`${request}`, { resolve, reject });
            this.#send(message);
        });
    }

    #send(message) {
        this.onMessage(
            "out",
            message[0] === AUTHENTICATE ? [AUTHENTICATE, "(the ticket)", {}] : message,
        );
        this.#socket.send(JSON.stringify(message));
    }

    #take(message) {
        this.onMessage("in", message);
        const [type, ...rest] = message;
        if (type === EVENT) {
            const [id, , details, args = [], kwargs = {}] = rest;
            this.#topics.get(id)?.(args, kwargs, details);
        } else if (type === INVOCATION) this.#answer(...rest);
        else if (type === ERROR)
            this.#settle(`${rest[1]}`, ({ reject }) =>
                reject(new WampError(rest[3], rest[2], rest[4], rest[5])),
            );
        else if (type === GOODBYE) this.#takeGoodbye(rest[1]);
        else if (OPENING.has(type)) this.#open(type, rest);
        else this.#settle(`${rest[0]}`, ({ resolve }) => resolve(message));
    }

    #open(type, rest) {
        const asked = this.#asked.get(HELLO);
        if (type === CHALLENGE && asked?.ticket !== undefined)
            return this.#send([AUTHENTICATE, asked.ticket, {}]);
        this.#settle(HELLO, ({ resolve, reject, realm }) => {
            if (type !== WELCOME)
                return reject(
                    new WampError(type === ABORT ? rest[1] : "an unexpected CHALLENGE", rest[0]),
                );
            this.welcome = { session: rest[0], realm, ...rest[1] };
            resolve(this.welcome);
        });
        if (type === ABORT) this.#end(new WampError(rest[1], rest[0]));
    }

    #answer(request, registration, details, args = [], kwargs = {}) {
        const handler = this.#procedures.get(registration);
        if (!handler)
            return this.#send([ERROR, INVOCATION, request, {}, "wamp.error.no_such_procedure"]);
        this.#send([YIELD, request, {}, ...handler(args, kwargs)]);
    }

    #takeGoodbye(reason) {
        if (reason !== "wamp.close.goodbye_and_out")
            this.#send([GOODBYE, {}, "wamp.close.goodbye_and_out"]);
        this.#end(new WampError(reason));
    }

    #settle(key, how) {
        const asked = this.#asked.get(key);
        this.#asked.delete(key);
        if (asked) how(asked);
    }

    #end(error) {
        for (const { reject } of this.#asked.values()) reject(error);
        this.#asked.clear();
        this.#socket.close();
        this.onEnd(error);
        this.onEnd = () => {};
    }
}

const [HELLO, WELCOME, ABORT, CHALLENGE, AUTHENTICATE, GOODBYE, ERROR] = [1, 2, 3, 4, 5, 6, 8];
const [PUBLISH, SUBSCRIBE, UNSUBSCRIBE, EVENT, CALL] = [16, 32, 34, 36, 48];
const [REGISTER, UNREGISTER, INVOCATION, YIELD] = [64, 66, 68, 70];
const OPENING = new Set([WELCOME, ABORT, CHALLENGE]);
