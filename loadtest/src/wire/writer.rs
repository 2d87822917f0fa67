//! Writes the few kinds of value that a load generator sends, in any of the three serializers.

use super::Serializer;

/// Appends to `out`. The caller keeps counts right: `array(n)` is followed by `n` items and
/// `end_array`, `map(n)` by `n` pairs of `text` and value and `end_map`.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    serializer: Serializer,
    /// JSON only: what must be written before the next item.
    before: Before,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Comma,
    Colon,
}

impl<'a> Writer<'a> {
    pub fn new(serializer: Serializer, out: &'a mut Vec<u8>) -> Self {
        Self { out, serializer, before: Before::Nothing }
    }

    pub fn array(&mut self, length: u8) -> &mut Self {
        self.open(b'[', 0x90, 0x80, length)
    }

    pub fn end_array(&mut self) -> &mut Self {
        self.close(b']')
    }

    pub fn map(&mut self, length: u8) -> &mut Self {
        self.open(b'{', 0x80, 0xa0, length)
    }

    pub fn end_map(&mut self) -> &mut Self {
        self.close(b'}')
    }

    pub fn uint(&mut self, value: u64) -> &mut Self {
        match self.serializer {
            Serializer::Json => {
                self.separate();
                self.out.extend_from_slice(value.to_string().as_bytes());
            }
            Serializer::MessagePack => match value {
                0..0x80 => self.out.push(value as u8),
                0x80..0x100 => self.out.extend_from_slice(&[0xcc, value as u8]),
                0x100..0x1_0000 => self.tagged(0xcd, &(value as u16).to_be_bytes()),
                0x1_0000..0x1_0000_0000 => self.tagged(0xce, &(value as u32).to_be_bytes()),
                _ => self.tagged(0xcf, &value.to_be_bytes()),
            },
            Serializer::Cbor => self.cbor_head(0x00, value),
        }
        self
    }

    /// A string, or the key of a map's next pair. Only printable ASCII without quotes is sent.
    pub fn text(&mut self, value: &[u8]) -> &mut Self {
        debug_assert!(value.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'"'));
        match self.serializer {
            Serializer::Json => {
                self.separate();
                self.out.push(b'"');
                self.out.extend_from_slice(value);
                self.out.push(b'"');
                return self;
            }
            Serializer::MessagePack => match value.len() {
                short @ 0..32 => self.out.push(0xa0 | short as u8),
                medium @ 32..256 => self.out.extend_from_slice(&[0xd9, medium as u8]),
                long @ 256..65536 => self.tagged(0xda, &(long as u16).to_be_bytes()),
                huge => self.tagged(0xdb, &(huge as u32).to_be_bytes()),
            },
            Serializer::Cbor => self.cbor_head(0x60, value.len() as u64),
        }
        self.out.extend_from_slice(value);
        self
    }

    pub fn key(&mut self, value: &str) -> &mut Self {
        self.text(value.as_bytes());
        self.before = Before::Colon;
        self
    }

    pub fn truth(&mut self) -> &mut Self {
        self.separate();
        match self.serializer {
            Serializer::Json => self.out.extend_from_slice(b"true"),
            Serializer::MessagePack => self.out.push(0xc3),
            Serializer::Cbor => self.out.push(0xf5),
        }
        self
    }

    pub fn empty_map(&mut self) -> &mut Self {
        self.map(0).end_map()
    }

    fn open(&mut self, json: u8, msgpack: u8, cbor: u8, length: u8) -> &mut Self {
        debug_assert!(length < 16, "longer collections are never sent");
        self.separate();
        self.before = Before::Nothing;
        self.out.push(match self.serializer {
            Serializer::Json => json,
            Serializer::MessagePack => msgpack | length,
            Serializer::Cbor => cbor | length,
        });
        self
    }

    fn close(&mut self, json: u8) -> &mut Self {
        if self.serializer == Serializer::Json {
            self.out.push(json);
            self.before = Before::Comma;
        }
        self
    }

    fn separate(&mut self) {
        if self.serializer == Serializer::Json {
            match self.before {
                Before::Nothing => {}
                Before::Comma => self.out.push(b','),
                Before::Colon => self.out.push(b':'),
            }
            self.before = Before::Comma;
        }
    }

    fn tagged(&mut self, tag: u8, rest: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(rest);
    }

    fn cbor_head(&mut self, major: u8, value: u64) {
        match value {
            0..24 => self.out.push(major | value as u8),
            24..0x100 => self.out.extend_from_slice(&[major | 24, value as u8]),
            0x100..0x1_0000 => self.tagged(major | 25, &(value as u16).to_be_bytes()),
            0x1_0000..0x1_0000_0000 => self.tagged(major | 26, &(value as u32).to_be_bytes()),
            _ => self.tagged(major | 27, &value.to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(serializer: Serializer) -> Vec<u8> {
        let mut out = Vec::new();
        Writer::new(serializer, &mut out)
            .array(5)
            .uint(16)
            .uint(300)
            .map(1)
            .key("acknowledge")
            .truth()
            .end_map()
            .text(b"a.b")
            .array(1)
            .text(b"x")
            .end_array()
            .end_array();
        out
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(publish(Serializer::Json), br#"[16,300,{"acknowledge":true},"a.b",["x"]]"#);
        let msgpack = b"\x95\x10\xcd\x01\x2c\x81\xabacknowledge\xc3\xa3a.b\x91\xa1x";
        assert_eq!(publish(Serializer::MessagePack), msgpack);
        let cbor = b"\x85\x10\x19\x01\x2c\xa1\x6backnowledge\xf5\x63a.b\x81\x61x";
        assert_eq!(publish(Serializer::Cbor), cbor);
    }

    #[test]
    fn integers_of_every_width() {
        for value in [0, 23, 24, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, (1 << 53) - 1] {
            for serializer in Serializer::ALL {
                let mut out = Vec::new();
                Writer::new(serializer, &mut out).array(1).uint(value).end_array();
                let head = super::super::reader::head(serializer, &out);
                assert_eq!(head.map(|head| head.code), Some(value), "{serializer:?}");
            }
        }
    }

    #[test]
    fn long_strings_carry_their_length() {
        for length in [31usize, 32, 255, 256, 70_000] {
            let value = vec![b'x'; length];
            let (mut msgpack, mut cbor) = (Vec::new(), Vec::new());
            Writer::new(Serializer::MessagePack, &mut msgpack).text(&value);
            Writer::new(Serializer::Cbor, &mut cbor).text(&value);
            assert!(rmp_serde::from_slice::<String>(&msgpack).unwrap().len() == length);
            assert!(ciborium::from_reader::<String, _>(&cbor[..]).unwrap().len() == length);
        }
    }
}
