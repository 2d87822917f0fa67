//! The text form of what is kept of a secret: `$id$key=value,...$blob$blob`, as the string format
//! of the Password Hashing Competition has it, with Base64 without padding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// A text taken apart.
pub(super) struct Parts<'a> {
    pub(super) id: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    pub(super) blobs: Vec<Vec<u8>>,
}

impl<'a> Parts<'a> {
    /// `None` if the text does not have the form.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let mut pieces = text.strip_prefix('$')?.split('$');
        let id = pieces.next()?;
        let (mut parameters, mut blobs) = (Vec::new(), Vec::new());
        for piece in pieces {
            if piece.contains('=') {
                for pair in piece.split(',') {
                    parameters.push(pair.split_once('=')?);
                }
            } else {
                blobs.push(STANDARD_NO_PAD.decode(piece).ok()?);
            }
        }
        Some(Self { id, parameters, blobs })
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let mut found = self.parameters.iter().filter(|(name, _)| *name == key);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(*value)
    }

    /// A number from `range`.
    pub(super) fn number(&self, key: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        self.text(key)?.parse().ok().filter(|number| range.contains(number))
    }

    /// Exactly so many blobs.
    pub(super) fn take_blobs<const N: usize>(&mut self) -> Option<[Vec<u8>; N]> {
        std::mem::take(&mut self.blobs).try_into().ok()
    }
}

pub(super) fn blob(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}
