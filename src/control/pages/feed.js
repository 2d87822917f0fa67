// One look at the router and its shards a second, and what that makes of their counters: rates.

import { get } from "./api.js";
import { Poll } from "./poll.js";

export class Feed {
    // The last answers.
    router = { gauges: {}, totals: {}, realms: [], listeners: [] };
    shards = [];
    // One for each second, the oldest first.
    points = [];
    // What went wrong with the last look, and when there was a good one.
    error;
    seen = 0;
    #listeners = new Set();
    #poll;

    start() {
        const look = () => Promise.all([get("/api/router"), get("/api/shards")]);
        this.#poll = new Poll(look, EVERY_MS, ({ data, error }) => {
            this.error = error;
            if (data) this.#take(...data);
            for (const listener of this.#listeners) listener(this);
        });
    }

    // Looks at once.
    now() {
        this.#poll.now();
    }

    // Tells `listener` now and after every look; returns how to end that.
    listen(listener) {
        this.#listeners.add(listener);
        listener(this);
        return () => this.#listeners.delete(listener);
    }

    get last() {
        return this.points.at(-1) ?? {};
    }

    realms() {
        return this.router.realms.map((realm) => realm.name);
    }

    #take(router, shards) {
        const now = performance.now();
        const [before, seconds] = [
            { router: this.router, shards: this.shards },
            (now - this.seen) / 1000,
        ];
        const follows = this.seen > 0 && router.uptime_seconds >= before.router.uptime_seconds;
        if (!follows) this.points = [];
        else this.points.push(point(before, { router, shards }, seconds, now));
        if (this.points.length > MOST_POINTS) this.points.shift();
        [this.router, this.shards, this.seen] = [router, shards, now];
    }
}

function point(before, after, seconds, at) {
    const { gauges, totals, process } = after.router;
    const grown = (name) => totals[name] - before.router.totals[name];
    const rate = (...names) => names.reduce((sum, name) => sum + grown(name), 0) / seconds;
    const turns = turnsBetween(before.shards, after.shards);
    return {
        at,
        received: rate("messages_received"),
        publications: rate("publications"),
        delivered: rate("events_delivered"),
        dropped: rate("events_dropped_slow", "events_dropped_size", "events_dropped_encoding"),
        calls: rate("calls_routed", "meta_calls_answered"),
        answers: rate("results_delivered", "call_errors_delivered"),
        bytesIn: rate("bytes_received"),
        bytesOut: rate("bytes_sent"),
        joined: rate("sessions_joined"),
        ended:
            rate("sessions_joined") - (gauges.sessions - before.router.gauges.sessions) / seconds,
        cut: rate("slow_consumers_disconnected"),
        sessions: gauges.sessions,
        pending: gauges.output_bytes,
        held: after.router.held_bytes,
        resident: process?.resident_bytes,
        median: quantile(turns, 0.5),
        slowest: quantile(turns, 0.99),
        busy: after.shards.map((shard, at) => {
            const worked = shard.busy_seconds - (before.shards[at]?.busy_seconds ?? 0);
            return Math.min(Math.max(worked / seconds, 0), 1);
        }),
    };
}

// Turns of all shards by how long they took: pairs of a bound in microseconds and a count.
function turnsBetween(before, after) {
    const counts = new Map();
    after.forEach((shard, at) => {
        (shard.turns_by_time ?? []).forEach(({ up_to_us, turns }, place) => {
            const earlier = before[at]?.turns_by_time?.[place]?.turns ?? 0;
            const bound = up_to_us ?? Infinity;
            counts.set(bound, (counts.get(bound) ?? 0) + turns - earlier);
        });
    });
    return [...counts];
}

// Within a class all times count as equally frequent; above the last bound nothing is known.
export function quantile(classes, share) {
    const all = classes.reduce((sum, [, turns]) => sum + turns, 0);
    let [rest, from] = [all * share, 0];
    if (all === 0) return undefined;
    for (const [bound, turns] of classes) {
        if (rest <= turns && turns > 0) {
            return bound === Infinity ? from : from + ((bound - from) * rest) / turns;
        }
        [rest, from] = [rest - turns, bound];
    }
    return from;
}

const EVERY_MS = 1000;

// Five minutes.
export const MOST_POINTS = 300;
