//! Reads the head of a WAMP message: its code and the ids that follow. The rest stays bytes, so a
//! subscriber's cost per event does not depend on the payload.

use memchr::memmem;

use super::Serializer;

/// The code of a message and up to two integers after it; an element that is not an integer ends
/// them, and missing ones are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub code: u64,
    pub ids: [u64; 2],
}

/// The head of `message`; `None` if it is no array that starts with an integer.
pub fn head(serializer: Serializer, message: &[u8]) -> Option<Head> {
    let mut reader = Reader { bytes: message, at: 0 };
    let next: fn(&mut Reader<'_>) -> Option<u64> = match serializer {
        Serializer::Json => {
            reader.skip_json(b'[')?;
            |reader| reader.json_uint()
        }
        Serializer::MessagePack => {
            match reader.byte()? {
                0x90..=0x9f => {}
                0xdc => reader.at += 2,
                0xdd => reader.at += 4,
                _ => return None,
            }
            |reader| reader.msgpack_uint()
        }
        Serializer::Cbor => {
            let mut first = reader.byte()?;
            if first == 0xd9 {
                reader.at += 2;
                first = reader.byte()?;
            }
            match first {
                0x80..=0x97 | 0x9f => {}
                0x98 => reader.at += 1,
                _ => return None,
            }
            |reader| reader.cbor_uint()
        }
    };
    let code = next(&mut reader)?;
    let first = next(&mut reader);
    let second = first.and_then(|_| next(&mut reader));
    Some(Head { code, ids: [first.unwrap_or(0), second.unwrap_or(0)] })
}

/// Whether what stands before `end` says `progress`, and not only `receive_progress`.
pub fn has_progress(message: &[u8], end: usize) -> bool {
    let before = message.get(..end).unwrap_or_default();
    memmem::find_iter(before, b"progress").any(|at| at > 0 && before[at - 1] != b'_')
}

/// The message as a person can read it, for error texts; at most 200 characters.
pub fn printable(message: &[u8]) -> String {
    let readable = |byte: &u8| {
        if (0x20..0x7f).contains(byte) { *byte as char } else { ' ' }
    };
    message.iter().take(200).map(readable).collect()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn big_endian(&mut self, width: usize) -> Option<u64> {
        let bytes = self.bytes.get(self.at..self.at + width)?;
        self.at += width;
        Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn skip_json(&mut self, wanted: u8) -> Option<()> {
        while matches!(self.bytes.get(self.at)?, b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        (self.byte()? == wanted).then_some(())
    }

    fn json_uint(&mut self) -> Option<u64> {
        while matches!(self.bytes.get(self.at)?, b' ' | b'\t' | b'\n' | b'\r' | b',') {
            self.at += 1;
        }
        let start = self.at;
        let mut value = 0u64;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        (self.at > start).then_some(value)
    }

    fn msgpack_uint(&mut self) -> Option<u64> {
        match self.byte()? {
            small @ 0..0x80 => Some(u64::from(small)),
            0xcc | 0xd0 => self.big_endian(1),
            0xcd | 0xd1 => self.big_endian(2),
            0xce | 0xd2 => self.big_endian(4),
            0xcf | 0xd3 => self.big_endian(8),
            _ => None,
        }
    }

    fn cbor_uint(&mut self) -> Option<u64> {
        match self.byte()? {
            small @ 0..24 => Some(u64::from(small)),
            0x18 => self.big_endian(1),
            0x19 => self.big_endian(2),
            0x1a => self.big_endian(4),
            0x1b => self.big_endian(8),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(serializer: Serializer, message: &[u8], expected: Option<(u64, [u64; 2])>) {
        let expected = expected.map(|(code, ids)| Head { code, ids });
        assert_eq!(head(serializer, message), expected, "{}", printable(message));
    }

    #[test]
    fn heads_in_three_serializers() {
        let event = Some((36, [5_512_315_355, 4_429_313_566]));
        let ids = (5_512_315_355u64.to_be_bytes(), 4_429_313_566u64.to_be_bytes());
        check(Serializer::Json, b"[36,5512315355,4429313566,{},[]]", event);
        check(Serializer::Json, b" [ 36 , 5512315355 ,\n4429313566, {}]", event);
        let msgpack = [b"\x95\x24\xcf".as_slice(), &ids.0, b"\xcf", &ids.1, b"\x80\x90"].concat();
        check(Serializer::MessagePack, &msgpack, event);
        let cbor = [b"\x85\x18\x24\x1b".as_slice(), &ids.0, b"\x1b", &ids.1, b"\xa0\x80"].concat();
        check(Serializer::Cbor, &cbor, event);
        let tagged = [b"\xd9\xd9\xf7\x9f\x18\x24\x1b".as_slice(), &ids.0, b"\x1b", &ids.1, b"\xff"];
        check(Serializer::Cbor, &tagged.concat(), event);
    }

    #[test]
    fn progress_is_told_from_what_only_sounds_like_it() {
        let check = |message: &[u8], expected| {
            assert_eq!(has_progress(message, message.len()), expected, "{}", printable(message));
        };
        check(br#"[50,7,{"progress":true},["#, true);
        check(br#"[68,7,1,{"receive_progress":true},["#, false);
        check(br#"[68,7,1,{"receive_progress":true,"progress":true},["#, true);
        check(b"\x94\x32\x07\x81\xa8progress\xc3\x91", true);
        check(b"\x94\x32\x07\x80\x91", false);
        assert!(!has_progress(br#"[50,7,{},["progress"]]"#, 8));
        assert!(!has_progress(b"", 5));
    }

    #[test]
    fn ids_end_at_the_first_other_element() {
        check(Serializer::Json, b"[50,7,{},[1]]", Some((50, [7, 0])));
        check(Serializer::Json, br#"[3,{},"wamp.error.no_such_realm"]"#, Some((3, [0, 0])));
        check(Serializer::MessagePack, b"\x93\x32\x07\x80", Some((50, [7, 0])));
        check(Serializer::Cbor, b"\x83\x03\xa0\x61x", Some((3, [0, 0])));
    }

    #[test]
    fn other_things_have_no_head() {
        for serializer in Serializer::ALL {
            check(serializer, b"", None);
            check(serializer, b"\"x\"", None);
        }
        check(Serializer::Json, b"[]", None);
    }
}
