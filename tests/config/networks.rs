//! What a file may say about proxies, and what of it deserves a warning.

use std::fs;

use stentor::authorization::OverRate;
use stentor::config::Warning;
use stentor::rate::Rate;
use stentor::transport::ForwardedBy;

use crate::{check, read};

fn listener(keys: &str) -> String {
    format!("[[listener]]\nlisten = \"0.0.0.0:1\"\n{keys}\n")
}

#[test]
fn proxies_are_listed() {
    let keys = "trusted_proxies = [\"10.0.0.0/8\", \"::1\", \"unix\"]\nproxy_protocol = true\n\
                forwarded = \"x-forwarded-for\"";
    let config = read(&listener(keys));
    let read = &config.listeners[0];
    let proxies: Vec<_> = read.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128", "unix"]);
    assert_eq!((read.proxy_protocol, read.forwarded), (true, ForwardedBy::XForwardedFor));
    let summary = config.summary().to_string();
    for words in ["PROXY protocol from 10.0.0.0/8 ::1/128 unix", "X-Forwarded-For from"] {
        assert!(summary.contains(words), "{summary}");
    }
}

#[test]
fn proxies_that_cannot_be_meant_are_refused() {
    let proxies =
        |list: &str| listener(&format!("trusted_proxies = {list}\nproxy_protocol = true"));
    check(&listener("proxy_protocol = true"), (3, 18), &["trusted_proxies = ["]);
    check(&listener("forwarded = \"forwarded\""), (3, 13), &["trusted_proxies = ["]);
    check(&listener("forwarded = \"x-forwarded\""), (3, 13), &["`x-forwarded-for`"]);
    check(&listener("trusted_proxies = [\"unix\"]"), (3, 19), &["proxy_protocol = true"]);
    check(&proxies("[\"10.0.0.1/8\"]"), (3, 19), &["8 bits count", "as zeros"]);
    check(&proxies("[\"10.0.0.0/40\"]"), (3, 19), &["32 bits"]);
    check(&proxies("[\"lb.example.org\"]"), (3, 19), &["is no network", "10.0.0.0/8"]);
    let raw = "rawsocket = true\nwebsocket = false\nforwarded = \"forwarded\"\n\
               trusted_proxies = [\"unix\"]";
    check(&listener(raw), (5, 13), &["speaks no WebSocket"]);
}

/// AU-TKT-02: not refused, since a proxy that says nothing may speak TLS in front of it.
#[test]
fn tickets_on_a_plain_public_listener_are_warned_of() {
    let warns = |address: &str, more: &str, way: &str| {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users.toml");
        let ticket = "$sha256$ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";
        let text = format!("[[user]]\nauthid = \"joe\"\nrole = \"r\"\nticket = \"{ticket}\"\n");
        fs::write(&users, text).unwrap();
        let text = format!(
            "[[listener]]\nlisten = \"{address}\"\n{more}\n[[realm]]\nname = \"a\"\n\
             [[realm.authenticator]]\nmethod = \"ticket\"\nreadable_by_others = true\n\
             users = \"{}\"\n{way}\n",
            users.display()
        );
        let warnings = read(&text).warnings();
        warnings.iter().any(|warning| matches!(warning, Warning::PlainTickets { .. }))
    };
    assert!(warns("0.0.0.0:1", "", ""));
    assert!(!warns("127.0.0.1:1", "", ""));
    assert!(!warns("0.0.0.0:1", "", "only_over_tls = true"));
    let proxy = "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.7\"]";
    assert!(!warns("0.0.0.0:1", proxy, ""), "it may say so");
}

#[test]
fn rates_of_a_role_belong_together() {
    let role = |keys: &str| {
        format!(
            "[[realm]]\nname = \"a\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n\
             [[realm.role]]\nname = \"anonymous\"\n{keys}\n[[realm.role.permission]]\nuri = \"\"\n\
             match = \"prefix\"\nallow = [\"call\"]\n"
        )
    };
    let keys = "messages_per_second = 10\nmessages_burst = 20\nover_rate = \"end\"";
    let rates = read(&role(keys)).realms[0].access.roles()[0].rates().unwrap();
    assert_eq!((rates.messages, rates.bytes), (Rate::new(10, 20), None));
    assert_eq!(rates.over, OverRate::End);
    let whole =
        read(&role("bytes_per_second = 40960")).realms[0].access.roles()[0].rates().unwrap();
    assert_eq!(whole.bytes, Rate::new(40_960, 40_960));
    check(&role("bytes_burst = 5"), (7, 15), &["bytes_per_second = ..."]);
    check(&role("messages_burst = 5"), (7, 18), &["messages_per_second = ..."]);
    check(&role("over_rate = \"end\""), (7, 13), &["this role has no rate"]);
    check(&role("over_rate = \"ends\""), (7, 13), &["did you mean `end`?"]);
    check(&role("bytes_per_second = 17000"), (7, 20), &["more than a minute", "17477 or more"]);
}

#[test]
fn who_believes_everybody_is_warned() {
    let everybody = |address: &str, network: &str| {
        let text = format!(
            "[[listener]]\nlisten = \"{address}\"\nproxy_protocol = true\n\
             trusted_proxies = [\"{network}\"]\n"
        );
        let warnings = read(&text).warnings();
        warnings.iter().any(|warning| matches!(warning, Warning::EverybodyIsProxy(_)))
    };
    assert!(everybody("0.0.0.0:1", "0.0.0.0/0") && everybody("[::]:1", "::/0"));
    assert!(!everybody("127.0.0.1:1", "0.0.0.0/0") && !everybody("0.0.0.0:1", "10.0.0.0/8"));
}
