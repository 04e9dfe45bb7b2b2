//! ICE user name fragments that tell which peer they are of.
//!
//! The first STUN message of a browser names our fragment; with the peer's number in it, no table
//! of fragments is needed, and a fragment that was never given out cannot match.

use crate::id::PeerId;
use crate::rng::Rng;

/// Random characters after the number: with the password they keep strangers out; alone they keep
/// fragments of one number apart.
const RANDOM_LENGTH: usize = 8;

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Makes a fragment of 9 to 21 characters (RFC 8839, section 5.4 wants 4 to 256).
pub(crate) fn encode(peer: PeerId, rng: &mut Rng) -> String {
    let mut digits = Vec::new();
    let mut rest = peer.0;
    loop {
        let digit = usize::try_from(rest % 32).unwrap_or(0);
        digits.push(DIGITS.get(digit).copied().unwrap_or(b'a'));
        rest /= 32;
        if rest == 0 {
            break;
        }
    }
    let mut ufrag = rng.token(RANDOM_LENGTH);
    ufrag.extend(digits.iter().rev().map(|digit| char::from(*digit)));
    ufrag
}

/// Reads the number back; `None` if [`encode`] cannot have made this.
pub(crate) fn decode(ufrag: &str) -> Option<PeerId> {
    let digits = ufrag.as_bytes().get(RANDOM_LENGTH..)?;
    if digits.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for digit in digits {
        let value = DIGITS.iter().position(|known| known == digit)?;
        number = number.checked_mul(32)?.checked_add(u64::try_from(value).ok()?)?;
    }
    Some(PeerId(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(number: u64, seed: [u8; 32]) {
            let ufrag = encode(PeerId(number), &mut crate::rng::Rng::new(seed));
            prop_assert!((9..=21).contains(&ufrag.len()));
            prop_assert!(ufrag.chars().all(|c| c.is_ascii_alphanumeric()));
            prop_assert_eq!(decode(&ufrag), Some(PeerId(number)));
        }

        #[test]
        fn one_other_character_means_another_peer_or_none(
            number: u64,
            seed: [u8; 32],
            at: prop::sample::Index,
            other in "[ -~]",
        ) {
            let mut ufrag = encode(PeerId(number), &mut crate::rng::Rng::new(seed));
            let at = RANDOM_LENGTH + at.index(ufrag.len() - RANDOM_LENGTH);
            let is_other = !ufrag[at..].starts_with(&other);
            ufrag.replace_range(at..=at, &other);
            prop_assert_eq!(decode(&ufrag) != Some(PeerId(number)), is_other);
            let digits = ufrag[RANDOM_LENGTH..].bytes();
            prop_assert!(digits.clone().all(|c| DIGITS.contains(&c)) || decode(&ufrag).is_none());
        }

        #[test]
        fn what_is_no_number_of_a_peer_is_none(text in "\\PC{0,12}[a-z2-7]{0,16}") {
            let digits = text.as_bytes().get(RANDOM_LENGTH..).unwrap_or_default();
            let digit = |digit: &u8| DIGITS.iter().zip(0u128..).find(|(d, _)| *d == digit);
            let number = digits.iter().try_fold(0, |number, next| {
                Some(number * 32 + digit(next)?.1)
            });
            let number = number.and_then(|number| u64::try_from(number).ok());
            let expected = number.filter(|_| !digits.is_empty()).map(PeerId);
            prop_assert_eq!(decode(&text), expected);
        }
    }
}
