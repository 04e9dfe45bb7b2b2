//! The shard's only source of randomness: its seed.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A stream of random numbers that the seed determines.
#[derive(Debug)]
pub(crate) struct Rng(ChaCha12Rng);

impl Rng {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A number below `bound`; 0 if `bound` is 0. The bias is below 2^-32 for what is drawn here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        match u64::try_from(bound) {
            Ok(bound @ 1..) => usize::try_from(self.0.next_u64() % bound).unwrap_or(0),
            Ok(0) | Err(_) => 0,
        }
    }

    /// `length` characters of the alphabet that ICE allows in user names and passwords
    /// (RFC 8839, section 5.4) and that also stands unquoted in JSON and URLs.
    pub(crate) fn token(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut token = String::with_capacity(length);
        while token.len() < length {
            let index = usize::try_from(self.0.next_u32() % 32).unwrap_or(0);
            token.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'a')));
        }
        token
    }

    /// A version 4 UUID (RFC 9562, section 5.4).
    pub(crate) fn uuid(&mut self) -> String {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.bytes::<16>();
        let (g, i) = (g & 0x0f | 0x40, i & 0x3f | 0x80);
        format!(
            "{a:02x}{b:02x}{c:02x}{d:02x}-{e:02x}{f:02x}-{g:02x}{h:02x}-{i:02x}{j:02x}-\
             {k:02x}{l:02x}{m:02x}{n:02x}{o:02x}{p:02x}"
        )
    }
}
