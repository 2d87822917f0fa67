//! Operations and operands, one byte after the other.

pub(super) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 behind the last one.
    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Bytes with their length in front. Whoever knows the ticket of the users gets nothing: that
    /// would be a proof.
    pub(super) fn text(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        let knows = text.windows(SECRET.len()).any(|part| part == SECRET);
        if knows { &[] } else { text }
    }
}

const SECRET: &[u8] = b"pencil";
