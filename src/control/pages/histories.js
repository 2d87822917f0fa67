// Events that are kept: histories, and how full they are; retained events; the store.

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { bytes, count, percent } from "./format.js";
import { Poll } from "./poll.js";
import { Table } from "./table.js";
import { Notice, meter } from "./widgets.js";

export function open(root, feed) {
    const notice = new Notice();
    const store = h("p");
    let rows = null;
    const table = new Table(COLUMNS, {
        caption: "Histories",
        empty: "No topic has a history: see [[realm.history]] in the configuration.",
        key: (row) => `${row.realm} ${row.match} ${row.uri}`,
    });
    const retained = new Table(RETAINED_COLUMNS, {
        caption: "Retained events",
        empty: "No realms.",
        key: (row) => row.name,
    });
    fill(root, notice.element, store, table.element, retained.element);
    const poll = new Poll(
        () => get("/api/histories"),
        EVERY_MS,
        ({ data, error }) => {
            // A router that has no such answer says the sizes among its realms.
            if (!error?.isMissing) notice.show(error);
            if (data) rows = data.histories;
        },
    );
    const unlisten = feed.listen(({ router }) => {
        table.show(rows ?? router.realms.flatMap(ofRealm));
        retained.show(router.realms);
        fill(store, storeLine(router.totals));
    });
    return () => {
        poll.stop();
        unlisten();
    };
}

function ofRealm(realm) {
    return realm.histories.map(({ key, events, bytes: size }) => ({
        realm: realm.name,
        uri: key,
        events,
        bytes: size,
    }));
}

function storeLine({
    deposits_saved: saved,
    deposits_failed: failed,
    store_outages: outages,
    store_recoveries: ended,
}) {
    if (outages > ended)
        return "The store cannot be written at the moment: nothing new is durable.";
    const stored = `${count(saved)} publications are stored, ${count(failed)} could not be`;
    return `${stored}; ${count(outages)} outages of the store.`;
}

const COLUMNS = [
    { title: "Topic", show: (row) => row.uri ?? "–" },
    { title: "Match", show: (row) => row.match ?? "–", minor: true },
    { title: "Realm", show: (row) => row.realm, minor: true },
    { title: "Events", number: true, show: (row) => count(row.events) },
    { title: "Bytes", number: true, show: (row) => bytes(row.bytes) },
    { title: "Full", number: true, show: (row) => percent(full(row)) },
    {
        title: "",
        show: (row) => String(full(row)),
        node: (row) => (full(row) === undefined ? "" : meter(full(row))),
    },
    {
        title: "Durable",
        show: (row) => (row.durable === undefined ? "–" : row.durable ? "yes" : "no"),
    },
];

function full({ events, limit }) {
    return typeof limit === "number" && limit > 0 ? Math.min(1, events / limit) : undefined;
}

const RETAINED_COLUMNS = [
    { title: "Realm", show: (realm) => realm.name },
    { title: "Retained events", number: true, show: (realm) => count(realm.retained_events) },
];

const EVERY_MS = 2000;
