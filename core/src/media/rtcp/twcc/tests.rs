use proptest::prelude::*;

use super::*;

/// The whole of a packet's body, from its parts.
fn body(first: u16, count: u16, reference: u32, chunks: &[u16], differences: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 9];
    body.extend(first.to_be_bytes());
    body.extend(count.to_be_bytes());
    body.extend(&reference.to_be_bytes()[1..]);
    body.push(77);
    body.extend(chunks.iter().flat_map(|chunk| chunk.to_be_bytes()));
    body.extend(differences);
    body.resize(body.len().next_multiple_of(4), 0);
    body
}

/// A chunk by its bits.
fn word(bits: &str) -> u16 {
    u16::from_str_radix(&bits.replace(' ', ""), 2).unwrap()
}

fn told(body: &[u8]) -> Vec<Told> {
    let mut all = Vec::new();
    Arrivals::parse(body).unwrap().each(|told| all.push(told));
    all
}

fn came(number: u16, at: u32) -> Told {
    Told::Came { number, at }
}

fn missed(first: u16, count: u16) -> Told {
    Told::Missed { first, count }
}

/// Sections 3.1.1 to 3.1.5.
#[test]
fn every_kind_of_chunk_is_read() {
    let run_missed = word("0 00 0000011011101");
    let run_came = word("0 01 0000000000011");
    let run_far = word("0 10 0000000000001");
    let one_bit = word("10 01111100011100");
    let two_bits = word("11 00 01 01 01 01 00 00");
    let runs = body(0xfff0, 225, 2, &[run_missed, run_came, run_far], &[4, 8, 0, 0xff, 0xfe]);
    let start = 0xfff0u16.wrapping_add(221);
    assert_eq!(
        told(&runs),
        [
            missed(0xfff0, 221),
            came(start, 516),
            came(start + 1, 524),
            came(start + 2, 524),
            came(start + 3, 522),
        ]
    );
    let bits = told(&body(10, 14, 0, &[one_bit], &[1; 8]));
    let numbers = bits.iter().filter_map(|told| match told {
        Told::Came { number, .. } => Some(*number),
        Told::Missed { .. } => None,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [11, 12, 13, 14, 15, 19, 20, 21]);
    assert_eq!(bits.iter().filter(|told| matches!(told, Told::Missed { .. })).count(), 6);
    let two = told(&body(10, 7, 0, &[two_bits], &[1; 9]));
    let expected = [
        missed(10, 1),
        came(11, 1),
        came(12, 2),
        came(13, 3),
        came(14, 4),
        missed(15, 1),
        missed(16, 1),
    ];
    assert_eq!(two, expected);
}

#[test]
fn feedback_has_a_number_and_a_start() {
    let body = body(0xfff0, 0, 0, &[], &[]);
    let arrivals = Arrivals::parse(&body).unwrap();
    assert_eq!((arrivals.ordinal(), arrivals.first()), (77, 0xfff0));
}

#[test]
fn what_is_told_ends_with_the_count() {
    assert_eq!(
        told(&body(5, 2, 0, &[word("10 11111111111111")], &[1; 14])),
        [came(5, 1), came(6, 2)]
    );
    assert_eq!(told(&body(5, 3, 0, &[word("0 00 1111111111111")], &[])), [missed(5, 3)]);
    assert_eq!(told(&body(5, 0, 0, &[], &[])), []);
}

#[test]
fn what_follows_something_malformed_is_not_told() {
    let one = word("0 01 0000000000001");
    let reserved = word("0 11 0000000000001");
    assert_eq!(told(&body(5, 3, 0, &[one, reserved, one], &[1; 8])), [came(5, 1)]);
    let far_two = word("0 10 0000000000010");
    assert_eq!(told(&body(5, 2, 0, &[far_two], &[0, 1])), [came(5, 1)], "no second difference");
    assert_eq!(Arrivals::parse(&body(5, 3, 0, &[one], &[])), None, "the chunks end too early");
    assert_eq!(Arrivals::parse(&body(5, 3, 0, &[], &[])[..15]), None);
    // Rows of none have to come to an end.
    assert_eq!(Arrivals::parse(&body(5, 1, 0, &[0; 600], &[])), None);
}

#[test]
fn times_go_around() {
    let far = word("0 10 0000000000001");
    assert_eq!(told(&body(1, 1, 0, &[far], &[0xff, 0xff])), [came(1, u32::MAX)]);
    let late = told(&body(1, 1, 0xff_ffff, &[far], &[0x7f, 0xff]));
    assert_eq!(late, [came(1, 0xffff_ff00u32.wrapping_add(0x7fff))]);
}

/// Writes feedback as the draft says, in whatever chunks `choose` picks.
fn write(first: u16, packets: &[Option<i16>], reference: u32, choose: &[u8]) -> Vec<u8> {
    let symbol = |packet: &Option<i16>| match packet {
        None => 0u16,
        Some(0..=255) => 1,
        Some(_) => 2,
    };
    let symbols: Vec<u16> = packets.iter().map(symbol).collect();
    let (mut chunks, mut at) = (Vec::new(), 0);
    let mut choices = choose.iter().cycle();
    while at < symbols.len() {
        let rest = &symbols[at..];
        let same = rest.iter().take_while(|other| **other == rest[0]).count();
        let next = |nth: usize| rest.get(nth).copied().unwrap_or(0);
        let fits_one_bit = rest.iter().take(14).all(|symbol| *symbol < 2);
        match choices.next().unwrap() % 3 {
            0 => {
                chunks.push(rest[0] << 13 | u16::try_from(same).unwrap());
                at += same;
            }
            1 if fits_one_bit => {
                let word = (0..14).fold(0, |word, nth| word << 1 | next(nth));
                chunks.push(0x8000 | word);
                at += 14;
            }
            _ => {
                chunks.push(0xc000 | (0..7).fold(0, |word, nth| word << 2 | next(nth)));
                at += 7;
            }
        }
    }
    let mut differences = Vec::new();
    for difference in packets.iter().flatten() {
        match u8::try_from(*difference) {
            Ok(near) => differences.push(near),
            Err(_) => differences.extend(difference.to_be_bytes()),
        }
    }
    let count = u16::try_from(packets.len()).unwrap();
    body(first, count, reference, &chunks, &differences)
}

fn difference() -> impl Strategy<Value = Option<i16>> {
    prop_oneof![4 => Just(None), 4 => (0i16..40).prop_map(Some), 1 => any::<i16>().prop_map(Some)]
}

proptest! {
    #[test]
    fn what_was_written_is_told(
        first: u16,
        packets in prop::collection::vec(difference(), 0..300),
        reference in 0u32..1 << 24,
        choose in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let mut expected = Vec::new();
        let mut at = reference << 8;
        for (number, difference) in (0u16..).zip(&packets) {
            let number = first.wrapping_add(number);
            at = at.wrapping_add_signed(difference.unwrap_or(0).into());
            expected.push((number, difference.map(|_| at)));
        }
        let body = write(first, &packets, reference, &choose);
        let mut all = Vec::new();
        for told in told(&body) {
            match told {
                Told::Came { number, at } => all.push((number, Some(at))),
                Told::Missed { first, count } => {
                    all.extend((0..count).map(|nth| (first.wrapping_add(nth), None)));
                }
            }
        }
        prop_assert_eq!(all, expected);
    }

    #[test]
    fn nonsense_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(arrivals) = Arrivals::parse(&bytes) {
            let (mut tellings, mut packets) = (0, 0);
            arrivals.each(|told| {
                tellings += 1;
                packets += match told {
                    Told::Came { .. } => 1,
                    Told::Missed { count, .. } => u32::from(count),
                };
            });
            prop_assert!(tellings <= 7 * bytes.len(), "work is in proportion to the bytes");
            prop_assert!(packets <= u32::from(arrivals.count));
        }
    }
}
