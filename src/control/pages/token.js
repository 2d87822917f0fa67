// The token of operators: asked for once, and forgotten with the tab.

import { askFor } from "./dialog.js";

export const knownToken = () => sessionStorage.getItem(TOKEN) ?? undefined;

export const forgetToken = () => sessionStorage.removeItem(TOKEN);

// `undefined`: the operator has thought better of it.
export async function askToken(note) {
    const fields = [
        { name: "token", label: "Token", type: "password", required: true, pattern: "[!-~]+" },
    ];
    const notes = ["This needs the token of operators.", note];
    const answer = await askFor({ title: "Token", notes, fields });
    if (answer === null) return undefined;
    sessionStorage.setItem(TOKEN, answer.token);
    return answer.token;
}

export const KEPT = "It is kept until this tab is closed.";

const TOKEN = "stentor.token";
