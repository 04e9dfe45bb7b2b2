//! Bytes in memory where a protocol library expects a socket.

use std::io::{self, Read, Write};

/// Capacity that an emptied queue keeps; more is given back, since most connections are idle.
const IDLE_CAPACITY_BYTES: usize = 16 * 1024;

/// Bytes that enter at the back and leave at the front, always visible as one slice.
#[derive(Debug, Default)]
pub(super) struct ByteQueue {
    bytes: Vec<u8>,
    /// How many of `bytes` have left already.
    start: usize,
}

impl ByteQueue {
    /// What is queued.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// How many bytes are queued.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds bytes at the back.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Removes the first `n` bytes, or all if there are fewer.
    pub(super) fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            self.bytes.shrink_to(IDLE_CAPACITY_BYTES);
        } else if self.start > self.bytes.len() / 2 {
            // Each byte is moved at most once for each time that as many have left.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Removes everything and hands it out.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.start = 0;
        std::mem::take(&mut self.bytes)
    }
}

impl Write for ByteQueue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket for the length of one call: what came in can be read, and what is written is kept.
#[derive(Debug)]
pub(super) struct Pipe<'a> {
    /// What is still to be read. Once it is empty, reading would block.
    pub(super) input: &'a [u8],
    /// What was written. It takes everything.
    pub(super) output: Vec<u8>,
}

impl<'a> Pipe<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, output: Vec::new() }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_byte_queue_is_a_queue_of_bytes(
            steps in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..40), 0_usize..50),
                0..40,
            )
        ) {
            let mut queue = ByteQueue::default();
            let mut model = VecDeque::new();
            for (bytes, n) in steps {
                queue.push(&bytes);
                model.extend(bytes);
                queue.consume(n);
                model.drain(..n.min(model.len()));
                prop_assert_eq!(queue.as_slice(), &*model.make_contiguous());
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
            }
            prop_assert_eq!(queue.take(), Vec::from(model));
            prop_assert!(queue.is_empty());
        }
    }

    #[test]
    fn an_empty_pipe_would_block() {
        let mut pipe = Pipe::new(b"ab");
        let mut buffer = [0; 4];
        assert_eq!(pipe.read(&mut buffer).unwrap(), 2);
        assert_eq!(pipe.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
