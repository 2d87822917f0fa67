//! The texts of JSON: escapes, base64, and numbers that are floats. None of it knows a position.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Codec, DecodeError, DecodeFault};

/// The text of a checked string in its quotes. Refuses lone surrogates, which no text of another
/// serializer can hold.
pub(super) fn unescape(quoted: &str) -> Result<String, DecodeError> {
    let lone = DecodeFault::Foreign { what: "a string with a lone surrogate" };
    serde_json::from_str(quoted).map_err(|_| lone.into())
}

/// As [`unescape`], with [`SUBSTITUTE`] in place of each lone surrogate.
pub(super) fn unescape_name(quoted: &str) -> Result<String, DecodeError> {
    unescape(quoted).or_else(|_| unescape(&without_lone_surrogates(quoted)))
}

#[cold]
fn without_lone_surrogates(quoted: &str) -> String {
    let mut sound = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(start) = rest.find('\\') {
        let (plain, escape) = rest.split_at(start);
        sound.push_str(plain);
        let next = escape.as_bytes().get(6..).and_then(code_unit);
        let length = match (code_unit(escape.as_bytes()), next) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                sound.push_str(SUBSTITUTE);
                rest = &escape[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        let (escape, behind) = escape.split_at(length);
        sound.push_str(escape);
        rest = behind;
    }
    sound + rest
}

/// The number in the escape `\uXXXX` that `bytes` begin with.
pub(super) fn code_unit(bytes: &[u8]) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = bytes.first_chunk::<6>()? else { return None };
    digits
        .iter()
        .try_fold(0, |unit: u16, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    STANDARD.decode(text).map_err(|_| malformed("invalid base64"))
}

/// Writes a number so that it ends before `end`, and returns where it starts.
#[inline]
pub(super) fn put_decimal(text: &mut [u8], end: usize, mut number: u64) -> usize {
    let mut start = end;
    while number >= 10 {
        start -= 2;
        text[start..start + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if number > 0 || start == end {
        start -= 1;
        text[start] = b'0' + number as u8;
    }
    start
}

/// The digits of the numbers below 100.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// The float that a number stands for which is no integer of 64 bits. An integer beyond them must
/// be exactly a float, anything else the nearest one.
pub(super) fn parse_float(text: &str) -> Result<f64, DecodeError> {
    let number: f64 = text.parse().map_err(|_| malformed("an invalid number"))?;
    if !number.is_finite() {
        return Err(DecodeFault::Foreign { what: "a number beyond the range of floats" }.into());
    }
    let is_integer = !text.contains(['.', 'e', 'E']);
    if is_integer && text != "-0" && format!("{number:.0}") != text {
        return Err(DecodeFault::Foreign { what: "an integer beyond 64 bits" }.into());
    }
    Ok(number)
}

/// Whether nothing in it is a quote, a backslash or a control character.
#[inline]
pub(super) fn is_plain_text(bytes: &[u8]) -> bool {
    if bytes.len() < 8 || bytes.len() > 64 {
        return end_of_plain_text(bytes, 0) == bytes.len();
    }
    // The last word begins where it ends with the text, so nothing is left over.
    let last_start = bytes.len() - 8;
    let starts = (0..last_start).step_by(8).chain([last_start]);
    let mut words = starts.filter_map(|start| bytes[start..].first_chunk::<8>());
    words.all(|word| special_bytes(u64::from_le_bytes(*word)) == 0)
}

/// The first byte from `at` on that is a quote, a backslash or a control character.
pub(super) fn end_of_plain_text(bytes: &[u8], mut at: usize) -> usize {
    // Most strings end in their first word; what is longer is looked at in blocks.
    let mut is_first = true;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let found = special_bytes(u64::from_le_bytes(*word));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
        if is_first {
            is_first = false;
            at = end_of_plain_blocks(bytes, at);
        }
    }
    while let Some(byte) = bytes.get(at) {
        if is_special(*byte) {
            break;
        }
        at += 1;
    }
    at
}

/// Passes blocks without such a byte. There is no branch per byte, so that the compiler makes a few
/// instructions of each.
fn end_of_plain_blocks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<32>) {
        if block.iter().fold(false, |found, byte| found | is_special(*byte)) {
            break;
        }
        at += block.len();
    }
    at
}

/// Whether the byte ends plain text.
const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Sets the high bit of the lowest byte that ends plain text; bits above it mean nothing.
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_backslash = backslash.wrapping_sub(ONES) & !backslash;
    (below_space | is_quote | is_backslash) & HIGHS
}

/// Checks piece by piece, so that nothing is allocated for what is only passed on.
pub(super) fn is_base64(text: &str) -> bool {
    let mut scratch = [0; 768];
    let mut pieces = text.as_bytes().chunks(1024).peekable();
    while let Some(piece) = pieces.next() {
        let Ok(length) = STANDARD.decode_slice(piece, &mut scratch) else {
            return false;
        };
        // Padding may only end the last piece.
        if pieces.peek().is_some() && length < scratch.len() {
            return false;
        }
    }
    true
}

#[cold]
fn malformed(what: &'static str) -> DecodeError {
    DecodeFault::Malformed { codec: Codec::Json, what, offset: 0 }.into()
}

/// The escape of U+001A, which Unicode has for what was not text. No URI may hold it.
const SUBSTITUTE: &str = "\\u001a";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_they_should() {
        let powers = (0..20).flat_map(|power| {
            let number = 10_u64.pow(power);
            [number - 1, number, number + 1, number.saturating_mul(7)]
        });
        for number in powers.chain([u64::MAX]) {
            let mut text = [b'x'; 24];
            let start = put_decimal(&mut text, 22, number);
            let expected = format!("{}{number}xx", "x".repeat(start));
            assert_eq!(str::from_utf8(&text), Ok(expected.as_str()));
        }
    }

    #[test]
    fn plain_text_ends_where_it_does() {
        let specials = [b'"', b'\\', 0, 0x1f, b'\n'];
        for length in 0..100 {
            let mut text = b"ab \x7f\x80\xffz!#[]".repeat(9)[..length].to_vec();
            for start in 0..length {
                assert_eq!(end_of_plain_text(&text, start), length);
            }
            assert!(is_plain_text(&text));
            for at in 0..length {
                let before = std::mem::replace(&mut text[at], specials[at % specials.len()]);
                for start in 0..=at {
                    assert_eq!(end_of_plain_text(&text, start), at, "{length} from {start}");
                }
                assert!(!is_plain_text(&text), "{length} at {at}");
                text[at] = before;
            }
        }
    }
}
