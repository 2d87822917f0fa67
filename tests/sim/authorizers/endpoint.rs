//! The endpoint among the authorizers: it answers in any order, late, wrongly or never, and
//! sometimes nobody takes a question to it.

use rand::RngExt;
use serde_json::Value;
use stentor::authentication::EndpointSettings;
use stentor::authorization::Permission;
use stentor::shard::{Errand, Mail, Ruled};

use super::super::plan::pick;
use super::{PATIENCE_MS, World, number_of_request};

pub(super) const URL: &str = "https://auth.example.org/allow";

/// What it decides about.
pub(super) fn permission() -> Permission {
    Permission { authorizer: Some(URL.into()), ..Permission::everything_below("com.away.") }
}

pub(super) fn settings() -> EndpointSettings {
    EndpointSettings { timeout_ms: PATIENCE_MS, ..EndpointSettings::at(URL) }
}

impl World {
    /// Answers one question that lies at the endpoint, rightly or wrongly, or loses it.
    pub(super) fn rule(&mut self) {
        self.network.settle();
        self.hear_all("rule");
        let verifier = &mut self.network.links.verifier;
        verifier.room = self.rng.random_bool(0.1).then_some(0);
        if verifier.queue.is_empty() {
            return;
        }
        let number = self.rng.random_range(0..verifier.queue.len());
        let (waiter, errand) = verifier.queue.remove(number).expect("it was just drawn");
        let Errand::Request(check) = errand else { panic!("nobody logs in here: {errand:?}") };
        assert!(check.patience_ms <= PATIENCE_MS, "{} ms", check.patience_ms);
        let body: Value = serde_json::from_slice(check.to_json().bytes()).expect("JSON");
        let session = body["session_details"]["session"].as_u64().expect("an id");
        let about = (session, number_of_request(&body["options"]));
        let (allow, cache) = (self.rng.random_bool(0.6), self.rng.random_bool(0.3));
        let dict = format!(r#"{{"allow":{allow},"cache":{cache}}}"#);
        let (status, body, ruling) = match self.rng.random_range(0..9) {
            0 => (200, "1".to_owned(), None),
            1 => (*pick(&mut self.rng, &[204, 302, 404, 500]), "true".to_owned(), None),
            2 => (200, "{".to_owned(), None),
            3 => return self.count("lost at the endpoint"),
            4 => (403, String::new(), Some((false, false))),
            5 | 6 => (200, allow.to_string(), Some((allow, false))),
            _ => (200, dict, Some((allow, cache))),
        };
        let ruled: Ruled = check.read(status, body.as_bytes());
        assert_eq!(ruled.is_ok(), ruling.is_some(), "{status} {body}");
        let mail = Mail::Ruled { question: check.question, ruled: Box::new(ruled) };
        let shard = usize::from(waiter.session.shard.0);
        self.network.deliver(shard, mail);
        // It may come twice, and means nothing then.
        if self.rng.random_bool(0.1) {
            let again = Box::new(check.read(200, b"true"));
            self.network.deliver(shard, Mail::Ruled { question: check.question, ruled: again });
        }
        self.network.settle();
        self.count(if ruling.is_some() { "ruled by the endpoint" } else { "misruled" });
        if let Some((allow, cache)) = ruling {
            self.note_ruling(about, allow, cache);
        }
    }
}
