//! The logins of NATS in operator mode: an operator who signs accounts, an account that signs
//! users, and for each user a file of credentials. The formats are those of NATS' nkeys and JWTs,
//! version 2.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crc::{CRC_16_XMODEM, Crc};
use data_encoding::BASE32_NOPAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

/// Who has a key: the prefixes of what they are called by.
#[derive(Clone, Copy)]
enum Holder {
    Operator = 14 << 3,
    Account = 0,
    User = 20 << 3,
}

struct Key {
    holder: Holder,
    signing: SigningKey,
}

impl Key {
    /// Of tests alone: whoever knows the number has it.
    fn of_tests(holder: Holder, number: u8) -> Self {
        Self { holder, signing: SigningKey::from_bytes(&[number; 32]) }
    }

    /// What it is called by everywhere.
    fn public(&self) -> String {
        encode(&[self.holder as u8], self.signing.verifying_key().as_bytes())
    }

    fn seed(&self) -> String {
        const SEED: u8 = 18 << 3;
        let holder = self.holder as u8;
        encode(&[SEED | holder >> 5, (holder & 31) << 3], self.signing.as_bytes())
    }

    /// Says under its name what `nats` says of somebody.
    fn sign(&self, subject: &Self, name: &str, nats: &Value) -> String {
        let claims = json!({
            "jti": name, "iat": 1_700_000_000, "iss": self.public(), "name": name,
            "sub": subject.public(), "nats": nats,
        });
        let [head, claims] = [json!({"typ": "JWT", "alg": "ed25519-nkey"}), claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{head}.{claims}");
        let signature = self.signing.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn encode(prefix: &[u8], key: &[u8; 32]) -> String {
    let mut bytes = [prefix, key].concat();
    let sum = Crc::<u16>::new(&CRC_16_XMODEM).checksum(&bytes);
    bytes.extend(sum.to_le_bytes());
    BASE32_NOPAD.encode(&bytes)
}

/// An account of routers, which a server in operator mode knows.
pub(super) struct Operators {
    account: Key,
    /// A configuration of the server.
    pub(super) config: String,
}

impl Operators {
    pub(super) fn new() -> Self {
        let operator = Key::of_tests(Holder::Operator, 1);
        let [system, account] = [2, 3].map(|number| Key::of_tests(Holder::Account, number));
        let describe = |key: &Key, name: &str, storage: i64| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": storage,
                "disk_storage": storage, "streams": -1, "consumer": -1,
            });
            let nats = json!({"limits": limits, "type": "account", "version": 2});
            operator.sign(key, name, &nats)
        };
        let itself = json!({"type": "operator", "version": 2, "system_account": system.public()});
        let config = format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\n\
             resolver_preload: {{\n  {}: {}\n  {}: {}\n}}\n",
            operator.sign(&operator, "operator", &itself),
            system.public(),
            system.public(),
            describe(&system, "system", 0),
            account.public(),
            describe(&account, "routers", -1),
        );
        Self { account, config }
    }

    /// The file of a user of the account, who may do so much.
    pub(super) fn credentials(&self, name: &str, number: u8, publish: &[&str]) -> String {
        let user = Key::of_tests(Holder::User, number);
        let allow = |subjects: &[&str]| match subjects {
            [] => json!({}),
            subjects => json!({"allow": subjects}),
        };
        let nats = json!({
            "pub": allow(publish), "sub": {}, "subs": -1, "data": -1, "payload": -1,
            "type": "user", "version": 2,
        });
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            self.account.sign(&user, name, &nats),
            user.seed()
        )
    }
}
