//! Section 6: text is UTF-8, and what is not is refused with 1007.
//!
//! The sequences of 6.5 and later are those of Markus Kuhn's "UTF-8 decoder capability and stress
//! test", in the suite's order.

use super::{
    CLOSE, Cut, Frame, LAST, MORE, TEXT, close, ends_well, fragments, frame, is_failed, send_to,
    text,
};
use crate::echo::{Echo, Heard};
use crate::harness::masked;

/// Valid up to the 12th byte; a surrogate stands there.
pub(super) const INVALID: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";

/// Valid up to the 12th byte; what begins there is over U+10FFFF, which the 13th shows.
const BEYOND: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited";

#[test]
fn section_6_1_empty_messages() {
    ends_well("6.1.1", true, &[frame(TEXT, b"")], Cut::Whole, &[text(b"")]);
    let empty = [frame(TEXT & 15, b""), frame(MORE, b""), frame(LAST, b"")];
    ends_well("6.1.2", true, &empty, Cut::Whole, &[text(b"")]);
    let middle = [frame(TEXT & 15, b""), frame(MORE, b"middle frame payload"), frame(LAST, b"")];
    ends_well("6.1.3", true, &middle, Cut::Whole, &[text(b"middle frame payload")]);
}

#[test]
fn section_6_2_valid_text() {
    let hello = "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!".as_bytes();
    let (start, end) = hello.split_at("Hello-\u{b5}@\u{df}\u{f6}\u{e4}".len());
    ends_well("6.2.1", true, &[frame(TEXT, hello)], Cut::Whole, &[text(hello)]);
    let halves = [frame(TEXT & 15, start), frame(LAST, end)];
    ends_well("6.2.2", true, &halves, Cut::Whole, &[text(hello)]);
    ends_well("6.2.3", true, &fragments(TEXT, hello, 1), Cut::Whole, &[text(hello)]);
    let greek = &INVALID[..11];
    ends_well("6.2.4", true, &fragments(TEXT, greek, 1), Cut::Whole, &[text(greek)]);
}

#[test]
fn section_6_3_invalid_text() {
    is_failed("6.3.1", true, &[frame(TEXT, INVALID)], Cut::Whole, &[], 1007);
    is_failed("6.3.2", true, &fragments(TEXT, INVALID, 1), Cut::Whole, &[], 1007);
}

/// What can never become valid is refused with the fragment that shows it, without waiting for
/// the rest of the message.
#[test]
fn section_6_4_fail_fast_by_fragments() {
    for (case, cuts) in [("6.4.1", [11, 15]), ("6.4.2", [12, 13])] {
        let mut echo = Echo::new(true);
        let parts: [Frame; 2] =
            [frame(TEXT & 15, &BEYOND[..cuts[0]]), frame(MORE, &BEYOND[cuts[0]..cuts[1]])];
        assert_eq!(send_to(&mut echo, &parts[..1], Cut::Whole), [], "case {case}, A");
        let heard = send_to(&mut echo, &parts[1..], Cut::Whole);
        assert_eq!(heard, [Heard::Close(1007)], "case {case}, B");
    }
}

/// Within one frame it is refused when the frame is whole: the suite calls that "NON-STRICT".
#[test]
fn section_6_4_fail_at_the_end_of_a_frame() {
    for (case, cuts) in [("6.4.3", [11, 15]), ("6.4.4", [12, 13])] {
        let mut echo = Echo::new(true);
        let bytes = masked(TEXT, BEYOND);
        let header = bytes.len() - BEYOND.len();
        let parts = [0, header + cuts[0], header + cuts[1], bytes.len()];
        let mut heard = parts.windows(2).map(|ends| {
            echo.receive(&bytes[ends[0]..ends[1]]);
            echo.heard()
        });
        assert_eq!(heard.next(), Some(vec![]), "case {case}, A");
        assert_eq!(heard.next(), Some(vec![]), "case {case}, B");
        assert_eq!(heard.next(), Some(vec![Heard::Close(1007)]), "case {case}, the end");
    }
}

#[test]
fn sections_6_5_to_6_23_sequences() {
    let mut sections: Vec<Vec<(bool, Vec<u8>)>> = Vec::new();
    for (is_valid, sequences) in SEQUENCES {
        sections.push(sequences.iter().map(|bytes| (*is_valid, bytes.to_vec())).collect());
    }
    let greek = &INVALID[..11];
    let prefix = |end: usize| (str::from_utf8(&greek[..end]).is_ok(), greek[..end].to_vec());
    sections[1] = (1..=greek.len()).map(prefix).collect();
    sections[6].push((false, b"\xf4\x90\x80\x80".to_vec()));
    sections[7].push((false, (0x80..0xBF).collect()));
    let lonely = [0xC0..0xDF, 0xE0..0xEF, 0xF0..0xF7, 0xF8..0xFB, 0xFC..0xFD];
    sections[8].extend(
        lonely.map(|range| (false, range.flat_map(|byte: u8| [byte, b' ']).collect::<Vec<u8>>())),
    );
    let incomplete = sections[9].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    sections[10].push((false, incomplete));
    sections[17].extend(non_characters().map(|letter| (true, letter.to_string().into_bytes())));
    assert_eq!((sections.len(), sections.iter().map(Vec::len).sum::<usize>()), (19, 132));
    for (section, sequences) in sections.iter().enumerate() {
        for (number, (is_valid, bytes)) in sequences.iter().enumerate() {
            let case = format!("6.{}.{}", section + 5, number + 1);
            let frames = [frame(TEXT, bytes)];
            if *is_valid {
                ends_well(&case, true, &frames, Cut::Whole, &[text(bytes)]);
            } else {
                is_failed(&case, true, &frames, Cut::Whole, &[], 1007);
            }
        }
    }
}

/// The reason of a close is text, too.
#[test]
fn the_reason_of_a_close_is_judged_alike() {
    for (is_valid, sequences) in SEQUENCES {
        for bytes in *sequences {
            let code = if *is_valid { 1000 } else { 1007 };
            let frames = [frame(CLOSE, &close(1000, bytes))];
            is_failed("of a reason", true, &frames, Cut::Whole, &[], code);
        }
    }
}

/// The last two code points of each plane but the first.
fn non_characters() -> impl Iterator<Item = char> {
    (1..=16u32).flat_map(|plane| {
        [0xFFFE, 0xFFFF].map(|low| char::from_u32(plane << 16 | low).expect("a code point"))
    })
}

/// By section, from 6.5 on; what is written down shorter is put in where it is used.
const SEQUENCES: &[(bool, &[&[u8]])] = &[
    (
        true,
        &[
            b"hello$world",
            b"hello\xc2\xa2world",
            b"hello\xe2\x82\xacworld",
            b"hello\xf0\xa4\xad\xa2world",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        ],
    ),
    (true, &[]),
    (true, &[b"\0", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]),
    (false, &[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
    (true, &[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"]),
    (false, &[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]),
    (true, &[b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf"]),
    (
        false,
        &[
            b"\x80",
            b"\xbf",
            b"\x80\xbf",
            b"\x80\xbf\x80",
            b"\x80\xbf\x80\xbf",
            b"\x80\xbf\x80\xbf\x80",
            b"\x80\xbf\x80\xbf\x80\xbf",
        ],
    ),
    (false, &[]),
    (
        false,
        &[
            b"\xc0",
            b"\xe0\x80",
            b"\xf0\x80\x80",
            b"\xf8\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80",
            b"\xdf",
            b"\xef\xbf",
            b"\xf7\xbf\xbf",
            b"\xfb\xbf\xbf\xbf",
            b"\xfd\xbf\xbf\xbf\xbf",
        ],
    ),
    (false, &[]),
    (false, &[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
    (
        false,
        &[
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xf8\x80\x80\x80\xaf",
            b"\xfc\x80\x80\x80\x80\xaf",
        ],
    ),
    (
        false,
        &[
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf8\x87\xbf\xbf\xbf",
            b"\xfc\x83\xbf\xbf\xbf\xbf",
        ],
    ),
    (
        false,
        &[
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xf0\x80\x80\x80",
            b"\xf8\x80\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80\x80",
        ],
    ),
    (
        false,
        &[
            b"\xed\xa0\x80",
            b"\xed\xad\xbf",
            b"\xed\xae\x80",
            b"\xed\xaf\xbf",
            b"\xed\xb0\x80",
            b"\xed\xbe\x80",
            b"\xed\xbf\xbf",
        ],
    ),
    (
        false,
        &[
            b"\xed\xa0\x80\xed\xb0\x80",
            b"\xed\xa0\x80\xed\xbf\xbf",
            b"\xed\xad\xbf\xed\xb0\x80",
            b"\xed\xad\xbf\xed\xbf\xbf",
            b"\xed\xae\x80\xed\xb0\x80",
            b"\xed\xae\x80\xed\xbf\xbf",
            b"\xed\xaf\xbf\xed\xb0\x80",
            b"\xed\xaf\xbf\xed\xbf\xbf",
        ],
    ),
    (true, &[b"\xef\xbf\xbe", b"\xef\xbf\xbf"]),
    (
        true,
        &[
            b"\xef\xbf\xb9",
            b"\xef\xbf\xba",
            b"\xef\xbf\xbb",
            b"\xef\xbf\xbc",
            b"\xef\xbf\xbd",
            b"\xef\xbf\xbe",
            b"\xef\xbf\xbf",
        ],
    ),
];
