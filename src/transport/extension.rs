//! The header `Sec-WebSocket-Extensions`: which offer of permessage-deflate is accepted
//! (RFC 6455, 9.1; RFC 7692, 5 and 7.1). Compresses nothing.

/// What the answer to an accepted offer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deflate {
    /// The client has asked for a window of 2^15 bytes by its number, so the answer has it too.
    names_window: bool,
}

impl Deflate {
    /// The first offer that can be accepted in the values of all headers; those that cannot, and
    /// what is not well-formed, are declined, which is no fault (7.1).
    pub(super) fn choose<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let text = values.filter_map(|value| str::from_utf8(value).ok());
        text.flat_map(|value| split(value, ',')).find_map(accept)
    }

    /// The value of the answer's header. No context is taken over, in either direction: what is
    /// sent can be shared, and an idle connection holds no window.
    pub(super) const fn answer(self) -> &'static str {
        if self.names_window {
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=15"
        } else {
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        }
    }
}

/// 7.1: an offer with an unknown parameter, one twice, or an invalid value is declined. So is a
/// window for our direction that is smaller than 2^15: what all receivers share has one size.
fn accept(offer: &str) -> Option<Deflate> {
    let mut parameters = split(offer, ';').map(str::trim_ascii);
    if !parameters.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut seen = [false; PARAMETERS.len()];
    for parameter in parameters {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_ascii(), Some(unquoted(value.trim_ascii())?)),
            None => (parameter, None),
        };
        let number = PARAMETERS.iter().position(|known| name.eq_ignore_ascii_case(known))?;
        if std::mem::replace(&mut seen[number], true) {
            return None;
        }
        match (PARAMETERS[number], value) {
            (SERVER_WINDOW, Some("15")) | (CLIENT_WINDOW, None) => {}
            (CLIENT_WINDOW, Some("8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")) => {}
            (SERVER_CONTEXT | CLIENT_CONTEXT, None) => {}
            _ => return None,
        }
    }
    Some(Deflate { names_window: seen[0] })
}

/// A value that may be a quoted string, which must be a token all the same (RFC 6455, 9.1).
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        None => Some(value),
        Some(rest) => rest.strip_suffix('"'),
    }
}

/// Cut at separators that are in no quoted string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
}

const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";
const SERVER_CONTEXT: &str = "server_no_context_takeover";
const CLIENT_CONTEXT: &str = "client_no_context_takeover";
const PARAMETERS: [&str; 4] = [SERVER_WINDOW, CLIENT_WINDOW, SERVER_CONTEXT, CLIENT_CONTEXT];

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(value: &str) -> Option<bool> {
        Deflate::choose([value.as_bytes()].into_iter()).map(|deflate| deflate.names_window)
    }

    #[test]
    fn what_browsers_and_libraries_offer() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_no_context_takeover; client_max_window_bits",
            "permessage-deflate;server_no_context_takeover;client_max_window_bits=12",
            "PerMessage-Deflate ; Client_Max_Window_Bits = \"9\"",
            "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=8",
        ] {
            assert_eq!(chosen(offer), Some(false), "{offer}");
        }
        assert_eq!(chosen("permessage-deflate; server_max_window_bits=15"), Some(true));
    }

    /// 7.1: what cannot be accepted is declined, and the next offer may be better.
    #[test]
    fn the_first_that_can_be_accepted() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate-x",
            "permessage-deflate; unknown",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=\"9",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; server_no_context_takeover=true",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            "permessage-deflate;",
            "permessage-deflate; client_max_window_bits=\"9, permessage-deflate",
        ] {
            assert_eq!(chosen(offer), None, "{offer}");
        }
        let both = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
        assert_eq!(chosen(both), Some(false));
        let values: [&[u8]; 3] = [b"\xff", b"x", b"permessage-deflate"];
        assert!(Deflate::choose(values.into_iter()).is_some());
    }
}
