//! What `[admin]` may say.

use crate::{check, read};

const TOKEN: &str = "$sha256$jV2KXXd0sQWqXcXhBDPkqQ5FYsxYzX1PuqlG4EFyfUg";
const TLS: &str = "[[admin.tls]]\ncertificate = \"a\"\nkey = \"b\"\n";

fn check_admin(lines: &str, position: (usize, usize), words: &[&str]) {
    check(&format!("{REALM}[admin]\n{lines}"), position, words);
}

const REALM: &str = "[[realm]]\nname = \"realm1\"\n";

#[test]
fn with_tls_and_a_token_others_may_reach_it() {
    let config =
        read(&format!("{REALM}[admin]\nlisten = \"0.0.0.0:9080\"\ntoken = \"{TOKEN}\"\n{TLS}"));
    assert!(config.admin.guards_reads());
    assert_eq!(config.admin.tls.len(), 1);
    let local = read(&format!("{REALM}[admin]\nlisten = \"127.0.0.1:9080\"\n{TLS}"));
    assert!(!local.admin.guards_reads());
    let socket = "listen = \"unix:/run/stentor/admin.sock\"\nunix_mode = \"0660\"\n";
    let socket = read(&format!("{REALM}[admin]\n{socket}"));
    assert_eq!(socket.admin.unix_mode, Some(0o660));
    let open = "can be reached from other machines: there it needs TLS and a token";
    let listen = "listen = \"0.0.0.0:9080\"\n";
    for lines in [listen, &format!("{listen}{TLS}"), &format!("{listen}token = \"{TOKEN}\"\n")] {
        check_admin(lines, (4, 10), &[open, "token_file"]);
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let (listen, token) = ("listen = \"127.0.0.1:9080\"\n", format!("token = \"{TOKEN}\"\n"));
    check_admin(&token, (4, 9), &["`token` is for changes on the admin listener"]);
    check_admin("token_file = \"x\"\n", (4, 14), &["`token_file` is for changes"]);
    let both = format!("{listen}{token}token_file = \"x\"\n");
    check_admin(&both, (6, 14), &["exclude each other"]);
    check_admin(&format!("{listen}token = \"pencil\"\n"), (5, 9), &["stentor keygen token"]);
    let chosen = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$\
                  CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let chosen = format!("{listen}token = \"{chosen}\"\n");
    check_admin(&chosen, (5, 9), &["hash of a password, which takes too long"]);
    check_admin(&format!("{listen}unix_mode = \"0600\"\n"), (5, 13), &["only a Unix socket"]);
    check_admin(&format!("listen = \"unix:/x\"\n{TLS}"), (5, 1), &["on a TCP address"]);
    let no_key = format!("{listen}[[admin.tls]]\ncertificate = \"a\"\n");
    check_admin(&no_key, (5, 1), &["has no `key`", "key = ..."]);
    let nothing = format!("{listen}[[admin.tls]]\nkye = \"a\"\ncertificate = \"a\"\nkey = \"b\"\n");
    check_admin(&nothing, (6, 1), &["unknown key `kye` in [[admin.tls]]", "did you mean `key`?"]);
}
