//! Transport-wide feedback: which packets came, and when
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).

#[cfg(test)]
mod tests;

/// Units of time in a second: those in which feedback tells by how much one packet came later than
/// another.
pub(crate) const TICKS_PER_SECOND: u32 = 4_000;

/// What is before the chunks: two sources, the first number and how many are told of, the time that
/// the first difference counts from, and the number of the feedback itself.
const HEAD_BYTES: usize = 16;
/// Packets that a chunk of one bit, or of two bits, tells of.
const BITS_OF_ONE: u16 = 14;
const BITS_OF_TWO: u16 = 7;

/// What one feedback packet tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrivals<'a> {
    /// Counts the feedback packets of the receiver.
    ordinal: u8,
    /// The number of the first packet that is told of.
    first: u16,
    /// How many packets are told of.
    count: u16,
    /// What the first difference counts from, in ticks.
    reference: u32,
    chunks: &'a [u8],
    differences: &'a [u8],
}

/// What is told of one packet, or of several in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It came, at this time of the receiver's clock, in ticks that go around.
    Came { number: u16, at: u32 },
    /// So many have not come, or not yet.
    Missed { first: u16, count: u16 },
}

/// What a chunk says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Symbol {
    Missed,
    /// It came, and the difference takes one byte.
    Near,
    /// It came, and the difference takes two bytes and a sign.
    Far,
}

/// So many packets in a row, or single ones.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    Run { symbol: u16, count: u16 },
    OneBit(u16),
    TwoBits(u16),
}

impl<'a> Arrivals<'a> {
    /// Reads what is behind the first word of the packet; `None` where the chunks do not reach as
    /// far as they should.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (head, rest) = body.split_first_chunk::<HEAD_BYTES>()?;
        let [.., first_high, first_low, count_high, count_low, high, middle, low, ordinal] = *head;
        let count = u16::from_be_bytes([count_high, count_low]);
        let (mut told, mut at) = (0, 0);
        while told < count {
            told = Chunk::read(rest.get(at..)?)?.count().saturating_add(told);
            at += 2;
        }
        let (chunks, differences) = rest.split_at_checked(at)?;
        Some(Self {
            ordinal,
            first: u16::from_be_bytes([first_high, first_low]),
            count,
            // In units of 64 ms, which are 256 ticks.
            reference: u32::from_be_bytes([high, middle, low, 0]),
            chunks,
            differences,
        })
    }

    /// Counts the feedback packets of the receiver.
    pub(crate) fn ordinal(&self) -> u8 {
        self.ordinal
    }

    /// The number of the first packet that is told of.
    pub(crate) fn first(&self) -> u16 {
        self.first
    }

    /// Tells `note` of each packet that came, and of each row of those that did not, in the order
    /// of their numbers. What follows something malformed is not told.
    pub(crate) fn each(&self, mut note: impl FnMut(Told)) {
        let mut teller =
            Teller { next: self.first, at: self.reference, differences: self.differences };
        let mut left = self.count;
        let mut chunks = self.chunks;
        while left > 0 {
            let Some(chunk) = Chunk::read(chunks) else { return };
            let count = chunk.count().min(left);
            if teller.tell(chunk, count, &mut note).is_none() {
                return;
            }
            left -= count;
            chunks = chunks.get(2..).unwrap_or_default();
        }
    }
}

impl Chunk {
    fn read(chunks: &[u8]) -> Option<Self> {
        let word = u16::from_be_bytes(*chunks.first_chunk()?);
        Some(match word >> 14 {
            0 | 1 => Self::Run { symbol: word >> 13 & 3, count: word & 0x1fff },
            2 => Self::OneBit(word),
            _ => Self::TwoBits(word),
        })
    }

    /// How many packets it tells of, beyond the last one too.
    fn count(self) -> u16 {
        match self {
            Self::Run { count, .. } => count,
            Self::OneBit(_) => BITS_OF_ONE,
            Self::TwoBits(_) => BITS_OF_TWO,
        }
    }

    /// The bits of the symbol of one of its packets.
    fn bits(self, at: u16) -> u16 {
        match self {
            Self::Run { symbol, .. } => symbol,
            Self::OneBit(word) => word >> (BITS_OF_ONE - 1 - at) & 1,
            Self::TwoBits(word) => word >> (2 * (BITS_OF_TWO - 1 - at)),
        }
    }
}

impl Symbol {
    /// The fourth is reserved.
    fn read(bits: u16) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::Missed),
            1 => Some(Self::Near),
            2 => Some(Self::Far),
            _ => None,
        }
    }
}

/// How far the telling has come.
struct Teller<'a> {
    next: u16,
    at: u32,
    differences: &'a [u8],
}

impl Teller<'_> {
    /// Tells of the first `count` of a chunk; `None` where it cannot go on.
    fn tell(&mut self, chunk: Chunk, count: u16, note: &mut impl FnMut(Told)) -> Option<()> {
        let mut at = 0;
        while at < count {
            let symbol = Symbol::read(chunk.bits(at))?;
            let row = match (chunk, symbol) {
                (Chunk::Run { .. }, Symbol::Missed) => count,
                _ => 1,
            };
            note(self.next(symbol, row)?);
            at += row;
        }
        Some(())
    }

    /// What is told of the next packet, or of so many that did not come.
    fn next(&mut self, symbol: Symbol, row: u16) -> Option<Told> {
        let number = self.next;
        self.next = number.wrapping_add(row);
        let (difference, rest) = match symbol {
            Symbol::Missed => return Some(Told::Missed { first: number, count: row }),
            Symbol::Near => {
                let (difference, rest) = self.differences.split_first()?;
                (i32::from(*difference), rest)
            }
            Symbol::Far => {
                let (difference, rest) = self.differences.split_first_chunk()?;
                (i32::from(i16::from_be_bytes(*difference)), rest)
            }
        };
        self.differences = rest;
        self.at = self.at.wrapping_add_signed(difference);
        Some(Told::Came { number, at: self.at })
    }
}
