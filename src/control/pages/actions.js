// What changes the router: nothing goes out without the token of operators.

import { Refused, post, refused } from "./api.js";
import { askFor, tell } from "./dialog.js";
import { KEPT, askToken, forgetToken, knownToken } from "./token.js";

// What the router answers to a change; `null` if it was not made, and then it is said why.
export async function change(path, body) {
    let note = KEPT;
    try {
        for (;;) {
            const token = knownToken() ?? (await askToken(note));
            if (token === undefined) return null;
            const answer = await post(path, body);
            if (answer.ok) return await answer.json().catch(() => ({}));
            if (answer.status !== 401) throw await refused(path, answer);
            forgetToken();
            note = "The router does not take this token.";
        }
    } catch (error) {
        tell(
            error instanceof Refused ? "The router has refused" : "It is not known what came of it",
            [error.message],
        );
        return null;
    }
}

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
