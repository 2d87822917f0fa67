//! The target of an HTTP request: which path a client asks for (RFC 9112, 3.2).
//!
//! Decides nothing about the path; `TransportRules` says which ones are served.

use std::borrow::Cow;

/// The path that a request target asks for, in normal form; `None` if a GET may have no such
/// target.
///
/// Accepted are the origin-form, `/ws?token=1` (RFC 9112, 3.2.1), and the absolute-form with the
/// scheme `http` or `https` in any case and a host, `http://example.org:80/ws` (3.2.2), where no
/// path means `/`. The authority-form (`example.org:80`, only for CONNECT), the asterisk-form (`*`,
/// only for OPTIONS), other schemes, user names, fragments and broken percent-escapes are not.
///
/// The query is ignored. Case counts. Escapes of characters that need none are resolved, so
/// `/%77s` is `/ws`, and others are kept, so `/a%2fb` is `/a%2Fb` and not `/a/b` (RFC 3986, 6.2.2).
/// Dots and slashes are left alone: `/x/../ws` and `//ws` are not `/ws`.
pub fn path_of(target: &str) -> Option<Cow<'_, str>> {
    if target.contains('#') {
        return None;
    }
    let hierarchy = target.split('?').next().unwrap_or_default();
    if hierarchy.starts_with('/') {
        return normalized(hierarchy);
    }
    let (scheme, rest) = hierarchy.split_once("://")?;
    let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !is_http || !is_authority(authority.as_bytes()) {
        return None;
    }
    if path.is_empty() { Some("/".into()) } else { normalized(path) }
}

/// Whether a path, as [`path_of`] gives it, is `base` or below it, segment by segment.
pub fn is_below(path: &str, base: &str) -> bool {
    let rest = path.strip_prefix(base.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether it can name a host, with or without a port (RFC 9110, 4.2 and 7.2): no user name.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let colon = match text.first() {
        Some(b'[') => text.iter().rposition(|byte| *byte == b']').map(|end| end + 1),
        _ => text.iter().position(|byte| *byte == b':'),
    };
    let (host, port) = text.split_at(colon.unwrap_or(text.len()));
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_host = match host {
        [b'[', inside @ .., b']'] => {
            inside.iter().all(|b| b.is_ascii_alphanumeric() || b":.%-_~".contains(b))
        }
        _ => host.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(b)),
    };
    !host.is_empty() && is_host && is_port
}

/// A path with escapes only where they are needed, their digits in upper case; `None` if one is
/// broken or stands for no character.
fn normalized(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(path.into());
    }
    let mut pieces = path.split('%');
    let mut normal = pieces.next()?.to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            normal.push(char::from(byte));
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        normal.push_str(rest);
    }
    Some(normal.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9112, 3.2: each form, and what comes near one.
    #[test]
    fn every_form_of_a_target_has_its_path_or_none() {
        for (target, path) in [
            ("/ws", Some("/ws")),
            ("/ws?x=1", Some("/ws")),
            ("/ws?", Some("/ws")),
            ("/a?u=http://b/c", Some("/a")),
            ("/ws?x=a://b/ws", Some("/ws")),
            ("/WS", Some("/WS")),
            ("/ws/", Some("/ws/")),
            ("//host/ws", Some("//host/ws")),
            ("/x/../ws", Some("/x/../ws")),
            ("/x://y/ws", Some("/x://y/ws")),
            ("http://host/ws", Some("/ws")),
            ("HTTPS://Host:443/ws?x=a://b", Some("/ws")),
            ("http://[::1]:8080/ws", Some("/ws")),
            ("http://[::1]/ws", Some("/ws")),
            ("http://host", Some("/")),
            ("http://host?x=/ws", Some("/")),
            ("/%77s", Some("/ws")),
            ("/%7ews", Some("/~ws")),
            ("/a%2fb", Some("/a%2Fb")),
            ("/%25", Some("/%25")),
            ("http://host/%77%73", Some("/ws")),
            // Each of these was taken for `/ws`, or for a path of its own.
            ("/public://x/ws", Some("/public://x/ws")),
            ("public://x/ws", None),
            ("ws://host/ws", None),
            ("file:///ws", None),
            ("http:///ws", None),
            ("http://:80/ws", None),
            ("http://user@host/ws", None),
            ("http://host:port/ws", None),
            ("http://[::1/ws", None),
            ("http:/ws", None),
            ("host:80", None),
            ("host/ws", None),
            ("*", None),
            ("", None),
            ("?/ws", None),
            ("/ws#part", None),
            ("/%", None),
            ("/%7", None),
            ("/%zz", None),
            ("/%+7", None),
            ("/%é", None),
        ] {
            assert_eq!(path_of(target).as_deref(), path, "{target}");
        }
    }

    #[test]
    fn what_is_below_a_path_goes_by_segments() {
        for (path, base, expected) in [
            ("/", "/", true),
            ("/x/y", "/", true),
            ("/app", "/app", true),
            ("/app", "/app/", true),
            ("/app/", "/app", true),
            ("/app/x", "/app/", true),
            ("/apple", "/app", false),
            ("/ap", "/app", false),
            ("/App/x", "/app", false),
        ] {
            assert_eq!(is_below(path, base), expected, "{path} below {base}");
        }
    }

    #[test]
    fn hosts_have_no_user_and_ports_are_numbers() {
        for good in ["example.org", "a:80", "127.0.0.1:65535", "[::1]", "[::1]:80", "a:"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in ["", ":80", "a@b", "a:b", "a:123456", "[::1", "a b", "a/b", "[::1]x", "é"] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
