// Answers as a router gives them: of one with many sessions and topics, and of one whose clients
// have chosen the worst names that they could.

export const EVIL = [
    "<img src=x onerror=window.hacked=1>",
    '"><script>window.hacked=1</script>',
    "javascript:window.hacked=1",
    "\u202Egnp.exe\u2066 \u200Bzero\u0000\u001B[31m\u0085",
    "a\u0300".repeat(500),
    "x".repeat(200_000),
    "\uD800half",
    "</td></tr></table><style>*{display:none}</style>",
    "\u0627\u0644\u0639\u0631\u0628\u064A\u0629.topic",
    "constructor",
    "__proto__",
];

// The name with this number: hostile ones in turn, or harmless ones.
export const evil = (number) => EVIL[number % EVIL.length];
export const plain = (number) => `com.example.name-${number}`;

const TIME = "2026-01-02T03:04:05.678Z";

function session(number, name) {
    return {
        session: 4_000_000_000_000_000 + number,
        realm: name(number),
        authid: name(number + 1),
        authrole: name(number + 2),
        authmethod: "ticket",
        peer: "192.0.2.7:40000",
        transport: "websocket",
        serializer: "json",
        agent: name(number + 5),
        messages_received: 12_345_678,
        bytes_received: 9_876_543_210,
        bytes_sent: 1_234_567_890_123,
        events_dropped: number,
        shard: number % 2,
        pending_bytes: 5_000_000_000 - number,
        refused_bytes: 1_048_576,
        oldest_ms: 12_345,
    };
}

const open = { age_ms: 93_784_000, subscriptions: 10, registrations: 2, calls: 1, invocations: 0 };
const ended = { reason: "slow_consumer", closed_by: "router", ended: TIME, duration_ms: 1_234 };

// What each path answers with; `name(number)` makes the names.
export function answers(name, rows) {
    const list = (make) => Array.from({ length: rows }, (_, number) => make(number));
    const uri = (number) => ({ realm: name(number), uri: `${name(number)}${number}` });
    return {
        "/api/sessions": {
            count: 10_000,
            sessions: list((number) => ({ ...session(number, name), ...open })),
            unanswered_shards: [],
        },
        "/api/sessions/closed": {
            sessions: list((number) => ({ ...session(number, name), ...ended })),
        },
        "/api/reasons": {
            reasons: [{ reason: "slow_consumer", closed_by: "router", when: name(0), count: 7 }],
        },
        "/api/topics": {
            since_seconds: 10,
            topics: list((number) => ({
                ...uri(number),
                publications: 10 * number,
                events: 1000 * number,
                rate: 5000 - number,
                event_rate: number,
                subscribers: number,
                is_cut: number === 3,
            })),
        },
        "/api/procedures": {
            since_seconds: 10,
            procedures: list((number) => ({
                ...uri(number),
                calls: 10 * number,
                rate: 5000 - number,
                callees: number,
            })),
        },
        "/api/histories": {
            histories: list((number) => ({
                ...uri(number),
                match: "prefix",
                events: number,
                bytes: 1024 * number,
                limit: 1000,
                durable: number % 2 === 0,
            })),
        },
        "/api/roles": {
            open_realms: [name(1)],
            roles: list((number) => ({
                realm: name(number),
                role: number === 0 ? null : name(number + 1),
                rules: [
                    {
                        uri: name(number),
                        match: "prefix",
                        allow: ["publish", "subscribe"],
                        ask: ["call"],
                        deny: ["register"],
                        authorizer: name(number + 2),
                        line: number === 1 ? null : number,
                        origin: number === 1 ? "admin_roles" : "permission",
                    },
                ],
                more_rules: number === 0 ? 7 : 0,
                allowed: { publish: number, subscribe: 1, call: 2, register: 3 },
                denied: { publish: 0, subscribe: 1, call: 2, register: number },
            })),
        },
        "/api/log": {
            lost: 3,
            lines: list((number) => ({
                time: TIME,
                level: ["ERROR", "WARN", "INFO", "DEBUG"][number % 4],
                target: "stentor::shard",
                message: name(number),
                fields: { authid: name(number + 1), session: number, list: [name(number)] },
            })),
        },
        "/api/changes": {
            time: TIME,
            applied: list((number) => ({ place: name(number), what: name(number + 1) })),
            after_restart: [{ place: "tuning.backlog", what: "from 1024 to 4096" }],
        },
    };
}
