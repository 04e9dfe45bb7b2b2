//! The one source of chance in a simulation.

use std::time::Duration;

/// A generator that a seed determines wholly (fastrand's, which is a WyRand).
#[derive(Debug, Clone)]
pub struct Random(fastrand::Rng);

impl Random {
    /// Starts over from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A generator of its own for something that must not be disturbed by how often others draw.
    pub fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    /// True in `per_mille` of a thousand cases.
    pub fn chance(&mut self, per_mille: u16) -> bool {
        self.0.u16(..1000) < per_mille
    }

    /// A span up to and including `longest`.
    pub fn span(&mut self, longest: Duration) -> Duration {
        Duration::from_nanos(self.0.u64(..=u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// A seed for a shard.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill(&mut seed);
        seed
    }
}

/// FNV-1a over the parts and their lengths: a checksum, not a secret.
pub fn fnv1a(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |byte: u8| {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    };
    for part in parts {
        part.len().to_be_bytes().into_iter().for_each(&mut mix);
        part.iter().copied().for_each(&mut mix);
    }
    hash
}
