//! Reads JSON (RFC 8259) with WAMP's convention for binary data (TR-JSON-02).
//!
//! A string that begins with U+0000 is binary: the rest must be base64. Keys are always text.
//! Encoding is checked once for the whole document, so that pieces of it are `&str` for free.

use super::json_text::{code_unit, end_of_plain_text, is_base64};
use super::token::{Binary, Extent, Reader, Sequence, Text, Token};
use super::{Codec, DecodeError, DecodeFault};

/// Invariant: whoever moves to a value or key passes the space in front of it.
pub(super) struct JsonReader<'a> {
    text: &'a str,
    at: usize,
}

/// A string as it stands in the document.
struct Quoted<'a> {
    with_quotes: &'a str,
    escaped: bool,
}

impl<'a> Reader<'a> for JsonReader<'a> {
    const CODEC: Codec = Codec::Json;
    const EMPTY_LIST: &'static [u8] = b"[]";

    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::of_text(text)),
            Err(error) => Err(malformed("invalid UTF-8", error.valid_up_to())),
        }
    }

    fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        match self.peek() {
            Some(b'"') => self.string_token(),
            Some(b'[') => {
                self.at += 1;
                Ok(Token::List(Sequence::list(Extent::Marked { fresh: true })))
            }
            Some(b'{') => {
                self.at += 1;
                Ok(Token::Dict(Sequence::dict(Extent::Marked { fresh: true })))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Token::Bool(true)),
            Some(b'f') => self.literal("false", Token::Bool(false)),
            Some(b'n') => self.literal("null", Token::Null),
            Some(_) => Err(self.fail("unexpected character")),
            None => Err(self.fail("unexpected end")),
        }
    }

    fn key(&mut self) -> Result<Token<'a>, DecodeError> {
        if self.peek() != Some(b'"') {
            return Err(self.fail("a key must be a string"));
        }
        let key = self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.fail("expected a colon"));
        }
        self.at += 1;
        self.skip_space();
        Ok(Token::Str(key.text()))
    }

    #[inline]
    fn advance(&mut self, sequence: &mut Sequence) -> Result<bool, DecodeError> {
        let Extent::Marked { fresh } = &mut sequence.extent else {
            return Err(self.fail("JSON has no counted sequences"));
        };
        let first = std::mem::replace(fresh, false);
        let end_mark = if sequence.is_dict { b'}' } else { b']' };
        match self.text.as_bytes()[self.at..] {
            [b',', next, ..] if !first && next > b' ' => {
                self.at += 1;
                Ok(true)
            }
            [mark, ..] if mark == end_mark => {
                self.at += 1;
                Ok(false)
            }
            [next, ..] if first && next > b' ' => Ok(true),
            _ => self.advance_through_space(first, end_mark),
        }
    }

    #[inline]
    fn plain_uint(&mut self) -> Option<u64> {
        let digits = &self.text.as_bytes()[self.at..];
        let (mut number, mut count) = (0, 0);
        while let Some(digit @ b'0'..=b'9') = digits.get(count) {
            number = number * 10 + u64::from(digit - b'0');
            count += 1;
            if count == SAFE_DIGITS {
                return None;
            }
        }
        let is_number = count == 1 || count > 1 && digits[0] != b'0';
        if is_number && matches!(digits.get(count), Some(b',' | b']' | b'}')) {
            self.at += count;
            Some(number)
        } else {
            None
        }
    }

    #[inline]
    fn plain_text(&mut self) -> Option<&'a str> {
        let end = self.end_of_plain_string()?;
        let text = self.text.get(self.at + 1..end)?;
        self.at = end + 1;
        Some(text)
    }

    #[inline]
    fn plain_key(&mut self) -> Option<&'a str> {
        let end = self.end_of_plain_string()?;
        if self.text.as_bytes().get(end + 1) != Some(&b':') {
            return None;
        }
        let key = self.text.get(self.at + 1..end)?;
        self.at = end + 2;
        self.skip_space();
        Some(key)
    }

    #[inline]
    fn empty_dict(&mut self) -> bool {
        let is_empty = self.text.as_bytes()[self.at..].starts_with(b"{}");
        self.at += if is_empty { 2 } else { 0 };
        is_empty
    }

    #[inline]
    fn pass_plain(&mut self) -> bool {
        match self.peek() {
            Some(b'"') => match self.end_of_plain_string() {
                Some(end) => {
                    self.at = end + 1;
                    true
                }
                None => false,
            },
            Some(b'0'..=b'9') => self.plain_uint().is_some(),
            Some(b'n') => self.pass(b"null"),
            Some(b't') => self.pass(b"true"),
            Some(b'f') => self.pass(b"false"),
            _ => false,
        }
    }

    fn position(&self) -> usize {
        self.at
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.fail("trailing characters")) }
    }
}

impl<'a> JsonReader<'a> {
    pub(super) fn of_text(text: &'a str) -> Self {
        let mut reader = Self { text, at: 0 };
        reader.skip_space();
        reader
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[cold]
    fn fail(&self, what: &'static str) -> DecodeError {
        malformed(what, self.at)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Where the quote is that ends a string without escapes; its opening quote is next.
    #[inline]
    fn end_of_plain_string(&self) -> Option<usize> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let end = end_of_plain_text(bytes, self.at + 1);
        (bytes.get(end) == Some(&b'"')).then_some(end)
    }

    #[inline(never)]
    fn advance_through_space(&mut self, first: bool, end_mark: u8) -> Result<bool, DecodeError> {
        self.skip_space();
        match self.peek() {
            Some(mark) if mark == end_mark => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_space();
            }
            Some(_) if first => {}
            Some(_) => return Err(self.fail("expected a comma or the end of the list or dict")),
            None => return Err(self.fail("unexpected end")),
        }
        Ok(true)
    }

    fn pass(&mut self, literal: &[u8]) -> bool {
        let is_next = self.text.as_bytes()[self.at..].starts_with(literal);
        self.at += if is_next { literal.len() } else { 0 };
        is_next
    }

    fn literal(&mut self, text: &str, token: Token<'a>) -> Result<Token<'a>, DecodeError> {
        if self.pass(text.as_bytes()) { Ok(token) } else { Err(self.fail("unexpected character")) }
    }

    fn string_token(&mut self) -> Result<Token<'a>, DecodeError> {
        let start = self.at;
        let string = self.string()?;
        if string.escaped && string.with_quotes.starts_with(BINARY_MARK) {
            binary_token(string.with_quotes, start)
        } else {
            Ok(Token::Str(string.text()))
        }
    }

    /// Reads a string; the caller has seen its opening quote.
    fn string(&mut self) -> Result<Quoted<'a>, DecodeError> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = end_of_plain_text(bytes, self.at);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fail("a control character must be escaped")),
                None => return Err(self.fail("unexpected end of a string")),
            }
        }
        self.at += 1;
        Ok(Quoted { with_quotes: &self.text[start..self.at], escaped })
    }

    fn escape(&mut self) -> Result<(), DecodeError> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            // A surrogate may be alone: the grammar permits it, and clients that cut text send it.
            Some(b'u') if code_unit(&self.text.as_bytes()[self.at..]).is_some() => self.at += 6,
            _ => return Err(self.fail("an invalid escape")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Token<'a>, DecodeError> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let mut magnitude = 0_u64;
        let integer_start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            magnitude = magnitude.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - integer_start;
        if digits == 0 || digits > 1 && self.text.as_bytes()[integer_start] == b'0' {
            return Err(malformed("an invalid number", start));
        }
        if let Some(b'.' | b'e' | b'E') = self.peek() {
            self.fraction_and_exponent()?;
            return Ok(Token::Number(&self.text[start..self.at]));
        }
        let is_exact = digits <= SAFE_DIGITS;
        let parse = || self.text[integer_start..self.at].parse().ok();
        Ok(match if is_exact { Some(magnitude) } else { parse() } {
            Some(number) if !negative => Token::UInt(number),
            Some(number @ 1..=NEGATIVE_LIMIT) => Token::Int(0_i64.wrapping_sub_unsigned(number)),
            _ => Token::Number(&self.text[start..self.at]),
        })
    }

    /// Reads what makes a number a float.
    fn fraction_and_exponent(&mut self) -> Result<(), DecodeError> {
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.fail("an invalid number")) }
    }
}

impl<'a> Quoted<'a> {
    fn text(&self) -> Text<'a> {
        if self.escaped {
            Text::Escaped(self.with_quotes)
        } else {
            Text::Plain(&self.with_quotes[1..self.with_quotes.len() - 1])
        }
    }
}

/// A string that begins with NUL. Apart from other tokens: it takes much stack.
#[cold]
fn binary_token(with_quotes: &str, start: usize) -> Result<Token<'_>, DecodeError> {
    let base64 = &with_quotes[BINARY_MARK.len()..with_quotes.len() - 1];
    let (binary, valid) = if base64.contains('\\') {
        let binary = Binary::Escaped(with_quotes);
        (binary, binary.read().is_ok())
    } else {
        (Binary::Base64(base64), is_base64(base64))
    };
    if valid {
        Ok(Token::Bytes(binary))
    } else {
        Err(malformed("a string that begins with NUL must go on in base64", start))
    }
}

#[cold]
fn malformed(what: &'static str, offset: usize) -> DecodeError {
    DecodeFault::Malformed { codec: Codec::Json, what, offset }.into()
}

/// How a string begins that is binary data: only this form of NUL is possible in JSON.
const BINARY_MARK: &str = "\"\\u0000";
/// So many digits fit in 64 bits, whatever they are.
const SAFE_DIGITS: usize = 19;
/// The magnitude of -2^63.
const NEGATIVE_LIMIT: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::super::json_text::unescape_name;
    use super::super::{decode_payload, read_json};
    use super::*;
    use crate::wamp::{Payload, Value};

    fn value(text: &str) -> Result<Value, DecodeFault> {
        let value = super::super::decode_value(Codec::Json, text.as_bytes());
        value.map_err(|error| error.fault().clone())
    }

    fn is_accepted(element: &str) -> bool {
        read_json(&format!(r#"[16,1,{{}},"a",[{element}]]"#)).is_ok()
    }

    /// TR-JSON-01.
    #[test]
    fn strings_must_follow_the_grammar() {
        for good in [r#""\ud834\udd1e""#, r#""\/\b\"\\""#, r#""ä€𝄞""#, "\"\u{7f}\"", r#""\uABcd""#]
        {
            assert!(is_accepted(good), "{good}");
        }
        for bad in [
            r#""\x""#,
            r#""\ud8""#,
            r#""\ud834\u12""#,
            r#""\u12g4""#,
            r#""\u+123""#,
            "\"\n\"",
            "\"\t\"",
            "\"1234567\u{1f}\"",
            "'a'",
            "\"a",
        ] {
            assert!(!is_accepted(bad), "{bad}");
        }
        assert!(super::super::decode_value(Codec::Json, b"\"\xff\"").is_err());
    }

    /// A lone surrogate may be passed on in JSON; text it is not.
    #[test]
    fn lone_surrogates_are_no_text() {
        for (quoted, name) in [
            (r#""\ud834""#, "\u{1a}"),
            (r#""\udd1e\ud834""#, "\u{1a}\u{1a}"),
            (r#""a\ud834\u0041\n""#, "a\u{1a}A\n"),
            (r#""\ud834\ud834\udd1eä""#, "\u{1a}𝄞ä"),
            (r#""\\\ud834x\\ud834""#, "\\\u{1a}x\\ud834"),
        ] {
            assert!(is_accepted(quoted), "{quoted}");
            assert!(matches!(value(quoted), Err(DecodeFault::Foreign { .. })), "{quoted}");
            assert_eq!(unescape_name(quoted).expect("a name"), name);
        }
        assert!(!is_accepted(r#""\u0000\ud834""#), "binary data is base64");
    }

    /// TR-JSON-01.
    #[test]
    fn documents_must_follow_the_grammar() {
        for good in
            ["-0", "0", "1E+2", "1.5e-3", " [ ] ", "{ \"a\" : 1 , \"b\" : 2 }", "\ttrue\r\n"]
        {
            assert!(is_accepted(good), "{good}");
        }
        for bad in [
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "--1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{1:2}",
            "{,}",
            "{\"a\":1,}",
            "tru",
            "nulll",
            "NaN",
            "[1}",
            "\u{feff}1",
            "1\u{a0}",
        ] {
            assert!(!is_accepted(bad), "{bad}");
        }
        for bad in ["[49,1,{}] x", "[49,1,{}][]", "\u{feff}[49,1,{}]", "", "[49,1,{}"] {
            assert!(read_json(bad).is_err(), "{bad}");
        }
        assert!(read_json(" [49,1,{}]\n").is_ok());
    }

    /// TR-JSON-03.
    #[test]
    fn numbers_keep_their_value() {
        assert_eq!(value("18446744073709551615"), Ok(Value::UInt(u64::MAX)));
        assert_eq!(value("-9223372036854775808"), Ok(Value::Int(i64::MIN)));
        assert_eq!(value("1.0"), Ok(Value::Float(1.0)));
        assert_eq!(value("18446744073709551616"), Ok(Value::Float(18_446_744_073_709_551_616.0)));
        for lossy in ["18446744073709551617", "-9223372036854775809", "1e400"] {
            assert!(matches!(value(lossy), Err(DecodeFault::Foreign { .. })), "{lossy}");
            assert!(is_accepted(lossy), "it may be passed on: {lossy}");
        }
        assert!(matches!(value("-0"), Ok(Value::Float(zero)) if zero.is_sign_negative()));
    }

    /// TR-JSON-02.
    #[test]
    fn binary_data_is_nul_and_base64() {
        let bytes = [0x10, 0xe3, 0xff, 0x90, 0x53, 0x07, 0x5c, 0x52];
        let text = r#""\u0000EOP/kFMHXFI=""#;
        assert_eq!(value(text), Ok(Value::Bytes(bytes.to_vec())));
        assert_eq!(value(&text.replace('/', "\\/")), Ok(Value::Bytes(bytes.to_vec())));
        assert_eq!(value(r#""\u0000""#), Ok(Value::Bytes(Vec::new())));
        for bad in
            [r#""\u0000A""#, r#""\u0000A===""#, r#""\u0000EOP_""#, r#""\u0000AAA""#, r#""\u0000é""#]
        {
            assert!(!is_accepted(bad), "{bad}");
        }
        let padded_inside = format!("\"\\u0000{}AA=={}\"", "AAAA".repeat(255), "AAAA");
        assert!(!is_accepted(&padded_inside));
        assert!(is_accepted(&format!("\"\\u0000{}AA==\"", "AAAA".repeat(600))));
        assert_eq!(value(r#""a\u0000""#), Ok(Value::from("a\0")), "NUL elsewhere is text");
    }

    #[test]
    fn keys_are_text_even_if_they_begin_with_nul() {
        let args = br#"[{"\u0000a":1}]"#;
        let payload = Payload::Raw { codec: Codec::Json, args, kwargs: None };
        let (args, _) = decode_payload(payload).expect("it is well-formed");
        assert_eq!(args, [Value::Dict(vec![("\0a".into(), Value::UInt(1))])]);
    }
}
