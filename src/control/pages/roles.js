// What roles may do, rule by rule, and how often each was allowed or denied something.

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { count } from "./format.js";
import { Poll } from "./poll.js";
import { Table } from "./table.js";
import { Notice, anyRealm, input, select } from "./widgets.js";

export function open(root, feed) {
    const asked = { realm: "" };
    let [search, roles] = ["", []];
    const notice = new Notice();
    const openRealms = h("p");
    const rules = new Table(RULES, {
        caption: "Rules",
        empty: "No rule grants anything.",
        key: (row) => `${row.at}`,
    });
    const counts = new Table(COUNTS, {
        caption: "Decisions since the start",
        empty: "No realm has roles.",
        key: (row) => `${row.realm} ${row.role}`,
    });
    const form = h(
        "form",
        { class: "filters", onsubmit: (event) => event.preventDefault() },
        input("Role or URI", "", (text) => {
            search = text;
            draw();
        }),
        select("Realm", "", anyRealm(feed), (realm) => {
            asked.realm = realm;
            poll.now();
        }),
    );
    fill(root, form, notice.element, openRealms, rules.element, counts.element);
    const poll = new Poll(() => get("/api/roles", { ...asked, limit: MOST }), EVERY_MS, show);

    function show({ data, error }) {
        notice.show(error ?? left(data));
        if (!data) return;
        roles = data.roles;
        fill(openRealms, data.open_realms.map(openLine).join(" "));
        draw();
    }

    function draw() {
        const all = roles.flatMap((role) => role.rules.map((rule) => ({ ...rule, of: role })));
        all.forEach((rule, at) => (rule.at = at));
        rules.show(all.filter(({ uri, of }) => [uri, nameOf(of)].some((s) => s.includes(search))));
        counts.show(roles.filter((role) => nameOf(role).includes(search)));
    }

    return () => poll.stop();
}

const openLine = (realm) => `Realm ${realm} has no roles: everybody may do everything there.`;

// What to say if there are more rules than were asked for.
function left({ roles }) {
    const more = roles.reduce((sum, role) => sum + role.more_rules, 0);
    return more > 0 ? new Error(`${count(more)} rules more are not shown.`) : undefined;
}

const nameOf = ({ role }) => role ?? "(not listed)";

const may = ({ allow, ask, authorizer }) =>
    [...allow, ...(ask.length > 0 ? [`${ask.join(" ")} if ${authorizer} agrees`] : [])].join(" ");

const RULES = [
    { title: "Role", show: ({ of }) => nameOf(of) },
    { title: "Realm", show: ({ of }) => of.realm, minor: true },
    { title: "URI", show: ({ uri }) => uri || "(every URI)" },
    { title: "Match", show: (rule) => rule.match, minor: true },
    { title: "May", show: may },
    { title: "May not", show: ({ deny }) => deny.join(" ") },
    {
        title: "Line",
        number: true,
        minor: true,
        show: ({ line, origin }) => line ?? origin,
    },
];

const ACTIONS = ["publish", "subscribe", "call", "register"];

const COUNTS = [
    { title: "Role", show: nameOf },
    { title: "Realm", show: (row) => row.realm, minor: true },
    ...ACTIONS.flatMap((action) => [
        { title: action, number: true, show: (row) => count(row.allowed[action]) },
        { title: "denied", number: true, show: (row) => count(row.denied[action]) },
    ]),
];

const EVERY_MS = 5000;
const MOST = 1000;
