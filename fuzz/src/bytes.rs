//! How a target takes its bytes apart. Where they end, everything that would follow is absent.

/// What is left of a target's bytes.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(crate) fn word(&mut self) -> Option<u16> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*word))
    }

    /// As many bytes, or what is left.
    pub(crate) fn piece(&mut self, wanted: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// As many bytes as the next two say, or what is left.
    pub(crate) fn counted(&mut self) -> Option<&'a [u8]> {
        let wanted = self.word()?;
        Some(self.piece(wanted.into()))
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}
