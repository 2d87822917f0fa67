//! What peers can send to somebody at a terminal, or to a script that reads lines.

use serde_json::{Value, json};
use stentor::codec::Codec;

use crate::shell::Router;
use crate::sockets::{Client, Kind, address};

const JSON: Kind = Kind::Raw(Codec::Json);

/// Clears screens, sets titles, turns lines around and ends them.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\n\u{202e}\u{2028}\u{7f}\u{0}";

fn is_safe(line: &str) -> bool {
    !line.chars().any(|letter| letter.is_control() || "\u{202e}\u{2028}".contains(letter))
}

#[test]
fn no_payload_breaks_a_line_or_reaches_a_terminal() {
    let router = Router::open();
    let subscriber = router.subscriber(&["com.x", "--json", "--serializer", "json"]);
    let words = router.subscriber(&["com.x"]);
    let mut publisher = Client::join(address(&router.server), JSON);
    // As bytes, so that white space and letters that JSON need not escape arrive as they are.
    let pretty = "{ \"a\" :\r\n\t[ \"\u{9b}31m\u{7f}\u{202e}\u{2028}\" , 1.0e0 ] }";
    for argument in [&serde_json::to_string(HOSTILE).unwrap(), pretty] {
        let request = publisher.next_request();
        let message =
            format!("[16,{request},{{}},\"com.x\",[{argument}],{{\"k\u{9b}\":{argument}}}]");
        let frame = JSON.frame(message.as_bytes());
        publisher.write(&frame).unwrap();
        let line = subscriber.stdout.next_with("topic");
        assert!(is_safe(&line), "{line:?}");
        let object: Value = serde_json::from_str(&line).unwrap();
        let expected: Value = serde_json::from_str(argument).unwrap();
        assert_eq!((&object["args"][0], &object["kwargs"]["k\u{9b}"]), (&expected, &expected));
        let line = words.stdout.next_with("com.x");
        assert!(is_safe(&line) && line.contains("\\u"), "{line:?}");
    }
}

#[test]
fn binary_data_is_base64_and_raw_bytes_are_whole() {
    let router = Router::open();
    let bytes: Vec<u8> = (0..=255).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bytes");
    std::fs::write(&file, &bytes).unwrap();
    let at = format!("@{}", file.display());
    router.run(&["pub", "com.x", &at, "--retain", "--serializer", "msgpack"]).check(0, "");
    for serializer in ["json", "msgpack", "cbor"] {
        let get = ["sub", "com.x", "--get-retained", "--count", "1", "--serializer", serializer];
        let done = router.run(&[&get[..], &["--raw"]].concat());
        assert_eq!(done.bytes, bytes, "{serializer}");
        let done = router.run(&[&get[..], &["--json"]].concat());
        let text = done.objects()[0]["args"][0].as_str().unwrap().to_owned();
        assert!(text.starts_with("\0AAECAwQF"), "{text}");
        // And in again.
        let argument = serde_json::to_string(&text).unwrap();
        let arguments = ["pub", "com.x", &argument, "--retain", "--serializer", serializer];
        router.run(&arguments).check(0, "");
        let done = router.run(&[&get[..], &["--raw"]].concat());
        assert_eq!(done.bytes, bytes, "{serializer}");
    }
}

#[test]
fn a_huge_payload_is_one_line() {
    let router = Router::open();
    let subscriber = router.subscriber(&["com.x", "--json"]);
    let mut publisher = Client::join(address(&router.server), JSON);
    // Many tiny values, and one long text.
    let values = json!([vec![0; 200_000], "x".repeat(400_000)]);
    publisher.publish_acknowledged("com.x", &values);
    let line = subscriber.stdout.next_with("topic");
    let object: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["args"][0], values);
}

#[test]
fn what_json_does_not_have_is_printed_all_the_same() {
    let router = Router::open();
    let subscriber = router.subscriber(&["com.x", "--json", "--serializer", "cbor"]);
    let kind = Kind::Raw(Codec::Cbor);
    let mut publisher = Client::join(address(&router.server), kind);
    let publish = |publisher: &mut Client, payload: &[u8]| {
        let request = publisher.next_request();
        // [16, request, {}, "com.x", payload]
        let mut message = vec![0x85, 0x10, u8::try_from(request).unwrap(), 0xa0, 0x65];
        message.extend_from_slice(b"com.x");
        message.extend_from_slice(payload);
        publisher.write(&kind.frame(&message)).unwrap();
    };
    // [NaN, -Infinity, 2^64 - 1]
    let numbers =
        [0x83, 0xf9, 0x7e, 0x00, 0xf9, 0xfc, 0x00, 0x1b, 255, 255, 255, 255, 255, 255, 255, 255];
    publish(&mut publisher, &numbers);
    let line = subscriber.stdout.next_with("topic");
    let object: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["args"], json!(["NaN", "-inf", u64::MAX]));
    // [simple(16)]: what no serializer but CBOR has.
    publish(&mut publisher, &[0x81, 0xf0]);
    publisher.publish_acknowledged("com.x", &json!("after"));
    let line = subscriber.stdout.next_with("topic");
    let object: Value = serde_json::from_str(&line).unwrap();
    if object["args"] != json!(["after"]) {
        assert_eq!(object["args_base64"], "gfA=", "{object}");
        assert!(object["unreadable"].is_string(), "{object}");
    }
}

#[test]
fn words_of_others_on_standard_error_are_safe() {
    let router = Router::open();
    let mut callee = Client::join(address(&router.server), JSON);
    callee.register("com.x");
    let call = router.background(&["call", "com.x"]);
    let invocation = callee.expect(68);
    callee.send(&json!([8, 68, invocation[1], {}, "com.failed", [HOSTILE], {HOSTILE: HOSTILE}]));
    let line = call.stderr.next_with("com.failed");
    assert!(is_safe(&line), "{line:?}");
}

/// Who accepts a connection and says nothing more is no router.
#[test]
fn a_silent_peer_is_not_waited_for_for_ever() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for scheme in ["ws", "rs"] {
        let url = format!("{scheme}://127.0.0.1:{port}/");
        let arguments = ["ping", "--url", &url, "--wait", "0.3"];
        let done = crate::shell::run(&mut crate::shell::command(&arguments));
        done.check(3, "").says(&["no session at", "in time"]);
    }
}
