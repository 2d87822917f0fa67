//! What is written is read, and what is strange is refused.

use proptest::prelude::*;

use super::super::tests::decode_all;
use super::*;
use crate::wamp::Value;

fn session(number: u64) -> SessionId {
    SessionId::new(number).expect("an id")
}

fn subscriptions(numbers: &[u64]) -> Vec<SubscriptionId> {
    numbers.iter().map(|number| SubscriptionId::new(*number).expect("an id")).collect()
}

fn questions() -> Vec<Question> {
    let id = subscriptions(&[9])[0];
    let words = LastWords { reason: "com.reason".into(), message: "words".into() };
    let roles = |names: &[&str]| Some(names.iter().map(|name| Box::from(*name)).collect());
    let kill = |whom| Question::KillSessions { whom, caller: session(5), words: words.clone() };
    let removal = |reason: Option<&str>| {
        let reason = reason.map(Into::into);
        Question::RemoveSubscriber { subscription: id, session: session(7), reason }
    };
    let mut questions = vec![
        Question::CountSessions { roles: None },
        Question::CountSessions { roles: roles(&[]) },
        Question::ListSessions { roles: roles(&["a", "b"]) },
        Question::GetSession(session(7)),
        Question::KillSession { session: session(7), words: words.clone() },
        kill(Whom::All),
        kill(Whom::Authid("joe".into())),
        kill(Whom::Authrole("user".into())),
        Question::ListSubscriptions,
        Question::MatchSubscriptions { uri: "com.x".into() },
        Question::GetSubscription(id),
        Question::CountSubscribers(id),
        Question::ListSubscribers(id),
        removal(None),
        removal(Some("com.why")),
    ];
    questions.extend(POLICIES.map(|policy| {
        let uri = "com.x".into();
        Question::LookUpSubscription { uri, policy }
    }));
    questions
}

fn findings() -> Vec<Finding> {
    let ids = subscriptions(&[1, 2, 1 << 53]);
    let listing = Listing { exact: ids.clone(), prefix: Vec::new(), wildcard: subscriptions(&[3]) };
    let described = POLICIES.map(|policy| {
        let created = Timestamp::from_unix_us(1_714_564_800_123_456);
        Finding::Described(Some(Described { uri: "com.x".into(), policy, invoke: None, created }))
    });
    let details = vec![("authid".into(), "joe".into()), ("n".into(), Value::UInt(1))];
    let mut findings = vec![
        Finding::Count(None),
        Finding::Count(Some(7)),
        Finding::Sessions(None),
        Finding::Sessions(Some(Vec::new())),
        Finding::Sessions(Some(vec![session(4), session(3)])),
        Finding::Session(None),
        Finding::Session(Some(details)),
        Finding::Done(Ok(())),
        Finding::Done(Err(Absent::Session)),
        Finding::Done(Err(Absent::Subscription)),
        Finding::Subscriptions(listing),
        Finding::Subscription(None),
        Finding::Subscription(Some(ids[0])),
        Finding::Matches(ids),
        Finding::Described(None),
        Finding::TooMany,
        Finding::Unable,
    ];
    findings.extend(described);
    findings
}

#[test]
fn questions_are_read_as_they_were_written() {
    let mut bytes = Vec::new();
    for (number, question) in (1..).zip(questions()) {
        encode_ask(number, "realm1", &question, &mut bytes);
    }
    let entries = decode_all(&bytes).expect("they can be read");
    assert_eq!(entries.len(), questions().len());
    for ((count, entry), asked) in (1..).zip(entries).zip(questions()) {
        let Entry::Ask { number, realm, question } = entry else { panic!("{entry:?}") };
        assert_eq!((number, &*realm), (count, "realm1"));
        assert_eq!(format!("{question:?}"), format!("{asked:?}"));
    }
}

#[test]
fn answers_are_read_as_they_were_written() {
    let mut bytes = Vec::new();
    for (number, finding) in (1..).zip(findings()) {
        encode_part(number, &finding, number % 2 == 0, &mut bytes);
    }
    let entries = decode_all(&bytes).expect("they can be read");
    assert_eq!(entries.len(), findings().len());
    for ((count, entry), found) in (1..).zip(entries).zip(findings()) {
        let Entry::Part { number, finding, is_last } = entry else { panic!("{entry:?}") };
        assert_eq!((number, is_last, finding), (count, count % 2 == 0, found));
    }
}

/// Authroles that are too many, or not in order, are those of no node: they are searched as such.
#[test]
fn later_fields_are_skipped_and_strange_questions_refused() {
    let later = [
        &[0x85, ASK, 5, 0x61, b'r', 0x83, GET_SESSION, 7, 0xf6, 0xf6][..],
        &[0x85, PART, 5, 0x82, TOO_MANY, 0xf6, 0xf5, 0x61, b'x'],
        &[0x84, PART, 5, 0x82, DESCRIBED, 0x84, 0x61, b'u', 0, 7, 0xf6, 0xf5],
    ];
    assert_eq!(decode_all(&later.concat()).map(|entries| entries.len()), Ok(3));
    for strange in [
        &[0x83, ASK, 5, 0x61, b'r'][..],
        &[0x84, ASK, 5, 0x61, b'r', 0x81, 200],
        &[0x84, ASK, 5, 0x61, b'r', 0x82, GET_SESSION, 0],
        &[0x84, ASK, 5, 0x61, b'r', 0x81, GET_SESSION, 7],
        &[0x84, ASK, 5, 0x61, b'r', 0x82, COUNT_SESSIONS, 0x82, 0x61, b'b', 0x61, b'a'],
        &[0x84, ASK, 5, 0x61, b'r', 0x82, COUNT_SESSIONS, 0x9a, 0xff, 0xff, 0xff, 0xff],
        &[0x84, ASK, 5, 0x61, b'r', 0x83, LOOK_UP_SUBSCRIPTION, 0x61, b'u', 3],
        &[0x84, PART, 5, 0x81, 200, 0xf5],
        &[0x84, PART, 5, 0x82, DONE, 3, 0xf5],
        &[0x84, PART, 5, 0x82, SESSIONS, 0x81, 0, 0xf5],
        &[0x84, PART, 5, 0x82, SESSIONS, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x83, PART, 5, 0x81, UNABLE],
    ] {
        assert!(decode_all(strange).is_err(), "{strange:x?}");
    }
    let role = |number: usize| Box::from(format!("{number:05}"));
    let asked = |count| {
        let roles = Some((0..count).map(role).collect());
        let mut bytes = Vec::new();
        encode_ask(1, "realm1", &Question::CountSessions { roles }, &mut bytes);
        decode_all(&bytes).is_ok()
    };
    assert!(asked(MOST_ROLES) && !asked(MOST_ROLES + 1));
}

proptest! {
    /// Whatever the bytes are, they are entries or an error, and no panic.
    #[test]
    fn any_bytes_are_questions_or_none(
        kind in ASK..=PART,
        what in 0..13_u8,
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut entry = vec![0x84, kind, 1];
        if kind == ASK {
            entry.extend([0x61, b'r']);
        }
        entry.extend([0x83, what]);
        entry.extend(&bytes);
        let _ = decode_all(&entry);
    }
}
