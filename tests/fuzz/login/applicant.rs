//! One client that wants to join, and what is known of it.

use serde_json::{Value, json};

use crate::support::{Link, prove};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has said nothing that counts.
    Silent,
    /// HELLO is sent.
    Greeted,
    Challenged,
    Answered,
    Joined,
    Gone,
}

pub(super) struct Applicant {
    pub(super) pipe: usize,
    pub(super) link: Link,
    pub(super) state: State,
    /// It has sent bytes of which nobody here knows what they say.
    is_wild: bool,
    realm: String,
    authid: String,
    /// The method and the Extra of its CHALLENGE.
    challenge: Option<(String, Value)>,
    /// It has proved to its last challenge that it is whom it named.
    is_right: bool,
}

impl Applicant {
    pub(super) fn new(pipe: usize, link: Link) -> Self {
        Self {
            pipe,
            link,
            state: State::Silent,
            is_wild: false,
            realm: String::new(),
            authid: String::new(),
            challenge: None,
            is_right: false,
        }
    }

    pub(super) fn greet(&mut self, hello: &Value) {
        // A second HELLO is a violation, but what came before it may still be answered.
        if self.state != State::Silent {
            self.is_wild = true;
            return;
        }
        self.state = State::Greeted;
        self.realm = hello[1].as_str().expect("a name").to_owned();
        self.authid = hello[2]["authid"].as_str().expect("a name").to_owned();
    }

    pub(super) const fn be_wild(&mut self) {
        self.is_wild = true;
    }

    /// AUTHENTICATE: the right answer, a wrong one, or somebody else's; `None` without a challenge
    /// to answer.
    pub(super) fn answer(&mut self, choice: u8, overheard: Option<String>) -> Option<Value> {
        let (method, extra) = self.challenge.take()?;
        let right = if method == "cryptosign" { "joe" } else { "pencil" };
        let secret = if choice % 4 == 1 { "wrong" } else { right };
        let is_known = self.authid == "joe" || self.authid == "chosen" && method == "ticket";
        let own = prove(&method, &self.authid, secret, &extra);
        // A ticket is the same for everybody here.
        let (proof, is_own) = match overheard {
            Some(overheard) => (overheard, method == "ticket"),
            None => (own, true),
        };
        self.is_right = is_own && (secret == right || proof == right);
        self.is_right &= is_known || self.is_wild;
        self.state = State::Answered;
        Some(json!([5, proof, {"nonce": extra["nonce"]}]))
    }

    /// Takes in a message of the router; gives what must be new in a CHALLENGE.
    pub(super) fn hear(&mut self, message: &Value) -> Option<String> {
        if self.state == State::Gone {
            return None;
        }
        let state = self.state;
        match message[0].as_u64() {
            Some(4) => return self.hear_challenge(message),
            Some(2) => self.hear_welcome(&message[2]),
            Some(3 | 6) => {
                assert!(message[2].as_str().is_some_and(|reason| reason.starts_with("wamp.")));
                // Behind GOODBYE there may be another HELLO.
                self.state = if message[0] == json!(6) { State::Silent } else { State::Gone };
                self.challenge = None;
            }
            Some(50 | 8) => assert_eq!(state, State::Joined, "{message}"),
            // Whatever it asked for in bytes of its own.
            _ => assert!(self.is_wild && state == State::Joined, "{state:?} hears {message}"),
        }
        None
    }

    fn hear_challenge(&mut self, message: &Value) -> Option<String> {
        assert!(self.is_wild || self.state == State::Greeted, "{:?} is challenged", self.state);
        let (method, extra) = (message[1].as_str().expect("a method"), message[2].clone());
        let fresh = extra.get("challenge").or_else(|| extra.get("nonce")).map(Value::to_string);
        assert!(fresh.is_some() || method == "ticket", "{method} without a challenge");
        self.challenge = Some((method.to_owned(), extra));
        self.is_right = false;
        self.state = State::Challenged;
        fresh
    }

    fn hear_welcome(&mut self, details: &Value) {
        let method = details["authmethod"].as_str().expect("a method");
        if method == "anonymous" {
            assert!(self.is_wild || self.realm == "open", "anonymous in {}", self.realm);
        } else {
            assert!(self.state == State::Answered && self.is_right, "no proof by {method}");
            assert!(self.is_wild || details["authid"] == json!(self.authid), "{details}");
        }
        self.is_right = false;
        self.state = State::Joined;
    }

    /// Whether nothing stands between a right answer and WELCOME but time.
    pub(super) const fn is_owed_welcome(&self) -> bool {
        matches!(self.state, State::Answered) && self.is_right && !self.is_wild
    }
}
