// Makes what is on the pages. Strings become text and never markup, whoever chose them; what nobody
// can see, or what turns the direction of reading, is shown by its number.

// An element; properties that begin with `on` are listeners, all others attributes.
export function h(name, properties, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties ?? {})) {
        if (value === undefined || value === null || value === false) continue;
        if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
        else element.setAttribute(key, value === true ? "" : value);
    }
    fill(element, ...children);
    return element;
}

// Replaces what is in an element.
export function fill(element, ...children) {
    const nodes = children.flat(3).filter((child) => child !== undefined && child !== null);
    element.replaceChildren(...nodes.flatMap((node) => (node instanceof Node ? node : text(node))));
    return element;
}

// Text as nodes: at most `most` characters of it, and its marks told apart from what is written.
export function text(value, most = MOST_SHOWN) {
    const whole = String(value);
    const parts = cut(whole, most).split(UNSEEN);
    const nodes = parts.map((part, at) => (at % 2 ? mark(part) : document.createTextNode(part)));
    if (whole.length > most) nodes.push(document.createTextNode("…"));
    return nodes;
}

function mark(character) {
    const number = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    const element = document.createElement("span");
    element.className = "mark";
    element.textContent = `U+${number}`;
    return element;
}

// Without half a character at the end.
function cut(whole, most) {
    const end = (whole.codePointAt(most - 1) ?? 0) > 0xffff ? most - 1 : most;
    return whole.slice(0, end);
}

// Controls, marks of direction, joiners, half characters, what Unicode does not know, and every
// space but the one that everybody knows.
const UNSEEN = /((?! )[\p{C}\p{Z}])/u;

const MOST_SHOWN = 300;
