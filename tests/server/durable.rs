//! Durable history and retained events of the real process: killed in the middle of its work, on a
//! full disk, and on a file that is no store.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::ListenAddress;

use crate::running::{Running, address_in};
use crate::sockets::{Client, Frame, Kind, Lines};

/// A router that keeps the events of `com.x` and all below `log.`, and retained events.
struct Stentor {
    process: Running,
    log: Lines,
    address: ListenAddress,
}

fn configure(directory: &Path, events: usize) {
    let store = directory.join("store");
    let text = format!(
        "shards = 2\n\
         [[listener]]\nlisten = \"127.0.0.1:0\"\n\
         [[realm]]\nname = \"realm1\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n\
         [[realm.history]]\ntopic = \"com.x\"\nstore = \"durable\"\nevents = {events}\n\
         [[realm.history]]\ntopic = \"log.\"\nmatch = \"prefix\"\nstore = \"durable\"\n\
         events = {events}\n\
         [[realm.role]]\nname = \"anonymous\"\n\
         [[realm.role.permission]]\nuri = \"\"\nmatch = \"prefix\"\n\
         allow = [\"publish\", \"subscribe\", \"call\", \"register\"]\n\
         [limits]\nhistory_answer_events = 100000\nhistory_answer_bytes = 16777216\n\
         [output]\nhard_bytes = 67108864\n\
         [storage]\npath = {store:?}\nretained = true\n"
    );
    fs::write(directory.join("stentor.toml"), text).unwrap();
}

impl Stentor {
    fn start(directory: &Path) -> Self {
        let file = directory.join("stentor.toml");
        let file = file.to_str().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["--config", file]);
        Self::run(&mut command)
    }

    fn run(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(process.stderr.take().unwrap());
        let line = log.next_with("listening");
        Self { process: Running(process), log, address: address_in(&line) }
    }

    fn join(&self) -> Client {
        Client::join(&self.address, Kind::Ws(Codec::Json))
    }

    fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }
}

/// `[argument, publication]` of each event of a history, from old to new.
fn history(client: &mut Client, id: u64) -> Vec<(Value, u64)> {
    let request = client.next_request();
    client.send(&json!([48, request, {}, "wamp.subscription.get_events", [id]]));
    let answer = client.expect(50);
    assert_eq!(answer[4]["is_limit_reached"], json!(false));
    let events = answer[3].as_array().unwrap().iter();
    events.map(|e| (e["args"][0].clone(), e["publication"].as_u64().unwrap())).collect()
}

/// Everything that was acknowledged, by its argument.
type Acknowledged = Mutex<BTreeMap<u64, u64>>;

/// Publishes with `acknowledge` until the router is gone, a few at a time.
fn publish_on(mut client: Client, publisher: u64, first: u64, acknowledged: &Acknowledged) {
    let mut sent = BTreeMap::new();
    for number in first.. {
        let topic = if number % 2 == 0 { "com.x" } else { "log.y" };
        let argument = publisher * 1_000_000 + number;
        let request = client.next_request();
        sent.insert(request, argument);
        let options = json!({"acknowledge": true, "retain": number % 5 == 0});
        let message = json!([16, request, options, topic, [argument]]);
        if client.write(&client.kind.message(&message)).is_err() {
            return;
        }
        while sent.len() >= 8 {
            let Frame::Message(bytes) = client.next_answering() else { return };
            let answer = client.kind.decode(&bytes);
            assert_eq!(answer[0], 17, "{answer}");
            let argument = sent.remove(&answer[1].as_u64().unwrap()).expect("it was asked");
            acknowledged.lock().unwrap().insert(argument, answer[2].as_u64().unwrap());
        }
    }
}

/// AP-HIS-01: whatever was acknowledged is there after `kill -9`, once, in order, with its id.
#[test]
fn what_is_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), 100_000);
    let acknowledged = Acknowledged::default();
    for round in 1..=5_u64 {
        let stentor = Stentor::start(directory.path());
        check(&stentor, &acknowledged);
        let done = AtomicBool::new(false);
        let before = acknowledged.lock().unwrap().len();
        thread::scope(|scope| {
            for publisher in 1..=3 {
                let (client, acknowledged) = (stentor.join(), &acknowledged);
                scope.spawn(move || publish_on(client, publisher, round * 100_000, acknowledged));
            }
            scope.spawn(|| {
                let wanted = before + 40 * usize::try_from(round).unwrap();
                while acknowledged.lock().unwrap().len() < wanted {
                    thread::yield_now();
                }
                stentor.kill();
                done.store(true, Ordering::SeqCst);
            });
        });
        assert!(done.load(Ordering::SeqCst));
    }
    check(&Stentor::start(directory.path()), &acknowledged);
}

fn check(stentor: &Stentor, acknowledged: &Acknowledged) {
    let mut client = stentor.join();
    let mut found = BTreeMap::new();
    let mut retained: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (id, topic) in [(1, "com.x"), (2, "log.y")] {
        let mut last = BTreeMap::new();
        for (argument, publication) in history(&mut client, id) {
            let argument = argument.as_u64().unwrap();
            let previous = last.insert(argument / 1_000_000, argument);
            assert!(previous < Some(argument), "{previous:?} before {argument}");
            assert_eq!(found.insert(argument, publication), None, "{argument} is there once");
            if argument % 5 == 0 {
                retained.entry(topic).or_default().push(argument);
            }
        }
    }
    for (argument, publication) in acknowledged.lock().unwrap().iter() {
        assert_eq!(found.get(argument), Some(publication), "{argument} was acknowledged");
    }
    for (topic, candidates) in retained {
        let request = client.next_request();
        client.send(&json!([32, request, {"get_retained": true}, topic]));
        client.expect(33);
        let event = client.expect(36);
        let argument = event[4][0].as_u64().unwrap();
        assert_eq!(event[3]["retained"], true);
        assert!(candidates.contains(&argument), "{argument} was retained");
        assert_eq!(event[2].as_u64(), found.get(&argument).copied());
        // Of each publisher the last one, and of one of them the last of all.
        let newer = candidates
            .iter()
            .filter(|other| **other / 1_000_000 == argument / 1_000_000 && **other > argument);
        assert_eq!(newer.count(), 0, "{argument} was replaced");
    }
}

/// A stop in order waits for the store, acknowledged or not.
#[test]
fn a_stop_in_order_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), 3);
    let mut stentor = Stentor::start(directory.path());
    let mut client = stentor.join();
    for number in 1..=50 {
        client.publish("com.x", &json!(number));
    }
    let before = history(&mut client, 1);
    stentor.process.signal("TERM");
    client.expect(6);
    client.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    assert_eq!(stentor.process.exit_code(), Some(0));
    let stentor = Stentor::start(directory.path());
    let after = history(&mut stentor.join(), 1);
    assert_eq!(after, before);
    assert_eq!(after.iter().map(|(number, _)| number.clone()).collect::<Vec<_>>(), [48, 49, 50]);
}

/// A router whose files may not grow over 2 MiB, which is a disk without room for more.
fn start_on_a_small_disk(directory: &Path) -> Stentor {
    let file = directory.join("stentor.toml");
    let script = format!(
        "trap '' XFSZ; ulimit -f 4096; exec {:?} --config {:?}",
        env!("CARGO_BIN_EXE_stentor"),
        file.to_str().unwrap()
    );
    Stentor::run(Command::new("sh").args(["-c", &script]))
}

/// Publishes large events until one is not saved; gives how many were, and that answer.
fn fill_disk(client: &mut Client) -> (usize, Value) {
    let text = "x".repeat(LARGE);
    for saved in 0..100 {
        let request = client.next_request();
        client.send(&json!([16, request, {"acknowledge": true}, "com.x", [text]]));
        let answer = client.receive();
        if answer[0] == 8 {
            return (saved, answer);
        }
        assert_eq!(answer[0], 17);
    }
    panic!("2 MiB are full by now");
}

/// A disk without room: publications that want to be safe fail, everything else goes on.
#[test]
fn a_full_disk_stops_nobody() {
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), 100_000);
    let stentor = start_on_a_small_disk(directory.path());
    let mut subscriber = stentor.join();
    subscriber.subscribe("com.x");
    let mut client = stentor.join();
    let (saved, refused) = fill_disk(&mut client);
    assert_eq!(refused[4], "wamp.error.canceled");
    assert!(saved > 0);
    (0..=saved).for_each(|_| drop(subscriber.expect(36)));
    client.publish_acknowledged("com.elsewhere", &json!(1));
    client.publish("com.x", &json!("last"));
    assert_eq!(subscriber.expect(36)[4][0], "last");
    assert_eq!(history(&mut client, 1).len(), saved + 2);
    stentor.kill();
    let stentor = Stentor::start(directory.path());
    assert!(history(&mut stentor.join(), 1).len() >= saved, "what was acknowledged is there");
}

/// Nothing is lost without a word: what a stop in order cannot save is counted, and the exit code
/// tells.
#[test]
fn a_stop_names_what_it_could_not_save() {
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), 100_000);
    let mut stentor = start_on_a_small_disk(directory.path());
    let mut client = stentor.join();
    let (saved, _) = fill_disk(&mut client);
    // More than the whole disk, so that the last try must fail.
    let more = 30;
    (0..more).for_each(|_| client.publish("com.x", &json!("x".repeat(LARGE))));
    client.publish("log.y", &json!(1));
    assert_eq!(history(&mut client, 2).len(), 1);
    stentor.process.signal("TERM");
    client.expect(6);
    client.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    assert_eq!(stentor.process.exit_code(), Some(1));
    let last = stentor.log.next_with("could not be written at the stop");
    let lost = more + 1;
    let expected = format!(
        "{lost} events of the history `realm1 exact com.x`, 1 event of the history \
         `realm1 prefix log.` are lost; {} publications came in",
        lost + 1
    );
    assert!(last.contains(&expected) && last.contains("File too large"), "{last}");
    let stentor = Stentor::start(directory.path());
    assert_eq!(history(&mut stentor.join(), 1).len(), saved, "it told the truth");
}

#[test]
fn a_file_that_is_no_store_is_named() {
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), 10);
    let store = directory.path().join("store");
    fs::write(&store, "the diary of somebody else").unwrap();
    let file = directory.path().join("stentor.toml");
    let run = || {
        let arguments = ["--config", file.to_str().unwrap(), "--log-level", "error"];
        let output = Command::new(env!("CARGO_BIN_EXE_stentor")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = run();
    let expected = format!("cannot use the store `{}`: it is not a store", store.display());
    assert!(text.starts_with(&expected) && text.contains("storage.path"), "{text}");
    assert_eq!(fs::read_to_string(&store).unwrap(), "the diary of somebody else");

    fs::remove_file(&store).unwrap();
    drop(Stentor::start(directory.path()));
    let running = Stentor::start(directory.path());
    assert!(run().contains("another process uses it"));
    running.kill();

    let mut bytes = fs::read(&store).unwrap();
    let end = bytes.len().min(40_000);
    bytes[64..end].fill(0x5A);
    fs::write(&store, bytes).unwrap();
    let text = run();
    assert!(text.contains("it is damaged") && text.contains("restore it from a copy"), "{text}");
}

/// Bytes of an event that soon fills a small disk.
const LARGE: usize = 100_000;
