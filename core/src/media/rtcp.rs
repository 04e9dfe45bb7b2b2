//! RTCP of a peer that we send to: what it says of what came, and what we say of what was sent
//! (RFC 3550, section 6; RFC 4585).

use std::time::Duration;

mod twcc;

pub(crate) use twcc::{Arrivals, TICKS_PER_SECOND, Told};

/// Packet types (RFC 3550, section 12.1; RFC 4585, section 6.1).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// Formats of feedback (RFC 4585, sections 6.2.1, 6.3.1 and 6.4; RFC 5104, section 4.3.1;
/// draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).
const GENERIC_NACK: u8 = 1;
const TRANSPORT_WIDE: u8 = 15;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA_REQUEST: u8 = 4;
const APPLICATION_LAYER: u8 = 15;

/// What feedback of the application layer begins with that estimates a bitrate
/// (draft-alvestrand-rmcat-remb-03, section 2.2).
const BITRATE_ESTIMATE: [u8; 4] = *b"REMB";

/// Seconds between 1900, where NTP begins, and 1970 (RFC 5905, section 6).
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// Something that a peer says of what it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Feedback<'a> {
    /// It has got something of this source.
    Received { ssrc: u32 },
    /// It lacks this packet of this source.
    Lacks { ssrc: u32, seq: u16 },
    /// It cannot go on without a key frame.
    NeedsKeyframe,
    /// When packets of the transport came.
    Arrivals(Arrivals<'a>),
    /// How much it believes that it can receive, in bit/s.
    Receivable { bitrate: u64 },
}

/// Reads a compound packet; tells `note` of each thing in it that matters here. What follows
/// something malformed is not read.
pub(crate) fn read<'a>(compound: &'a [u8], mut note: impl FnMut(Feedback<'a>)) {
    let mut rest = compound;
    while let Some((format, kind, body, behind)) = split(rest) {
        match (kind, format) {
            (RECEIVER_REPORT, _) => read_blocks(body.get(4..).unwrap_or_default(), &mut note),
            (SENDER_REPORT, _) => read_blocks(body.get(24..).unwrap_or_default(), &mut note),
            (TRANSPORT_FEEDBACK, GENERIC_NACK) => read_nack(body, &mut note),
            (TRANSPORT_FEEDBACK, TRANSPORT_WIDE) => {
                if let Some(arrivals) = Arrivals::parse(body) {
                    note(Feedback::Arrivals(arrivals));
                }
            }
            (PAYLOAD_FEEDBACK, PICTURE_LOSS | FULL_INTRA_REQUEST) => note(Feedback::NeedsKeyframe),
            (PAYLOAD_FEEDBACK, APPLICATION_LAYER) => {
                if let Some(bitrate) = receivable(body) {
                    note(Feedback::Receivable { bitrate });
                }
            }
            _ => {}
        }
        rest = behind;
    }
}

/// The first packet of a compound: its count or format, its type, what is behind its first word,
/// and what follows it.
fn split(compound: &[u8]) -> Option<(u8, u8, &[u8], &[u8])> {
    let ([first, kind, high, low], rest) = compound.split_first_chunk::<4>()?;
    if first >> 6 != 2 {
        return None;
    }
    let words = usize::from(u16::from_be_bytes([*high, *low]));
    let (body, behind) = rest.split_at_checked(words * 4)?;
    Some((first & 0x1f, *kind, body, behind))
}

fn read_blocks<'a>(blocks: &[u8], note: &mut impl FnMut(Feedback<'a>)) {
    for block in blocks.chunks_exact(24) {
        // The highest number that came is 0 where nothing did.
        let heard = block.get(8..12).is_some_and(|highest| highest != [0; 4]);
        if let Some(ssrc) = word(block, 0).filter(|_| heard) {
            note(Feedback::Received { ssrc });
        }
    }
}

fn read_nack<'a>(body: &[u8], note: &mut impl FnMut(Feedback<'a>)) {
    let Some(ssrc) = word(body, 4) else { return };
    for pair in body.get(8..).unwrap_or_default().chunks_exact(4) {
        let [high, low, mask_high, mask_low] = *pair else { return };
        let first = u16::from_be_bytes([high, low]);
        let mask = u16::from_be_bytes([mask_high, mask_low]);
        note(Feedback::Lacks { ssrc, seq: first });
        for behind in (0..16).filter(|behind| mask >> behind & 1 == 1) {
            note(Feedback::Lacks { ssrc, seq: first.wrapping_add(behind + 1) });
        }
    }
}

/// The bitrate that a receiver estimates: 18 bits, behind 6 bits that say by how many more bits it
/// is longer. One that goes beyond 64 bits is as good as any.
fn receivable(body: &[u8]) -> Option<u64> {
    let estimate = body.get(8..)?.strip_prefix(&BITRATE_ESTIMATE)?;
    let [_, high, middle, low] = *estimate.first_chunk()?;
    let mantissa = u64::from(u32::from_be_bytes([0, high & 3, middle, low]));
    let longer = u32::from(high >> 2);
    let is_too_long = mantissa.leading_zeros() < longer;
    Some(if is_too_long { u64::MAX } else { mantissa << longer })
}

/// What we say of one source (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SenderReport {
    pub(crate) ssrc: u32,
    /// The moment that the report is about, since 1970, and in the source's clock.
    pub(crate) unix: Duration,
    pub(crate) time: u32,
    /// What was sent, modulo 2^32.
    pub(crate) packets: u32,
    pub(crate) payload_bytes: u32,
}

/// The most that [`write_report`] writes for two sources.
pub(crate) const REPORT_BYTES_MAX: usize = 2 * 28 + 4 + 2 * CHUNK_BYTES;
/// Characters of the name that a peer's sources share.
pub(crate) const CNAME_BYTES: usize = 16;
/// A chunk of a description is the source, an item of type, length and text, and zeros up to the
/// next word, at least one.
const CHUNK_BYTES: usize = 4 + 2 + CNAME_BYTES + PADDING_BYTES;
const PADDING_BYTES: usize = 4 - (2 + CNAME_BYTES) % 4;

/// Writes a report on each source, and the name that they share (RFC 3550, section 6.5.1: it tells
/// what belongs together in time). Answers with the length, or `None` where the room is not there.
pub(crate) fn write_report(
    reports: impl Iterator<Item = SenderReport> + Clone,
    cname: &[u8; CNAME_BYTES],
    out: &mut [u8],
) -> Option<usize> {
    let mut writer = Writer { out, len: 0 };
    for report in reports.clone() {
        writer.put(&[0x80, SENDER_REPORT, 0, 6])?;
        writer.put(&report.ssrc.to_be_bytes())?;
        writer.put(&ntp(report.unix).to_be_bytes())?;
        writer.put(&report.time.to_be_bytes())?;
        writer.put(&report.packets.to_be_bytes())?;
        writer.put(&report.payload_bytes.to_be_bytes())?;
    }
    let chunks = reports.clone().count();
    let (count, words) = (u8::try_from(chunks).ok()?, u8::try_from(chunks * CHUNK_BYTES / 4).ok()?);
    writer.put(&[0x80 | count, SOURCE_DESCRIPTION, 0, words])?;
    for report in reports {
        writer.put(&report.ssrc.to_be_bytes())?;
        writer.put(&[1, u8::try_from(CNAME_BYTES).ok()?])?;
        writer.put(cname)?;
        writer.put(&[0; PADDING_BYTES])?;
    }
    Some(writer.len)
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.out.get_mut(self.len..self.len + bytes.len())?.copy_from_slice(bytes);
        self.len += bytes.len();
        Some(())
    }
}

/// Seconds since 1900 with 32 bits behind the point (RFC 3550, section 4).
fn ntp(unix: Duration) -> u64 {
    let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
    unix.as_secs().wrapping_add(UNIX_EPOCH_IN_NTP) << 32 | fraction
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(compound: &[u8]) -> Vec<Feedback<'_>> {
        let mut all = Vec::new();
        read(compound, |feedback| all.push(feedback));
        all
    }

    #[test]
    fn a_browsers_compound_is_read_to_its_end() {
        let mut compound = vec![0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 7];
        compound.extend([0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        compound.extend([0x81, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0, 0b101]);
        compound.extend([0, 3, 0, 0]);
        // Transport-wide, and cut off before its numbers.
        compound.extend([0x8f, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4]);
        compound.extend([0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9]);
        let lacks = |seq| Feedback::Lacks { ssrc: 9, seq };
        let mut expected = vec![Feedback::Received { ssrc: 7 }];
        expected.extend([0xffff, 0, 2, 3].map(lacks));
        let (_, cut) = compound.split_last().unwrap();
        assert_eq!(read_all(&compound[..cut.len()]), expected, "what is cut short is not read");
        expected.push(Feedback::NeedsKeyframe);
        assert_eq!(read_all(&compound), expected);
    }

    #[test]
    fn arrivals_are_told_by_the_transport() {
        let mut compound = vec![0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 9];
        compound.extend([0, 7, 0, 2, 0, 0, 1, 0, 0x20, 2, 4, 4]);
        let all = read_all(&compound);
        let [Feedback::Arrivals(arrivals)] = all.as_slice() else { panic!("{all:?}") };
        let mut told = Vec::new();
        arrivals.each(|packet| told.push(packet));
        assert_eq!(told, [Told::Came { number: 7, at: 260 }, Told::Came { number: 8, at: 264 }]);
    }

    #[test]
    fn a_bitrate_is_so_many_bits_and_so_much_longer() {
        let remb = |high: u8, middle: u8, low: u8| {
            let mut compound = vec![0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
            compound.extend(b"REMB");
            compound.extend([1, high, middle, low, 0, 0, 0, 9]);
            compound
        };
        let bitrate = |compound: Vec<u8>| {
            let all = read_all(&compound);
            let [Feedback::Receivable { bitrate }] = all.as_slice() else { panic!("{all:?}") };
            *bitrate
        };
        assert_eq!(bitrate(remb(0, 1, 0)), 256);
        assert_eq!(bitrate(remb(5 << 2 | 3, 0xff, 0xff)), 0x3ffff << 5);
        assert_eq!(bitrate(remb(0xff, 0, 0)), u64::MAX, "more than there are bits");
        assert_eq!(bitrate(remb(0xfc, 0, 0)), 0);
        let mut other = remb(0, 1, 0);
        other[12] = b'r';
        assert_eq!(read_all(&other), [], "something else of the application layer");
        assert_eq!(read_all(&[0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 82, 69, 77, 66]), []);
    }

    #[test]
    fn whoever_has_heard_nothing_yet_has_received_nothing() {
        let mut compound = vec![0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 7];
        compound.extend([0; 20]);
        assert_eq!(read_all(&compound), []);
    }

    #[test]
    fn a_report_says_when_and_how_much_and_for_whom() {
        let report = |ssrc| SenderReport {
            ssrc,
            unix: Duration::from_millis(1_500),
            time: 90_000,
            packets: 3,
            payload_bytes: 300,
        };
        let reports = [report(5), report(6)];
        let mut out = [0xaa; REPORT_BYTES_MAX];
        let len = write_report(reports.iter().copied(), b"abcdefghijklmnop", &mut out).unwrap();
        let expected = [
            [0x80, 200, 0, 6, 0, 0, 0, 5].as_slice(),
            &2_208_988_801u32.to_be_bytes(),
            &0x8000_0000u32.to_be_bytes(),
            &90_000u32.to_be_bytes(),
            &[0, 0, 0, 3, 0, 0, 1, 44],
        ];
        assert_eq!(out[..28], expected.concat());
        assert_eq!(out[28..36], [0x80, 200, 0, 6, 0, 0, 0, 6]);
        let description = &out[56..len];
        assert_eq!(description[..4], [0x82, 202, 0, 12]);
        assert_eq!(description.len(), 4 + 12 * 4);
        assert_eq!(description[4..28], *b"\0\0\0\x05\x01\x10abcdefghijklmnop\0\0");
        assert_eq!(description[28..34], *b"\0\0\0\x06\x01\x10");
        assert!(write_report(reports.iter().copied(), b"abcdefghijklmnop", &mut [0; 80]).is_none());
    }

    proptest! {
        #[test]
        fn nonsense_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes, |_| {});
            for (first, kind) in [(0x81, 205), (0x8f, 205), (0x8f, 206)] {
                let mut framed = vec![first, kind, 0, u8::try_from(bytes.len() / 4).unwrap()];
                framed.extend(&bytes);
                read(&framed, |_| {});
            }
        }

        #[test]
        fn each_number_of_a_nack_is_told_once(first: u16, mask: u16) {
            let [high, low] = first.to_be_bytes();
            let [mask_high, mask_low] = mask.to_be_bytes();
            let nack = [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 9, high, low, mask_high, mask_low];
            let told = read_all(&nack);
            let mut expected = vec![Feedback::Lacks { ssrc: 9, seq: first }];
            for bit in 0..16 {
                if mask & (1 << bit) != 0 {
                    let seq = first.wrapping_add(bit + 1);
                    expected.push(Feedback::Lacks { ssrc: 9, seq });
                }
            }
            prop_assert_eq!(told, expected);
        }
    }
}
