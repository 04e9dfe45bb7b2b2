//! Where a message body ends, and what is in it (RFC 9112, sections 6 and 7).

use super::super::StreamFault;

/// Bytes of a chunk's size line, extensions included.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Bytes of the trailer section behind the last chunk. It is read over.
const TRAILER_BYTES_MAX: usize = 4096;

/// A message body that is being received.
#[derive(Debug)]
pub(super) struct Body {
    framing: Framing,
    bytes: Vec<u8>,
    bytes_max: usize,
}

/// What the head says about where the body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// After so many more bytes.
    Length(usize),
    /// With the last chunk.
    Chunked(Chunk),
    /// With the connection; only a response may do so.
    UntilClose,
}

/// Where in the chunked coding the next byte is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chunk {
    /// In the line that says how large the chunk is.
    Size,
    /// In the chunk's data, so many bytes before its end.
    Data(usize),
    /// In the line end behind the data.
    DataEnd,
    /// In the trailer section, of which so many bytes are read.
    Trailer(usize),
    /// Behind everything.
    End,
}

impl Body {
    pub(super) fn new(framing: Framing, bytes_max: usize) -> Result<Self, StreamFault> {
        if matches!(framing, Framing::Length(n) if n > bytes_max) {
            return Err(StreamFault::BodyTooLarge);
        }
        Ok(Self { framing, bytes: Vec::new(), bytes_max })
    }

    /// Takes from `input` what belongs to the body and answers how much that was.
    pub(super) fn receive(&mut self, input: &[u8]) -> Result<usize, StreamFault> {
        let mut used = 0;
        while !self.is_complete() {
            let rest = input.get(used..).unwrap_or_default();
            let step = match self.framing {
                Framing::Length(left) => {
                    let n = self.append(rest, left)?;
                    self.framing = Framing::Length(left - n);
                    n
                }
                Framing::UntilClose => self.append(rest, usize::MAX)?,
                Framing::Chunked(chunk) => self.receive_chunked(chunk, rest)?,
            };
            if step == 0 {
                break;
            }
            used += step;
        }
        Ok(used)
    }

    /// Whether everything is there, as far as the bytes themselves can tell.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.framing, Framing::Length(0) | Framing::Chunked(Chunk::End))
    }

    /// Whether the end of the connection completes it.
    pub(super) fn is_until_close(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn append(&mut self, input: &[u8], at_most: usize) -> Result<usize, StreamFault> {
        let taken = input.get(..at_most).unwrap_or(input);
        if taken.len() > self.bytes_max - self.bytes.len() {
            return Err(StreamFault::BodyTooLarge);
        }
        self.bytes.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn receive_chunked(&mut self, chunk: Chunk, input: &[u8]) -> Result<usize, StreamFault> {
        let (used, next) = match chunk {
            Chunk::Size => match line(input, CHUNK_LINE_BYTES_MAX)? {
                None => return Ok(0),
                Some(line) => (line.len() + 2, self.chunk_of_size(chunk_size(line)?)?),
            },
            Chunk::Data(left) => {
                let n = self.append(input, left)?;
                (n, if n == left { Chunk::DataEnd } else { Chunk::Data(left - n) })
            }
            Chunk::DataEnd => match input {
                [b'\r', b'\n', ..] => (2, Chunk::Size),
                [] | [b'\r'] => return Ok(0),
                _ => return Err(StreamFault::Malformed("a chunk does not end where it should")),
            },
            Chunk::Trailer(read) => match line(input, TRAILER_BYTES_MAX - read)? {
                None => return Ok(0),
                Some([]) => (2, Chunk::End),
                Some(line) => {
                    let read = read + line.len() + 2;
                    (line.len() + 2, Chunk::Trailer(read.min(TRAILER_BYTES_MAX)))
                }
            },
            Chunk::End => (0, Chunk::End),
        };
        self.framing = Framing::Chunked(next);
        Ok(used)
    }

    fn chunk_of_size(&self, size: usize) -> Result<Chunk, StreamFault> {
        if size > self.bytes_max - self.bytes.len() {
            return Err(StreamFault::BodyTooLarge);
        }
        Ok(if size == 0 { Chunk::Trailer(0) } else { Chunk::Data(size) })
    }
}

/// The first line of `input` without its line end, once it is complete.
///
/// A lone CR or LF is refused: servers that disagree on where a line ends can be made to disagree
/// on where a request ends.
fn line(input: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, StreamFault> {
    let Some(end) = input.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        if input.len() > bytes_max {
            return Err(StreamFault::Malformed("a line of the chunked coding is too long"));
        }
        return Ok(None);
    };
    if end > bytes_max {
        return Err(StreamFault::Malformed("a line of the chunked coding is too long"));
    }
    match input.get(end..) {
        Some([b'\r', b'\n', ..]) => Ok(input.get(..end)),
        Some([b'\r']) => Ok(None),
        Some(_) | None => Err(StreamFault::Malformed("a line of the chunked coding ends badly")),
    }
}

/// The number in a chunk's size line; extensions are read over.
fn chunk_size(line: &[u8]) -> Result<usize, StreamFault> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    // Eight digits are more than any limit allows, and fit.
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(StreamFault::Malformed("a chunk's size is not a hexadecimal number"));
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .ok_or(StreamFault::Malformed("a chunk's size is not a hexadecimal number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(input: &[u8], step: usize) -> Result<(Vec<u8>, usize), StreamFault> {
        let mut body = Body::new(Framing::Chunked(Chunk::Size), 20)?;
        let (mut used, mut end) = (0, 0);
        while !body.is_complete() && end < input.len() {
            end = (end + step).min(input.len());
            used += body.receive(&input[used..end])?;
        }
        assert!(body.is_complete(), "unfinished: {body:?}");
        Ok((body.into_bytes(), used))
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let coded = b"4\r\nWiki\r\n5;a=\"b\"\r\npedia\r\n0\r\nExpires: never\r\n\r\nGET";
        for step in 1..coded.len() {
            assert_eq!(chunked(coded, step), Ok((b"Wikipedia".to_vec(), coded.len() - 3)));
        }
    }

    #[test]
    fn ambiguous_chunks_are_refused() {
        for coded in [
            &b"4\nWiki\r\n0\r\n\r\n"[..],
            b"4\r\nWikipedia\r\n0\r\n\r\n",
            b"0x4\r\nWiki\r\n0\r\n\r\n",
            b"+4\r\nWiki\r\n0\r\n\r\n",
            b"-4\r\nWiki\r\n0\r\n\r\n",
            b"\r\nWiki\r\n0\r\n\r\n",
            b"4;a\nb\r\nWiki\r\n0\r\n\r\n",
            b"4\r\nWiki\n0\r\n\r\n",
            b"000000004\r\nWiki\r\n0\r\n\r\n",
        ] {
            let refused = chunked(coded, coded.len());
            assert!(matches!(refused, Err(StreamFault::Malformed(_))), "{coded:?}: {refused:?}");
        }
    }

    #[test]
    fn every_part_of_the_chunked_coding_is_bounded() {
        assert_eq!(chunked(b"15\r\n", 1), Err(StreamFault::BodyTooLarge));
        assert_eq!(chunked(b"a\r\n0123456789\r\nb\r\n", 1), Err(StreamFault::BodyTooLarge));
        let line = [b"1;".as_slice(), &[b'x'; CHUNK_LINE_BYTES_MAX]].concat();
        assert!(matches!(chunked(&line, 1), Err(StreamFault::Malformed(_))));
        let mut trailers = b"0\r\n".to_vec();
        while trailers.len() < 2 * TRAILER_BYTES_MAX {
            trailers.extend_from_slice(b"a: b\r\n");
        }
        assert!(matches!(chunked(&trailers, 1), Err(StreamFault::Malformed(_))));
    }
}
