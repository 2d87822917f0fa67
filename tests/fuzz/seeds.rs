//! What the fuzz targets start from: the published vectors, the examples of the specifications, and
//! a short instance of each thing that a target can tell apart.

use std::fs;
use std::path::Path;

use ciborium::Value as Oracle;
use serde_json::Value as Json;
use stentor::codec::Codec;

use crate::oracle;

/// A seed: its target, its name, its bytes.
pub(crate) type Seed = (&'static str, String, Vec<u8>);

pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = codecs();
    let mut add = |target, name: &str, bytes: Vec<u8>| seeds.push((target, name.to_owned(), bytes));
    for (name, request) in REQUESTS {
        add("http_head", name, request.as_bytes().to_vec());
    }
    let many = "X: y\r\n".repeat(130);
    add("http_head", "many-headers", format!("GET / HTTP/1.1\r\n{many}\r\n").into_bytes());
    for (name, choice, frames) in FRAMES {
        let frames = frames.iter().flat_map(|(first, payload)| frame(*first, payload));
        add("websocket_feed", name, [*choice].into_iter().chain(frames).collect());
    }
    for (name, bytes) in RAWSOCKET {
        add("rawsocket_feed", name, bytes.to_vec());
    }
    for (name, header) in PROXY_HEADERS {
        add("proxy_header", name, header.to_vec());
    }
    for (name, text) in TOKENS {
        add("tokens", name, text.as_bytes().to_vec());
    }
    for (name, der) in PUBLIC_KEYS {
        add("tokens", name, [b"d", &*from_hex(der)].concat());
    }
    for (name, lines) in URIS {
        add("uris", name, lines.as_bytes().to_vec());
    }
    let beyond = format!("[16,1,{{}},\"com.x\",[{}]]", "9".repeat(400));
    add("codec_json", "integer-beyond-floats", beyond.into_bytes());
    let topic = ["a"; 128].join(".");
    let (most, more) = ("w".to_owned() + &".".repeat(127), "w".to_owned() + &".".repeat(128));
    add("uris", "components", format!("{most}\n{more}\nt{topic}\nW{most}\n").into_bytes());
    for (name, text) in FILES {
        add("configuration", name, text.as_bytes().to_vec());
    }
    for (name, script) in SCRIPTS {
        add("login", name, script.to_vec());
    }
    seeds
}

/// The first sample of each of the vectors in each serializer, and payloads of all kinds of values.
fn codecs() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for codec in Codec::ALL {
        let target = match codec {
            Codec::Cbor => "codec_cbor",
            Codec::Json => "codec_json",
            Codec::MsgPack => "codec_msgpack",
        };
        for (name, sample) in samples() {
            let Some(hex) = sample["serializers"][codec.as_str()][0]["bytes_hex"].as_str() else {
                continue;
            };
            seeds.push((target, name, from_hex(hex)));
        }
        for (name, payload) in payloads() {
            let head = [16.into(), 1.into(), Oracle::Map(Vec::new()), "com.x".into()];
            let message = Oracle::Array([&head[..], &payload].concat());
            seeds.push((target, name.to_owned(), oracle::write(codec, &message)));
        }
    }
    seeds
}

fn samples() -> Vec<(String, Json)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/singlemessage");
    let mut samples = Vec::new();
    for folder in ["basic", "advanced"] {
        for file in fs::read_dir(root.join(folder)).expect("the vectors are there") {
            let path = file.expect("a file").path();
            let text = fs::read(&path).expect("it is readable");
            let file: Json = serde_json::from_slice(&text).expect("it is JSON");
            let first = file["samples"].as_array().and_then(|samples| samples.first());
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            samples.extend(first.map(|first| (name, first.clone())));
        }
    }
    samples
}

fn payloads() -> Vec<(&'static str, Vec<Oracle>)> {
    let numbers = [0u64, 23, 24, 255, 256, 65_535, 65_536, 1 << 32, u64::MAX];
    let negative = [-1i64, -32, -33, -129, -32_769, i64::MIN];
    let floats = [0.0, -0.0, 1.5, 1e300, 5e-324];
    let list = |items: Vec<Oracle>| Oracle::Array(items);
    let plain =
        vec![Oracle::Null, true.into(), "\u{20ac}\"\\\n".into(), Oracle::Bytes(vec![0, 255])];
    let deep = (0..60).fold(Oracle::Null, |inner, _| Oracle::Array(vec![inner]));
    let dict = |keys: u32| {
        let entry = |key: u32| (key.to_string().into(), Oracle::Null);
        Oracle::Map((0..keys).map(entry).collect())
    };
    vec![
        ("values-numbers", vec![list(numbers.iter().map(|n| (*n).into()).collect())]),
        ("values-negative", vec![list(negative.iter().map(|n| (*n).into()).collect())]),
        ("values-floats", vec![list(floats.iter().map(|f| (*f).into()).collect())]),
        ("values-plain", vec![list(plain)]),
        ("values-deep", vec![list(vec![deep])]),
        ("values-lists", vec![list(vec![list(vec![Oracle::Null; 17]), list(vec![])])]),
        ("values-dicts", vec![list(vec![dict(16)]), dict(2)]),
    ]
}

fn from_hex(digits: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("a digit") as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// A client's frame with a mask that changes nothing, so that what it says can be read.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

const REQUESTS: &[(&str, &str)] = &[
    (
        "rfc6455-1.2",
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "wamp",
        "GET /ws?x=1 HTTP/1.1\r\nHost: a.example.org\r\nUpgrade: websocket\r\n\
         Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Origin: https://a.example.org\r\nSec-WebSocket-Protocol: wamp.2.json, wamp.2.cbor\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "absolute",
        "GET http://localhost:80/%61part HTTP/1.1\r\nhost: localhost\r\nUPGRADE: WebSocket\r\n\
         connection: upgrade\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         origin: http://127.0.0.1:3000\r\nsec-websocket-version: 13\r\n\r\n",
    ),
    ("plain", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("head", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("post", "POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"),
    ("old", "GET / HTTP/1.0\r\n\r\n"),
    ("bare-newlines", "GET / HTTP/1.1\nHost: x\n\n"),
    ("begun", "GET /ws HTTP/1.1\r\nHo"),
];

type Frames = &'static [(u8, &'static [u8])];

const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\0";

/// Thousand spaces.
const BOMB: &[u8] = b"\x52\x50\x18\x05\xa3\x60\x14\x0c\x77\0";

const FRAMES: &[(&str, u8, Frames)] = &[
    ("text", 0, &[(0x81, b"[1,\"realm1\",{}]")]),
    ("binary", 1, &[(0x82, b"\x93\x01\xa1r\x80")]),
    ("cbor", 2, &[(0x82, b"\x83\x01\x61r\xa0")]),
    ("fragments", 0, &[(0x01, b"a\xe2\x82"), (0x89, b"ping"), (0, b"\xac"), (0x80, b"!")]),
    ("binary-fragments", 1, &[(0x02, b"\xff"), (0x00, b""), (0x80, b"\xfe")]),
    ("close", 0, &[(0x88, b"\x03\xe8bye"), (0x81, b"late")]),
    ("pong", 0, &[(0x8a, b""), (0x89, &[7; 125]), (0x81, b"x")]),
    ("long", 1, &[(0x82, &[b'x'; 300]), (0x82, &[b'x'; 699])]),
    ("too-long", 1, &[(0x02, &[b'x'; 600]), (0x80, &[b'x'; 101])]),
    ("stranger", 0x80, &[(0x81, &[b'x'; 200]), (0x81, &[b'x'; 201])]),
    ("invalid-text", 0, &[(0x01, b"\xce\xba"), (0x80, b"\xed\xa0\x80")]),
    ("wrong-type", 0, &[(0x82, b"x")]),
    ("reserved", 0, &[(0xc1, b"x")]),
    ("batch", 0x42, &[(0x81, b"[1]\x1e[2]\x1e"), (0x81, b"[3]\x1e[4]")]),
    ("batch-of-autobahn", 0x42, &[(0x81, b"[1]\x18"), (0x81, b"[2]\x18[3]\x1e")]),
    ("batch-in-fragments", 0x42, &[(0x01, b"[1]\x1e[2"), (0x89, b"p"), (0x80, b"]\x1e")]),
    ("batch-binary", 0x40, &[(0x82, b"\0\0\0\x01a\0\0\0\0"), (0x82, b"\0\0\0\x02b")]),
    ("batch-empty", 0x41, &[(0x02, b""), (0x80, b"")]),
    // RFC 7692, 7.2.3: `Hello`, in fragments, plain in a block, with BFINAL, and in two blocks.
    ("deflate", 0x21, &[(0xC1, HELLO), (0x81, b"x"), (0xC9, b"")]),
    (
        "deflate-fragments",
        0x21,
        &[(0x41, b"\xf2\x48\xcd"), (0x89, b"p"), (0x80, b"\xc9\xc9\x07\0")],
    ),
    ("deflate-stored", 0x22, &[(0xC2, b"\0\x05\0\xfa\xffHello\0"), (0xC2, b"\0\x05\0\xfb\xff")]),
    ("deflate-final", 0x20, &[(0xC2, b"\xf3\x48\xcd\xc9\xc9\x07\0\0")]),
    ("deflate-blocks", 0x21, &[(0xC1, b"\xf2\x48\x05\0\0\0\xff\xff\xca\xc9\xc9\x07\0")]),
    ("deflate-batch", 0x60, &[(0xC1, b"\0\x04\0\xfb\xff1\x1e2\x18\0")]),
    ("deflate-bomb", 0xA1, &[(0xC2, b"\x63\x60\xc0\x0e\0"), (0xC2, BOMB)]),
];

const RAWSOCKET: &[(&str, &[u8])] = &[
    ("json", b"\x7f\xf1\0\0\0\0\0\x0f[1,\"realm1\",{}]"),
    ("msgpack", b"\x7f\x02\0\0\0\0\0\x05\x93\x01\xa1r\x80"),
    ("ping", b"\x7f\xf3\0\0\x01\0\0\x03abc\x02\0\0\x01x\0\0\0\0"),
    ("serializer", b"\x7f\xf4\0\0"),
    ("reserved", b"\x7f\xf1\0\x01"),
    ("extended", b"\x7f\xf1\0\0\x08\0\0\0"),
    ("extended-length", b"\x7f\xf1\0\0\x08\0\0\x01"),
    ("frame-type", b"\x7f\xf1\0\0\x03\0\0\0"),
    ("too-long", b"\x7f\xf1\0\0\0\0\x02\x01"),
    ("begun", b"\x7f\xf1\0\0\0\0\0\x05ab"),
];

const PROXY_HEADERS: &[(&str, &[u8])] = &[
    ("tcp4", b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n\r\n"),
    ("tcp6", b"PROXY TCP6 2001:db8::1 ::ffff:10.0.0.1 56324 0\r\n\x7f\xf1\0\0"),
    (
        "tcp6-longest",
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
        ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255 65535 65535\r\n",
    ),
    ("unknown", b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"),
    (
        "line-too-long",
        b"PROXY UNKNOWN 0123456789012345678901234567890123456789012345678901234567890123456789\
          0123456789012345678901234567890123456789\r\n",
    ),
    ("begun", b"PROXY TCP4 192.168"),
    ("not-as-written", b"PROXY TCP4 192.168.0.01 +192.168.0.11 056324 65536 \r\n"),
    (
        "ipv4",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\
          \0\x0c\xc0\xa8\0\x01\xc0\xa8\0\x0b\xdc\x04\x01\xbb\x16\x03",
    ),
    (
        "ipv6",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\
          \0\x240000000000\xff\xff\n\0\0\x01fedcba9876543210\xdc\x04\x01\xbb",
    ),
    (
        "tls",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\
          \0\x1c\x0a\0\0\x01\x0a\0\0\x02\x04\xd2\x01\xbb\x02\0\x05a.b.c\x20\0\x05\x01\0\0\0\0",
    ),
    (
        "extension-cut",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\
          \0\x10\x0a\0\0\x01\x0a\0\0\x02\x04\xd2\x01\xbb\x20\0\x02\x01",
    ),
    ("local", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0[1,"),
    ("unspecified", b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\x03abc"),
    ("too-long", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x07\xf1"),
    ("signature-begun", b"\r\n\r\n\0\r\nQUI"),
    ("rawsocket", b"\x7f\xf1\0\0\0\0\0\x0f[1,\"realm1\",{}]"),
];

/// The letters stand in `tokens.rs`.
const TOKENS: &[(&str, &str)] = &[
    ("plain", "h{\"alg\":\"HS256\",\"kid\":\"s\"}\n{\"sub\":\"joe\",\"exp\":1300819060}"),
    (
        "strict",
        "e{\"alg\":\"EdDSA\"}\n{\"iss\":\"https://a.example\",\"aud\":[\"x\",\"wamp\"],\
         \"exp\":1e10,\
         \"user\":{\"name\":\"joe\"},\"a\":{\"b\":{\"c\":[\"member\",1]}},\"email\":\"a@b\"}",
    ),
    (
        "dotted",
        "h{\"alg\":\"HS256\"}\n{\"iss\":\"https://a.example\",\"aud\":\"wamp\",\
         \"nbf\":1300819010.5,\
         \"exp\":1300818990.001,\"user.name\":\"jim\",\"a.b\":{\"c\":\"x admin\"},\"iat\":0}",
    ),
    ("times", "h{\"alg\":\"HS256\"}\n{\"sub\":\"a\\u0000\",\"exp\":\"1300819060\",\"nbf\":1e400}"),
    (
        "early",
        "h{\"alg\":\"HS256\"}\n{\"sub\":\"joe\",\"exp\":18446744073709551615,\"nbf\":1300819011}",
    ),
    ("no-expiry", "e{\"alg\":\"EdDSA\",\"kid\":\"e\"}\n{\"sub\":\"joe\",\"iat\":null}"),
    ("forged", "H{\"alg\":\"HS256\"}\n{\"sub\":\"joe\",\"exp\":1300819060}"),
    ("confused", "h{\"alg\":\"EdDSA\",\"kid\":\"e\"}\n{\"sub\":\"joe\",\"exp\":1300819060}"),
    ("critical", "h{\"alg\":\"none\",\"kid\":1,\"crit\":[\"b64\"]}\n{}"),
    (
        "rfc7515-a.1",
        "teyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTk\
         zODAsDQogImh0\
         dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ),
    ("parts", "teyJhbGciOiJIUzI1NiJ9.e30.AB.x"),
    (
        "keys",
        "k{\"keys\":[{\"kty\":\"oct\",\"kid\":\"s\",\"k\":\"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IH\
         N0YXBsZSwgb3IgMzIgYnl0\
         ZXMgb2YgaXQ\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"sig\",\"alg\":\"EdDSA\",\
         \"x\":\"6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw\"}]}",
    ),
    (
        "keys-rfc7515-a.3",
        "k{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"key_ops\":[\"verify\"],\
         \"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\
         \"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
    ),
    (
        "keys-unusable",
        "k{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"},{\"use\":\"enc\"},7]}",
    ),
];

/// `SubjectPublicKeyInfo` of an Ed25519 key (RFC 8410, 10.1) and of the point of RFC 7515, A.3.
const PUBLIC_KEYS: &[(&str, &str)] = &[
    (
        "ed25519",
        "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1",
    ),
    (
        "p256",
        "3059301306072a8648ce3d020106082a8648ce3d030107034200047fcdce2770f6c45d4183cbee6fdb4b7b5807\
         33357be9ef13bacf6e3c7bd15445c7f144cd1bbd9b7e872cdfedb9eeb9f4b3695d6ea90b24ad8a4623288588\
         e5ad",
    ),
];

const URIS: &[(&str, &str)] = &[
    ("specification", "ecom.myapp.topic\npcom.myapp\nwcom.myapp..create\ntcom.myapp.topic"),
    ("prefixes", "pa1.b2.c3.d4\npa1.b2.c3\npa1.b2\npa1\np\nta1.b2.c3.d4.e5\nPa1.b2\nta1.b2.c33"),
    ("wildcards", "wa1.b2..d4.e5\nwa1.b2..d4.e5.f6\nwa1.b2..d4.e5..g7\nta1.b2.c3.d4.e5.f6.g7"),
    ("empty", "w\nw.\np\npa.\ne\ntx\nta.b"),
    ("invalid", "ecom..x\nea#b\ne com\ntcom.\u{a0}\ntA_b.9"),
    ("unicode", "ecom.gr\u{f6}\u{df}e\ntcom.gr\u{f6}\u{df}e\nwcom.\ntcom.\u{85}"),
    ("reserved", "ewamp.session.on_join\npwamp.\ntwamp\ntwampus.x"),
    ("many", "wa........\nw.a.......\nw..a......\nw...a.....\nta.a.a.a.a.a.a.a.a"),
];

const FILES: &[(&str, &str)] = &[
    ("empty", ""),
    (
        "listener",
        "[[listener]]\nlisten = \"[::1]:8080\"\npaths = [\"/ws\"]\n\
         serializers = [\"json\", \"cbor\"]\norigins = [\"*.example.org\"]\n",
    ),
    (
        "realm",
        "[[realm]]\nname = \"realm1\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n\
         role = \"guest\"\n[[realm.role]]\nname = \"guest\"\n[[realm.role.permission]]\n\
         uri = \"com.\"\nmatch = \"prefix\"\nallow = [\"call\", \"subscribe\"]\n",
    ),
    (
        "history",
        "[storage]\npath = \"x.redb\"\nretained = true\n[[realm]]\nname = \"r\"\n\
         [[realm.history]]\nuri = \"com.\"\nmatch = \"prefix\"\nstore = \"durable\"\n",
    ),
    (
        "limits",
        "shards = 2\n[limits]\nnesting = 9\nmessage_bytes = 4096\n[timeouts]\nclose_ms = 1\n",
    ),
    ("unknown-key", "[limits]\nnestling = 9\n"),
    ("wrong-type", "[limits]\nnesting = \"\u{e9}\"\nuri_bytes = -1\n"),
    ("out-of-range", "shards = 99\n[limits]\nnesting = 1\n"),
    ("no-toml", "[[listener\nlisten = \n\t\"\"\"\u{e9}"),
    ("log", "[log]\nlevel = \"info,stentor::net=debug\"\nformat = \"json\"\n"),
];

/// The operations stand in `login.rs`.
const SCRIPTS: &[(&str, &[u8])] = &[
    // Connect, HELLO, the right answer.
    ("ticket", &[0, 0, 1, 2, 0, 0, 0, 4, 0, 2]),
    ("wampcra", &[0, 0, 8, 2, 0, 0, 1, 4, 0, 2, 15]),
    ("scram", &[1, 0, 9, 2, 0, 0, 2, 4, 0, 2, 9, 0]),
    ("cryptosign", &[0, 0, 2, 2, 0, 0, 3, 4, 0, 2]),
    ("anonymous", &[0, 0, 16, 2, 0, 12, 4, 9, 0, 10, 0]),
    ("wrong", &[0, 0, 1, 2, 0, 0, 1, 4, 0, 1]),
    ("nobody", &[0, 0, 1, 2, 0, 2, 1, 4, 0, 2]),
    // A ticket that takes long to compare, and those who do it have gone.
    ("late", &[0, 0, 1, 2, 0, 1, 0, 4, 0, 2, 14, 0, 13, 2]),
    ("full", &[0, 0, 1, 2, 0, 1, 0, 14, 1, 4, 0, 2]),
    // Two clients, of which the second says what the first one said.
    ("overheard", &[1, 0, 1, 0, 10, 2, 0, 0, 1, 4, 0, 2, 2, 1, 0, 1, 4, 1, 0]),
    ("cut", &[0, 0, 1, 12, 9, 2, 0, 0, 0, 12, 3, 4, 0, 2]),
    ("garbled", &[0, 0, 0, 8, 0, 0, 0, 2, 9, 0xff, 30, 0, 2, 2]),
    ("words", &[0, 0, 1, 6, 0, 4, b'[', b'5', b']', b'!', 7, 0, 2, 0x81, 0x80, 11, 0]),
];
