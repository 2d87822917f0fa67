// What the router is asked, and how it refuses.

import { knownToken } from "./token.js";

export class Refused extends Error {
    constructor(path, status, reason) {
        super(reason ?? `This router has no ${path}.`);
        // The router has no such path.
        this.isMissing = reason === undefined;
        this.status = status;
    }
}

export async function get(path, parameters = {}) {
    const isAsked = ([, value]) => value !== "" && value !== undefined;
    const query = new URLSearchParams(Object.entries(parameters).filter(isAsked)).toString();
    const answer = await ask(query ? `${path}?${query}` : path, { headers: shown() }, ANSWER_MS);
    if (!answer.ok) throw await refused(path, answer);
    return answer.json();
}

// Gives the answer, whatever it is.
export function post(path, body) {
    const headers = { ...shown(), "content-type": "application/json" };
    return ask(path, { method: "POST", headers, body: JSON.stringify(body) }, CHANGE_MS);
}

// Why an answer is no success: `error` of an object, or the text itself.
export async function refused(path, answer) {
    const { status } = answer;
    const text = (await answer.text()).slice(0, MOST_SAID).trim();
    const error = parsed(text)?.error;
    if (typeof error === "string") return new Refused(path, status, error);
    if (status === 404 || status === 405) return new Refused(path, status);
    return new Refused(path, status, `${text || "no reason is given"} (${status})`);
}

// The token, where it is known: some answers are for those alone who show it.
function shown() {
    const token = knownToken();
    return token ? { authorization: `Bearer ${token}` } : {};
}

function parsed(text) {
    try {
        return JSON.parse(text);
    } catch {
        return undefined;
    }
}

async function ask(path, request, patienceMs) {
    const signal = AbortSignal.timeout(patienceMs);
    try {
        return await fetch(path, { cache: "no-store", redirect: "error", signal, ...request });
    } catch (error) {
        if (error.name !== "TimeoutError") throw new Error("the router cannot be reached");
        throw new Error(`no answer within ${patienceMs / 1000} s`);
    }
}

const ANSWER_MS = 5_000;
const CHANGE_MS = 35_000;
const MOST_SAID = 10_000;
