// What changes the router: everything goes out with the token of operators, which is asked for once
// and forgotten with the tab.

import { Refused, post, refused } from "./api.js";
import { askFor, tell } from "./dialog.js";

// What the router answers to a change; `null` if it was not made, and then it is said why.
export async function change(path, body) {
    try {
        for (
            let note = "It is kept until this tab is closed.";
            ;
            note = "The router does not take this token."
        ) {
            const token = knownToken() ?? (await askToken(note));
            if (token === null) return null;
            const answer = await post(path, body, token);
            if (answer.ok) return await answer.json().catch(() => ({}));
            if (answer.status !== 401) throw await refused(path, answer);
            forgetToken();
        }
    } catch (error) {
        tell(
            error instanceof Refused ? "The router has refused" : "It is not known what came of it",
            [error.message],
        );
        return null;
    }
}

// The token of this tab, if it was given.
export const knownToken = () => sessionStorage.getItem(TOKEN) ?? undefined;

export const forgetToken = () => sessionStorage.removeItem(TOKEN);

// Ends one session, or all of an authid.
export async function kick(feed, target, who) {
    const answer = await askFor({
        title: `Kick ${who}`,
        notes: [where(feed), "It is ended at once. Its client may come back."],
        fields: [{ name: "message", label: "What the client is told (optional)" }],
        go: "Kick",
        danger: true,
    });
    if (!answer) return;
    const body = answer.message ? { ...target, message: answer.message } : target;
    const done = await change("/api/sessions/kick", body);
    if (done) tell("Kicked", [`${done.kicked} ended.`]);
}

// Which router this is, for whoever is about to change it.
export function where(feed) {
    const name = feed.router.environment?.name;
    return name
        ? `This is ${name}, at ${location.host}.`
        : `This is the router at ${location.host}.`;
}

async function askToken(note) {
    const fields = [
        { name: "token", label: "Token", type: "password", required: true, pattern: "[!-~]+" },
    ];
    const notes = ["Changes need the token of operators.", note];
    const answer = await askFor({ title: "Token", notes, fields });
    if (answer === null) return null;
    sessionStorage.setItem(TOKEN, answer.token);
    return answer.token;
}

const TOKEN = "stentor.token";
