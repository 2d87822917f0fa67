//! Configuration files: what they may say, and how a bad one is answered.

mod config {
    mod admin;
    mod environment;
    mod networks;
    mod schema;
    mod show;
    mod users;
    mod warnings;
    mod ways;
    mod web;
}

use proptest::prelude::*;
use stentor::authorization::{Action, Disclosure};
use stentor::codec::Codec;
use stentor::config::{
    Config, ConfigError, DEFAULT_FILE, Fault, HistoryStore, Listener, Loader, Place, Realm, Report,
    Warning,
};
use stentor::limits::SlowConsumerPolicy;
use stentor::router::PublisherDisclosure;
use stentor::wamp::{MatchPolicy, UriRule};

/// Expects that `text` is right.
fn read(text: &str) -> Config {
    match Loader::from_text("stentor.toml", text).finish() {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

/// Expects that `text` is wrong.
fn refuse(text: &str) -> Report {
    match Loader::from_text("stentor.toml", text).finish() {
        Err(ConfigError::Invalid(report)) => report,
        other => panic!("{text}: {other:?}"),
    }
}

/// Expects that exactly one thing is wrong with `text`, at `line:column`, and that the report
/// says each of `words`.
fn check(text: &str, position: (usize, usize), words: &[&str]) {
    let report = refuse(text);
    let [problem] = &*report.problems else { panic!("{report}") };
    let Place::File(bytes) = &problem.place else { panic!("{report}") };
    assert_eq!(report.position(bytes.start), position, "{report}");
    let shown = report.to_string();
    for word in words {
        assert!(shown.contains(word), "{word} in:\n{shown}");
    }
}

#[test]
fn several_listeners_and_realms() {
    let config = read(
        r#"
        shards = 4
        [[listener]]
        name = "public"
        listen = "0.0.0.0:8080"
        rawsocket = false
        paths = ["/wamp"]
        serializers = ["json", "msgpack"]
        origins = ["https://app.example.org", "http://[::1]:3000", "null"]
        default_serializer = "json"
        [[listener]]
        listen = "[::1]:8081"
        websocket = false
        rawsocket_min_peer_bytes = 65536
        [[listener]]
        listen = "unix:/run/stentor.sock"
        unix_mode = "0660"
        [[realm]]
        name = "com.example.live"
        uri_rule = "strict"
        publisher_disclosure = "always"
        admin_roles = ["operator", "guest"]
        [[realm.authenticator]]
        method = "anonymous"
        role = "guest"
        authid = "somebody"
        [[realm.role]]
        name = "guest"
        trustlevel = 2
        [[realm.role.permission]]
        uri = "com.example."
        match = "prefix"
        allow = ["publish", "call"]
        disclose = ["caller"]
        [[realm.role.permission]]
        uri = "com.example.internal"
        deny = ["publish"]
        [[realm]]
        name = "test"
        [[realm.role]]
        name = "operator"
        [output]
        policy = "drop_oldest"
        "#,
    );
    assert_eq!(config.shard_count(), 4);
    let [public, v6, unix] = &*config.listeners else { panic!("{:?}", config.listeners) };
    assert_eq!(public.label(), "public");
    assert_eq!(public.urls(), ["ws://0.0.0.0:8080/wamp"]);
    assert_eq!(public.serializers, [Codec::Json, Codec::MsgPack]);
    assert_eq!(public.default_serializer, Some(Codec::Json));
    assert_eq!(public.origins.len(), 3);
    assert_eq!((v6.label(), v6.urls()), ("[::1]:8081".into(), vec!["rs://[::1]:8081".into()]));
    assert_eq!(v6.rawsocket_min_peer_bytes, 65_536);
    assert_eq!(unix.unix_mode, Some(0o660));
    assert_eq!(unix.address.to_string(), "unix:/run/stentor.sock");
    let [live, test] = &*config.realms else { panic!("{:?}", config.realms) };
    assert_eq!(live.uri_rule, UriRule::Strict);
    check_guest(live);
    assert_eq!(live.publisher_disclosure, PublisherDisclosure::Always);
    assert_eq!((test.uri_rule, test.authenticators.len()), (UriRule::Loose, 0));
    assert_eq!(config.output.policy, SlowConsumerPolicy::DropOldest);
    let admin = Warning::AnonymousAdmin { realm: "com.example.live".into(), role: "guest".into() };
    let closed = Warning::ClosedRealm("test".into());
    assert_eq!(config.warnings(), [Warning::OpenToNetwork("public".into()), closed, admin]);
}

fn check_guest(live: &Realm) {
    assert_eq!(live.authenticators[0].anonymous_role(), "guest");
    let [guest] = live.access.roles() else { panic!("{live:?}") };
    assert_eq!((&*guest.name, guest.trustlevel), ("guest", Some(2)));
    let [some, none] = &*guest.permissions else { panic!("{guest:?}") };
    assert_eq!(
        (some.policy, &*some.allow),
        (MatchPolicy::Prefix, &[Action::Publish, Action::Call][..])
    );
    assert_eq!((&*some.disclose, some.line), (&[Disclosure::Caller][..], Some(30)));
    assert_eq!(
        (none.policy, &*none.deny, none.line),
        (MatchPolicy::Exact, &[Action::Publish][..], Some(35))
    );
}

#[test]
fn without_listener_and_realm_the_defaults_stay() {
    let config = read("[limits]\nnesting = 10\n");
    assert_eq!(config.listeners, [Listener::default()]);
    assert_eq!(config.realms[0].name, "realm1");
    assert_eq!(config.limits.nesting, 10);
    assert!(!config.development);
    assert_eq!(
        config.warnings(),
        [Warning::ClosedRealm("realm1".into()), Warning::NoRole("realm1".into())]
    );
    assert_eq!(Config::default().warnings(), [Warning::Development]);
}

#[test]
fn a_report_shows_the_line_and_what_was_meant() {
    let report = refuse("# first\n\n[limits]\nmassage_bytes = 4096 # ?\n");
    let expected = "\
error: unknown key `massage_bytes` in [limits]
 --> stentor.toml:4:1
  |
4 | massage_bytes = 4096 # ?
  | ^^^^^^^^^^^^^
  = help: did you mean `message_bytes`?
";
    assert_eq!(report.to_string(), expected);
}

#[test]
fn unknown_keys_find_their_section() {
    check("shard = 2", (1, 1), &["at the top of the file", "did you mean `shards`?"]);
    check("nesting = 9", (1, 1), &["`nesting` belongs to [limits]"]);
    check("[log]\nshards = 2", (2, 1), &["in [log]", "belongs at the top of the file"]);
    check("[listeners]", (1, 2), &["did you mean `listener`?"]);
    check("[log]\ncolour = true", (2, 1), &["the keys here are `format`, `level`"]);
    check("development = true", (1, 1), &["unknown key"]);
    check("[[listener]]\nlisten = \"[::1]:1\"\nsecure = true", (3, 1), &["in [[listener]]"]);
}

#[test]
fn wrong_types_are_said_in_plain_words() {
    check("shards = \"two\"", (1, 10), &["`shards`", "string \"two\"", "a whole number"]);
    check("[limits]\nnesting = 70000", (2, 11), &["`limits.nesting`", "up to 65535"]);
    check("[limits]\nconnections = -1", (2, 15), &["`-1`", "a whole number"]);
    check("[tuning]\ntcp_nodelay = 1", (2, 15), &["expected true or false"]);
    check("[protocol]\nrequest_ids = \"stict\"", (2, 15), &["did you mean `strict`?"]);
    check(
        "[[realm]]\nname = \"x\"\npublisher_disclosure = \"forbit\"",
        (3, 24),
        &["did you mean `forbid`?"],
    );
    check("limits = 1", (1, 10), &["below a line `[limits]`"]);
    check("[listener]\nlisten = \"[::1]:1\"", (1, 1), &["below a line `[[listener]]`"]);
    check("realm = [1]", (1, 10), &["below a line `[[realm]]`"]);
}

#[test]
fn syntax_errors_have_a_place() {
    check("[limits\n", (1, 8), &["syntax error", "`]`"]);
    check("shards = 1\nshards = 2\n", (2, 1), &["duplicate key"]);
    check("größe = 1", (1, 3), &["syntax error"]);
}

/// Expects that `key` refuses each of `values` with its range.
fn check_range(section: &str, key: &str, range: &str, values: &[u64]) {
    for value in values {
        let sentence = format!("{key}` must be {range}, not {value}");
        let text = format!("{section}\n{key} = {value}");
        check(&text, (2, key.len() + 4), &[&sentence]);
    }
}

#[test]
fn limits_have_ranges() {
    let limits = |key, range, values| check_range("[limits]", key, range, values);
    limits("message_bytes", "from 512 to 16777216 bytes", &[511, 16_777_217]);
    limits("nesting", "from 8 to 512 levels", &[7, 513]);
    limits("uri_bytes", "from 16 to 65536 bytes", &[15, 65_537]);
    limits("http_head_bytes", "from 1024 to 1048576 bytes", &[1023, 1_048_577]);
    limits("connections", "from 1 to 10000000", &[0, 10_000_001]);
    limits("calls_per_session", "from 1 to 10000000", &[0]);
    limits("retained_events", "from 1 to 10000000", &[0]);
    limits("retained_bytes", "from 4096 to 1099511627776 bytes", &[4095]);
    limits("held_total_bytes", "from 1048576 to 1099511627776 bytes", &[1_048_575]);
    limits("history_events", "from 1 to 1000000", &[0, 1_000_001]);
    limits("history_bytes", "from 4096 to 1099511627776 bytes", &[4095]);
    limits("history_answer_events", "from 1 to 1000000", &[0]);
    limits("history_answer_bytes", "from 1024 to 16777216 bytes", &[1023, 16_777_217]);
    limits("retained_per_subscribe", "from 1 to 10000000", &[0]);
    limits("meta_call_bytes", "from 512 to 16777216 bytes", &[511]);
    limits("meta_list_items", "from 1 to 10000000", &[0]);
    limits("meta_questions_per_session", "from 1 to 10000000", &[0]);
    limits("testaments_per_session", "from 1 to 10000000", &[0]);
    limits("testament_bytes", "from 512 to 16777216 bytes", &[511]);
    let output = |key, range, values| check_range("[output]", key, range, values);
    output("hard_bytes", "from 4096 to 1099511627776 bytes", &[4095]);
    output("soft_bytes", "from 1024 to 1099511627776 bytes", &[1023]);
    output("soft_ms", "from 10 to 3600000 milliseconds", &[9, 3_600_001]);
    output("stall_ms", "from 100 to 3600000 milliseconds", &[99]);
}

#[test]
fn times_and_tuning_have_ranges() {
    check_range("", "shards", "from 0 to 62", &[63]);
    let timeouts = |key, range, values| check_range("[timeouts]", key, range, values);
    timeouts("handshake_ms", "from 10 to 3600000 milliseconds", &[0]);
    timeouts("ping_interval_ms", "from 100 to 86400000 milliseconds", &[99]);
    timeouts("ping_timeout_ms", "from 100 to 3600000 milliseconds", &[0]);
    timeouts("close_ms", "from 10 to 3600000 milliseconds", &[9]);
    let tuning = |key, range, values| check_range("[tuning]", key, range, values);
    tuning("read_budget_bytes", "from 4096 to 67108864 bytes", &[0, 67_108_865]);
    tuning("shard_queue_bytes", "from 65536 to 1099511627776 bytes", &[1]);
    tuning("backlog", "from 1 to 65535", &[0, 65_536]);
    tuning("flush_delay_us", "from 0 to 10000 microseconds", &[10_001]);
    tuning("recv_buffer_bytes", "from 4096 to 1073741824 bytes", &[1]);
    let never = read("[timeouts]\nping_interval_ms = 0");
    assert_eq!(never.timeouts.ping_interval_ms, 0);
}

#[test]
fn budgets_fit_into_each_other() {
    check("[output]\nsoft_bytes = 9000000", (2, 14), &["is more than `output.hard_bytes`"]);
    check("[output]\ntotal_bytes = 5000000", (2, 15), &["of one client", "set it to 8388608"]);
    check("[limits]\nmessage_bytes = 16777216", (2, 17), &["does not fit", "raise"]);
    // The limit that stayed at its default is not in the file: the place is the other one.
    check("[output]\nhard_bytes = 1048575\nsoft_bytes = 1024", (2, 14), &["does not fit"]);
}

#[test]
fn listeners_are_sensible() {
    let on = |rest: &str| format!("[[listener]]\nlisten = \"127.0.0.1:80\"\n{rest}");
    check(&on("websocket = false\nrawsocket = false"), (1, 1), &["neither WebSocket nor"]);
    check(&on("paths = []"), (3, 9), &["no path"]);
    let names = ["[\"user agent\"]", "[\"\"]", "[\"Cookie\", \"cookie\"]"];
    for bad in names {
        check(&on(&format!("pass_headers = {bad}")), (3, 16), &["no name of a header"]);
    }
    check(&on("paths = [\"ws\"]"), (3, 9), &["`ws` is no path"]);
    check(&on("paths = [\"/%7\"]"), (3, 9), &["`/%7` is no path", "two hexadecimal digits"]);
    check(&on("serializers = []"), (3, 15), &["no serializer"]);
    check(&on("serializers = [\"cbro\"]"), (3, 16), &["did you mean `cbor`?"]);
    check(&on("serializers = [\"json\"]\ndefault_serializer = \"cbor\""), (4, 22), &["`cbor`"]);
    check(&on("origins = [\"*.\"]"), (3, 11), &["`*.` is no origin", "`*` for every page"]);
    assert_eq!(read(&on("origins = [\"*\"]")).listeners[0].origins, ["*"]);
    check(&on("origins = [\"https://a.b/\"]"), (3, 11), &["no origin"]);
    check(&on("unix_mode = \"0660\""), (3, 13), &["only a Unix socket has a mode"]);
    check(&on("unix_mode = \"999\""), (3, 13), &["`999` is no file mode", "octal"]);
    check(&on("rawsocket_min_peer_bytes = 1"), (3, 28), &["from 512 to 16777216 bytes"]);
    check(&on("name = \"\""), (3, 8), &["`name` is empty"]);
    check("[[listener]]\nname = \"x\"", (1, 1), &["has no `listen`", "127.0.0.1:8080"]);
    check("listener = []", (1, 12), &["there is no listener", "leave `listener` out"]);
    check("[[listener]]\nlisten = \"8080\"", (2, 10), &["127.0.0.1:8080", "0.0.0.0:8080"]);

    let two = on(&on("")).replace("127.0.0.1:80\"\n[[", "0.0.0.0:80\"\n[[");
    check(&two, (4, 10), &["127.0.0.1:80 is taken", "0.0.0.0:80"]);
    let named = "[[listener]]\nlisten = \"[::1]:1\"\nname = \"a\"\n";
    let again = named.replace(":1\"", ":2\"");
    check(&format!("{named}{again}"), (6, 8), &["two listeners are named `a`"]);
}

#[test]
fn realms_are_sensible() {
    check("[[realm]]\nname = \"a b\"", (2, 8), &["under the loose rule"]);
    check("[[realm]]\nname = \"A\"\nuri_rule = \"strict\"", (2, 8), &["under the strict rule"]);
    check("[[realm]]\nname = \"wamp.x\"", (2, 8), &["belongs to the protocol"]);
    check("[[realm]]\nname = \"a\"\n[[realm]]\nname = \"a\"", (4, 8), &["two realms"]);
    check("[[realm]]\nuri_rule = \"loose\"", (1, 1), &["has no `name`"]);
    let way = "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n";
    check(&format!("{way}role = \"\""), (5, 8), &["is empty"]);
    check("realm = []", (1, 9), &["there is no realm"]);
    let long = "a".repeat(257);
    check(&format!("[[realm]]\nname = \"{long}\""), (2, 8), &["257 bytes", "(256)"]);
}

#[test]
fn roles_are_sensible() {
    let role = |rest: &str| format!("[[realm]]\nname = \"a\"\n[[realm.role]]\n{rest}");
    let rule = |rest: &str| role(&format!("name = \"r\"\n[[realm.role.permission]]\n{rest}"));
    let old = "[[realm]]\nname = \"a\"\nanonymous_trustlevel = 2";
    check(old, (3, 1), &["has moved", "[[realm.role]]", "`trustlevel = ...`"]);
    check(&role("trustlevel = 1"), (3, 1), &["has no `name`"]);
    check(&role("name = \"\""), (4, 8), &["is empty"]);
    check(&role("name = \"r\"\ntrustlevel = -1"), (5, 14), &["`realm.role.trustlevel`"]);
    let twice = role("name = \"r\"\n[[realm.role]]\nname = \"r\"");
    check(&twice, (6, 8), &["two roles named `r`", "below one"]);
    check(&rule("allow = [\"call\"]"), (5, 1), &["`[[realm.role.permission]]` has no `uri`"]);
    check(&rule("uri = \"x\""), (5, 1), &["neither allows nor denies", "allow = ["]);
    check(
        &rule("uri = \"x\"\nalow = [\"call\"]\ndeny = [\"call\"]"),
        (7, 1),
        &["did you mean `allow`"],
    );
    let wrong = rule("uri = \"x\"\nallow = [\"calls\"]");
    check(&wrong, (7, 10), &["did you mean `call`?"]);
    let both = rule("uri = \"x\"\nallow = [\"call\"]\ndeny = [\"call\"]");
    check(&both, (8, 8), &["both allows and denies to call"]);
    let empty = rule("uri = \"com..x\"\nallow = [\"call\"]");
    check(&empty, (6, 7), &["no URI under the loose rule", "\"wildcard\""]);
    let idle = rule("uri = \"x\"\nallow = [\"call\"]\ndisclose = [\"publisher\"]");
    check(&idle, (8, 12), &["discloses the publisher", "add \"publish\" to `allow`"]);
    let level = rule("uri = \"x\"\nallow = [\"subscribe\"]\ntrustlevel = 1");
    check(&level, (8, 14), &["neither to publish nor to call"]);
    let authorizer =
        |allow: &str, name: &str| rule(&format!("uri = \"x\"\n{allow}\nauthorizer = \"{name}\""));
    let bad = authorizer("allow = [\"call\"]", "wamp.authorize");
    check(&bad, (8, 14), &["`wamp.authorize` can be no procedure", "does not begin with `wamp.`"]);
    check(&authorizer("allow = [\"call\"]", "com..a"), (8, 14), &["can be no procedure"]);
    let idle = authorizer("deny = [\"call\"]", "com.a");
    check(&idle, (8, 14), &["allows nothing that it could decide about", "to `allow`"]);
    read(&authorizer("allow = [\"call\"]", "com.a"));
    let remote = authorizer("allow = [\"call\"]", "http://a.example/x?y");
    check(
        &remote,
        (8, 14),
        &["plain HTTP to another", "[[realm.authorizer]]", "plain_http = true"],
    );
    let other = authorizer("allow = [\"call\"]", "ftp://a.example/");
    check(&other, (8, 14), &["`ftp://a.example/` is no URL that can be asked"]);
    let one = "uri = \"x\"\nallow = [\"call\", \"publish\"]\n[[realm.role.permission]]\n";
    let again = rule(&format!("{one}uri = \"x\"\ndeny = [\"publish\"]"));
    check(&again, (9, 7), &["an earlier permission", "who may publish"]);
    let apart = rule(&format!("{one}uri = \"x\"\ndeny = [\"register\"]"));
    read(&apart);
    let long = rule(&format!("uri = \"{}\"\nallow = [\"call\"]", "x".repeat(257)));
    check(&long, (6, 7), &["257 bytes", "(256)"]);
    let wildcards: String = (1..=65)
        .map(|mask: u32| {
            let words = (0..7).map(|bit| if mask >> bit & 1 == 1 { "" } else { "a" });
            let uri = words.collect::<Vec<_>>().join(".");
            format!(
                "uri = \"{uri}\"\nmatch = \"wildcard\"\nallow = [\"call\"]\n\
                     [[realm.role.permission]]\n"
            )
        })
        .collect();
    let many = rule(wildcards.trim_end_matches("[[realm.role.permission]]\n"));
    check(&many, (5 + 64 * 4 + 1, 7), &["7 components", "more than 64 ways"]);
}

#[test]
fn histories_belong_to_realms() {
    let config = read(
        r#"
        [[realm]]
        name = "a"
        history_answer = "list"
        [[realm.role]]
        name = "anonymous"
        [[realm.history]]
        topic = "com.log."
        match = "prefix"
        events = 5
        bytes = 4096
        age_ms = 60000
        store = "durable"
        [[realm.history]]
        topic = "com.x"
        [[realm]]
        name = "b"
        [[realm.role]]
        name = "anonymous"
        [storage]
        path = "/var/lib/stentor/store"
        "#,
    );
    let [log, x] = &*config.realms[0].histories else { panic!("{:?}", config.realms) };
    assert_eq!((log.policy, log.events, log.bytes), (MatchPolicy::Prefix, Some(5), Some(4096)));
    assert_eq!((log.age_ms, log.store), (Some(60_000), HistoryStore::Durable));
    assert_eq!((x.policy, x.events, x.store), (MatchPolicy::Exact, None, HistoryStore::Memory));
    assert!(config.realms[1].histories.is_empty());
    let closed = ["a", "b"].map(|realm| Warning::ClosedRealm(realm.into()));
    assert!(config.store().is_some() && config.warnings() == closed);
    let summary = config.summary().to_string();
    let expected = "history of prefix `com.log.` durable, history of exact `com.x` in memory";
    assert!(summary.contains(expected) && summary.contains("/var/lib/stentor/store"), "{summary}");
    let unused = read("[storage]\npath = \"x\"");
    assert_eq!(unused.warnings()[0], Warning::UnusedStore);
    assert_eq!(unused.store(), None);
}

#[test]
fn histories_are_sensible() {
    let with = |rest: &str| {
        format!("[[realm]]\nname = \"a\"\nuri_rule = \"strict\"\n[[realm.history]]\n{rest}")
    };
    let refused = |rest: &str, place, words: &[&str]| check(&with(rest), place, words);
    refused("events = 1", (4, 1), &["`[[realm.history]]` has no `topic`"]);
    refused("topic = \"a\"\nevnets = 1", (6, 1), &["[[realm.history]]", "mean `events`?"]);
    refused("topic = \"a\"\nmatch = \"prefx\"", (6, 9), &["did you mean `prefix`?"]);
    refused("topic = \"a\"\nstore = \"disk\"", (6, 9), &["`realm.history.store`"]);
    refused("topic = \"a..b\"", (5, 9), &["no topic under the strict rule", "set `match`"]);
    refused("topic = \"A..b\"\nmatch = \"wildcard\"", (5, 9), &["no wildcard pattern under"]);
    refused("topic = \"wamp.session.\"\nmatch = \"prefix\"", (5, 9), &["belong to the protocol"]);
    refused("topic = \"a\"\n[[realm.history]]\ntopic = \"a\"", (7, 9), &["two histories of `a`"]);
    refused("topic = \"a\"\nevents = 0", (6, 10), &["from 1 to 1000000, not 0"]);
    refused("topic = \"a\"\nbytes = 9", (6, 9), &["from 4096 to"]);
    refused("topic = \"a\"\nage_ms = 0", (6, 10), &["from 1 to", "milliseconds"]);
    let durable = "topic = \"a\"\nstore = \"durable\"";
    refused(durable, (6, 9), &["no place for what is to be durable", "[storage]", "path ="]);
    check("[storage]\nretained = true", (2, 12), &["no place", "path ="]);
    check("[storage]\npath = \"\"", (2, 8), &["`path` is empty"]);
    check("store = \"durable\"", (1, 1), &["belongs to [[realm.history]]"]);
    let long = format!("topic = \"{}\"", "a".repeat(257));
    refused(&long, (5, 9), &["257 bytes", "(256)"]);
    let once = "[[realm]]\nname = \"a\"\n[realm.history]\ntopic = \"a\"";
    check(once, (3, 1), &["`realm.history` is a list of sections", "[[realm.history]]"]);
    read(&with("topic = \"a\"\n[[realm.history]]\ntopic = \"a\"\nmatch = \"prefix\""));
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let report = refuse(
        "shards = 64\n[[listener]]\nlisten = \"x\"\n[limits]\nnestign = 9\nuri_bytes = \"a\"\n\
         connections = 0\n[log]\nlevel = \"debgu\"\n",
    );
    let lines: Vec<_> = report
        .problems
        .iter()
        .map(|problem| match &problem.place {
            Place::File(bytes) => report.position(bytes.start).0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lines, [1, 3, 5, 6, 7, 9], "{report}");
}

#[test]
fn a_key_that_could_not_be_read_is_not_held_against_others() {
    let report = refuse("[output]\nhard_bytes = \"20 MB\"\nsoft_bytes = 16777216\n");
    let [problem] = &*report.problems else { panic!("{report}") };
    assert!(matches!(problem.fault, Fault::Value { .. }), "{report}");
}

#[test]
fn a_missing_file_is_an_error_with_its_name() {
    let error = Loader::from_file("no/such.toml".as_ref()).err().unwrap();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(error.to_string().contains("no/such.toml"));
}

proptest! {
    /// A damaged file gives an error or a configuration, and every error can be shown.
    #[test]
    fn no_file_is_too_damaged_to_be_answered(
        cut in 0..DEFAULT_FILE.len(),
        length in 0..200_usize,
        inserted in prop_oneof!["\\PC{0,12}", "[\\[\\]{}=\"#\\n.0-9a-zä]{0,12}"],
    ) {
        let mut text = DEFAULT_FILE.to_owned();
        text.replace_range(cut..(cut + length).min(DEFAULT_FILE.len()), &inserted);
        if let Err(error) = Loader::from_text("stentor.toml", text).finish() {
            prop_assert!(error.to_string().starts_with("error: "));
        }
    }
}

#[test]
fn certificates_belong_to_their_listener() {
    let config = read(
        r#"
        [[listener]]
        listen = "127.0.0.1:1"
        client_ca = "/ca"
        client_certificates = "request"
        [[listener.tls]]
        certificate = "/a"
        key = "/b"
        [[listener.tls]]
        certificate = "/c"
        key = "/d"
        allow_readable_key = true
        [[listener]]
        listen = "127.0.0.1:2"
        "#,
    );
    let [secure, plain] = &*config.listeners else { panic!("two listeners") };
    let keys: Vec<_> = secure.tls.iter().map(|tls| tls.key.to_str().unwrap()).collect();
    assert_eq!((&*keys, secure.tls[1].allow_readable_key), (&["/b", "/d"][..], true));
    assert_eq!(secure.urls()[0], "wss://127.0.0.1:1/ws");
    assert_eq!(secure.urls()[2], "rss://127.0.0.1:1");
    assert!(plain.tls.is_empty());
    assert_eq!(plain.urls()[2], "rs://127.0.0.1:2");
}

#[test]
fn tls_that_cannot_be_meant_is_refused() {
    let with = |listener: &str, tls: &str| {
        format!("[[listener]]\nlisten = \"127.0.0.1:1\"\n{listener}\n[[listener.tls]]\n{tls}")
    };
    check(&with("", "certificate = \"/a\""), (4, 1), &["has no `key`", "add a line"]);
    check(&with("", "key = \"/a\""), (4, 1), &["[[listener.tls]]", "certificate"]);
    let both = "certificate = \"/a\"\nkey = \"/b\"";
    check(&with("", &format!("{both}\nkeys = 1")), (7, 1), &["did you mean `key`?"]);
    check(&with("client_certificates = \"require\"", both), (3, 23), &["client_ca"]);
    check(&with("client_ca = \"/c\"", both), (3, 13), &["are not asked", "\"request\""]);
    check(&with("client_certificates = \"on\"", both), (3, 23), &["`on`"]);
    let plain = "[[listener]]\nlisten = \"127.0.0.1:1\"\nclient_ca = \"/c\"";
    check(plain, (3, 13), &["in TLS only", "[[listener.tls]]"]);
    let unix = "[[listener]]\nlisten = \"unix:/x\"\n[[listener.tls]]\n";
    check(&format!("{unix}{both}"), (3, 1), &["only TCP listeners speak TLS", "unix:/x"]);
    check(
        "[[listener]]\nlisten = \"127.0.0.1:1\"\ncertificate = \"/a\"",
        (3, 1),
        &["belongs to [[listener.tls]]"],
    );
    check(
        "[[listener]]\nlisten = \"127.0.0.1:1\"\ntls = 1",
        (3, 7),
        &["`listener.tls` is a list of sections"],
    );
}

/// The key of earlier versions says what to write now.
#[test]
fn the_old_role_of_anonymous_clients_is_explained() {
    let words = ["`[[realm.authenticator]]` with `method = \"anonymous\"` and `role = \"...\"`"];
    check("[[realm]]\nname = \"a\"\nanonymous_role = \"guest\"", (3, 1), &words);
}

#[test]
fn authenticators_are_checked() {
    let way = |text: &str| format!("[[realm]]\nname = \"a\"\n[[realm.authenticator]]\n{text}");
    check(&way("role = \"x\""), (3, 1), &["has no `method`"]);
    check(&way("method = \"tikcet\""), (4, 10), &["did you mean `ticket`?"]);
    check(&way("method = \"ticket\""), (3, 1), &["has no `users`", "users = \"users.toml\""]);
    let text = way("method = \"anonymous\"\nusers = \"users.toml\"");
    check(&text, (5, 9), &["takes no `users`"]);
    let text = way("method = \"ticket\"\nauthid = \"x\"\nusers = \"no/such\"");
    let report = refuse(&text).to_string();
    for word in ["takes no `authid`", "cannot read the users file `no/such`"] {
        assert!(report.contains(word), "{word} in:\n{report}");
    }
    check("[[realm]]\nname = \"a\"\nuser = \"x\"", (3, 1), &["unknown key `user`"]);
}

#[test]
fn paths_of_a_listener_have_rules_of_their_own() {
    let listener = "[[listener]]\nlisten = \"127.0.0.1:1\"\n";
    let path = "[[listener.path]]\npath = \"/private\"\nauthmethods = [\"ticket\"]\n";
    let config = read(&format!("{listener}{path}realm = \"realm1\"\norigins = []\n"));
    assert!(config.listeners[0].paths.is_empty(), "what is narrowed is not open beside it");
    assert_eq!(config.listeners[0].urls(), ["ws://127.0.0.1:1/private", "rs://127.0.0.1:1"]);
    let config = read(&format!("{listener}paths = [\"/ws\"]\n{path}"));
    assert_eq!(config.listeners[0].paths, ["/ws"]);
    check(&format!("{listener}paths = [\"/private\"]\n{path}"), (5, 8), &["is served already"]);
    check(&format!("{listener}{path}realm = \"x\"\n"), (6, 9), &["there is no realm `x`"]);
    check(&format!("{listener}realm = \"x\"\n"), (3, 9), &["there is no realm `x`"]);
    check(&format!("{listener}[[listener.path]]\npath = \"x\""), (4, 8), &["is no path"]);
}
