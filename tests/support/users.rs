//! Users that may log in.

use std::sync::Arc;

use stentor::authentication::{
    Argon2Cost, Credential, Kdf, Method, Principal, ScramRecord, Source, TicketHash,
};

use super::public_key_of;

/// A user with the secret `pencil`, by one method.
pub(crate) fn user(authid: &str, method: Method) -> Arc<Principal> {
    let credential = match method {
        Method::Ticket => Credential::Ticket(TicketHash::of_random(b"pencil")),
        Method::Wampcra => Credential::parse(Method::Wampcra, "pencil", Source::Environment)
            .expect("a plain secret"),
        Method::Scram => {
            let kdf = Kdf::Pbkdf2 { iterations: 7 };
            Credential::Scram(ScramRecord::of("pencil", kdf, [7; 16]).expect("a password"))
        }
        Method::Cryptosign => {
            let text = public_key_of(authid);
            Credential::parse(method, &text, Source::File).expect("a key")
        }
        Method::Tls => {
            let name = format!("dns:{authid}.example");
            Credential::parse(method, &name, Source::File).expect("a name")
        }
        Method::Anonymous => panic!("nobody is anonymous by name"),
    };
    Arc::new(Principal { authid: authid.into(), role: "user".into(), credential })
}

/// A user whose ticket takes long to compare, though not in a test.
pub(crate) fn user_with_chosen_ticket(authid: &str) -> Arc<Principal> {
    let cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 };
    let hash = TicketHash::of_chosen(b"pencil", [9; 16], cost).expect("in range");
    let credential = Credential::Ticket(hash);
    Arc::new(Principal { authid: authid.into(), role: "user".into(), credential })
}
