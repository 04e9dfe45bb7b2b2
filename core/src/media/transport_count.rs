//! Keeps a far side's transport-wide sequence numbers where str0m can count them.
//!
//! str0m extends their 16 bits by the highest it has had. A number that lies before the first one
//! of the count's first lap becomes one near 2^64, and the next report of what came (the TWCC
//! draft's feedback) would name everything in between as missing, until memory ends. One late
//! packet at a roll-over does it, and so does whoever means to.

/// Where a lap is half over.
const HALF: u16 = 0x8000;

/// What is known of one peer's count.
#[derive(Debug, Default)]
pub(super) struct TransportCount {
    /// The numbers that the extension has in the peer's sections.
    ids: Vec<u8>,
    /// Whether str0m was given a number of the first half. It may not have taken it.
    low_given: bool,
    /// The highest number of the first half that str0m has taken.
    low_taken: Option<u16>,
    /// Whether str0m has taken a number of the second half: from there no way back is too far.
    is_safe: bool,
}

impl TransportCount {
    /// Learns the number that the extension has in a section.
    pub(super) fn add_id(&mut self, id: u8) {
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }

    /// Whether str0m may be given a datagram.
    pub(super) fn admits(&mut self, datagram: &[u8]) -> bool {
        if self.is_safe || self.ids.is_empty() {
            return true;
        }
        let Some((is_wide, elements)) = extensions(datagram) else { return true };
        let mut rest = elements;
        while let Some((id, value, behind)) = element(rest, is_wide) {
            rest = behind;
            if let [high, low, ..] = value
                && self.ids.contains(&id)
                && !self.admits_number(u16::from_be_bytes([*high, *low]))
            {
                return false;
            }
        }
        true
    }

    /// Learns that str0m has taken a packet with this number.
    pub(super) fn taken(&mut self, number: u16) {
        if number >= HALF {
            self.is_safe = true;
        } else {
            self.low_taken = self.low_taken.max(Some(number));
        }
    }

    fn admits_number(&mut self, number: u16) -> bool {
        if number < HALF {
            self.low_given = true;
            return true;
        }
        // What str0m counts from is either in the second half or at least what it has taken.
        !self.low_given || self.low_taken.is_some_and(|taken| number - taken < HALF)
    }
}

/// The header extensions of an RTP packet, and whether they are of the two-byte form (RFC 8285,
/// section 4); `None` if it has none.
fn extensions(packet: &[u8]) -> Option<(bool, &[u8])> {
    let first = packet.first().filter(|first| **first & 0xd0 == 0x90)?;
    let (head, rest) = packet.get(12 + usize::from(first & 0xf) * 4..)?.split_first_chunk::<4>()?;
    let [form_high, form_low, high, low] = *head;
    let is_wide = match u16::from_be_bytes([form_high, form_low]) {
        0xbede => false,
        0x1000..=0x100f => true,
        _ => return None,
    };
    Some((is_wide, rest.get(..usize::from(u16::from_be_bytes([high, low])) * 4)?))
}

/// The first of some header extensions: its number, its value, and what follows it.
fn element(mut bytes: &[u8], is_wide: bool) -> Option<(u8, &[u8], &[u8])> {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    let (id, len, rest) = match bytes {
        [id, len, rest @ ..] if is_wide => (*id, usize::from(*len), rest),
        // 15 ends the list.
        [head, rest @ ..] if !is_wide && head >> 4 != 15 => {
            (head >> 4, usize::from(head & 0xf) + 1, rest)
        }
        _ => return None,
    };
    let (value, behind) = rest.split_at_checked(len)?;
    Some((id, value, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(number: u16) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        let mut packet = vec![0x91; 16];
        packet.extend([0xbe, 0xde, 0, 2, 0, 0x10, 9, 0x31, high, low, 0, 0]);
        packet
    }

    fn count() -> TransportCount {
        let mut count = TransportCount::default();
        count.add_id(3);
        count
    }

    /// Counts as str0m does.
    fn extend(highest: Option<u64>, number: u16) -> u64 {
        let Some(highest) = highest else { return number.into() };
        let behind = (highest as u16).wrapping_sub(number);
        let ahead = number.wrapping_sub(highest as u16);
        if ahead < HALF { highest + u64::from(ahead) } else { highest.wrapping_sub(behind.into()) }
    }

    #[test]
    fn a_roll_over_in_disorder_is_no_way_back_below_nothing() {
        let mut count = count();
        assert!(count.admits(&packet(2)));
        assert!(!count.admits(&packet(0xffff)));
        count.taken(2);
        assert!(!count.admits(&packet(0xffff)));
        assert!(count.admits(&packet(0x8001)));
        assert!(!count.admits(&packet(0x8002)));
    }

    #[test]
    fn whoever_begins_in_the_second_half_rolls_over() {
        let mut count = count();
        for number in [0xfffe, 0xffff, 0, 0xfffd] {
            assert!(count.admits(&packet(number)), "{number}");
            count.taken(number);
        }
    }

    #[test]
    fn only_the_agreed_extension_counts_in_either_form() {
        let mut count = count();
        assert!(count.admits(&packet(2)));
        let wide = |id| {
            let head = [[0x90; 12].as_slice(), &[0x10, 5, 0, 2]].concat();
            [head.as_slice(), &[0, 7, 0, id, 2, 0xff, 0xff, 0]].concat()
        };
        assert!(!count.admits(&wide(3)));
        assert!(count.admits(&wide(4)));
        assert!(count.admits(&[0x80; 40]));
        assert!(count.admits(&[0x90; 14]));
    }

    proptest! {
        #[test]
        fn what_is_admitted_never_counts_below_nothing(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), any::<u16>()), 1..200),
        ) {
            let mut count = count();
            let mut highest = None;
            let mut last = 0u16;
            for (near, is_taken, number) in steps {
                let beside = last.wrapping_add(number % 64).wrapping_sub(16);
                let number = if near { beside } else { number };
                last = number;
                if count.admits(&packet(number)) && is_taken {
                    let extended = extend(highest, number);
                    prop_assert!(extended < 1 << 32, "{number} after {highest:?}");
                    highest = highest.max(Some(extended));
                    count.taken(number);
                }
            }
        }
    }
}
