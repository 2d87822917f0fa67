//! When keys are fetched from an address: the time is the test's, the provider a real socket.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use super::*;
use crate::authentication::TokenError;
use crate::wamp::Timestamp;

/// A provider of one key, and the router's end.
struct World {
    issuer: Issuer,
    source: Source,
    start: Instant,
    /// Which key the provider has; 0: it is out of order.
    key: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let keys_url = Some(format!("http://{}/keys?secret", listener.local_addr().unwrap()));
        let (key, requests) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
        let (own_key, own_requests) = (Arc::clone(&key), Arc::clone(&requests));
        // Ends with the test.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                own_requests.fetch_add(1, Ordering::SeqCst);
                let body = match own_key.load(Ordering::SeqCst) {
                    0 => "{}".to_owned(),
                    number => keys(number),
                };
                let length = body.len();
                let head = "HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length:";
                let _ = write!(stream, "{head} {length}\r\n\r\n{body}");
            }
        });
        let settings = TokenSettings { keys_url, ..TokenSettings::default() };
        let source = Source::of(&settings).unwrap().unwrap();
        let issuer = Issuer::new(settings, Some("user".into()));
        Self { issuer, source, start: now(), key, requests }
    }

    /// The keeper looks, so long after the start: how often the provider is asked.
    fn look(&mut self, is_asked: bool, after: Duration) -> usize {
        let before = self.requests.load(Ordering::SeqCst);
        let now = self.start + after;
        self.source.look(&self.issuer, is_asked, || now);
        self.requests.load(Ordering::SeqCst) - before
    }

    fn patience(&self, after: Duration) -> Duration {
        self.source.patience(self.start + after)
    }

    fn judge(&self, number: usize) -> Result<(), TokenError> {
        let now = Timestamp::from_unix_ms(1_000);
        self.issuer.judge(&token(number), None, now).map(drop)
    }
}

fn signer(number: usize) -> SigningKey {
    SigningKey::from_bytes(&[number as u8; 32])
}

fn keys(number: usize) -> String {
    let x = BASE64URL_NOPAD.encode(signer(number).verifying_key().as_bytes());
    let kid = number.to_string();
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid}]}).to_string()
}

fn token(number: usize) -> String {
    let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = part(json!({"alg": "EdDSA", "kid": number.to_string()}));
    let signed = format!("{header}.{}", part(json!({"sub": "joe", "exp": 4_102_444_800_u64})));
    let signature = signer(number).sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_new_key_is_fetched_when_it_is_named_and_the_interval_has_passed() {
    let mut world = World::new();
    assert_eq!((world.look(false, MOMENT), world.judge(1)), (1, Ok(())));
    world.key.store(2, Ordering::SeqCst);
    assert_eq!(world.judge(2), Err(TokenError::UnknownKey));
    // However many name keys that are not there.
    for _ in 0..3 {
        assert_eq!(world.look(true, LEAST_INTERVAL), 0);
    }
    assert_eq!(world.judge(2), Err(TokenError::UnknownKey));
    assert_eq!(world.look(false, LEAST_INTERVAL + MOMENT), 0, "nobody asks for one");
    assert_eq!(world.look(true, LEAST_INTERVAL + MOMENT), 1);
    assert_eq!((world.judge(2), world.judge(1)), (Ok(()), Err(TokenError::UnknownKey)));
    assert_eq!(world.look(true, 2 * LEAST_INTERVAL), 0, "the interval begins anew");
    assert_eq!(world.look(true, 2 * LEAST_INTERVAL + 2 * MOMENT), 1);
}

#[test]
fn keys_are_fetched_again_when_they_are_old() {
    let mut world = World::new();
    let refresh = Duration::from_millis(world.issuer.settings().refresh_ms);
    assert_eq!(world.patience(Duration::ZERO), Duration::ZERO, "at the start");
    assert_eq!(world.look(false, Duration::ZERO), 1);
    world.key.store(2, Ordering::SeqCst);
    assert_eq!(world.patience(MOMENT), refresh - MOMENT);
    assert_eq!(world.look(false, refresh - MOMENT), 0);
    assert_eq!((world.look(false, refresh), world.judge(2)), (1, Ok(())));
}

/// The last good keys stay, and the provider is asked less and less often.
#[test]
fn a_provider_that_is_out_of_order_is_left_in_peace() {
    let mut world = World::new();
    let refresh = Duration::from_millis(world.issuer.settings().refresh_ms);
    assert_eq!(world.look(false, Duration::ZERO), 1);
    world.key.store(0, Ordering::SeqCst);
    let mut time = refresh;
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!((world.look(false, time), world.judge(1)), (1, Ok(())));
        waits.push(world.patience(time).as_secs());
        time += world.patience(time);
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    world.key.store(2, Ordering::SeqCst);
    assert_eq!((world.look(false, time), world.judge(2)), (1, Ok(())));
    assert_eq!(world.patience(time), refresh);
}
