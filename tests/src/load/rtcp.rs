//! What a viewer says by RTCP, as browsers do, and what it takes from what it is told.

use super::track::Block;

/// The SSRC of a browser that only receives.
const SENDER: u32 = 1;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

const NACK: u8 = 1;
const PLI: u8 = 1;
const TRANSPORT_WIDE: u8 = 15;
const APPLICATION_LAYER: u8 = 15;

/// Ticks of 250 us, in which arrivals are told, and those in a unit of the reference time.
const TICK_MICROS: u64 = 250;
const REFERENCE_TICKS: u64 = 256;
/// Packets that one feedback reports at most; a longer silence starts it anew.
const SPAN_MAX: u16 = 1_000;

/// A receiver report (RFC 3550, section 6.4.2).
pub(super) fn receiver_report(out: &mut Vec<u8>, blocks: &[Block]) {
    let count = u8::try_from(blocks.len().min(31)).unwrap_or_default();
    packet(out, count, RECEIVER_REPORT, |out| {
        out.extend(SENDER.to_be_bytes());
        for block in blocks.iter().take(31) {
            out.extend(block.ssrc.to_be_bytes());
            out.extend((u32::from(block.fraction_lost) << 24 | block.lost).to_be_bytes());
            for word in [block.newest, block.jitter, block.last_report, block.since_report] {
                out.extend(word.to_be_bytes());
            }
        }
    });
}

/// A request for packets that are missing (RFC 4585, section 6.2.1), in order.
pub(super) fn nack(out: &mut Vec<u8>, ssrc: u32, mut missing: &[u16]) {
    packet(out, NACK, TRANSPORT_FEEDBACK, |out| {
        out.extend(SENDER.to_be_bytes());
        out.extend(ssrc.to_be_bytes());
        while let [first, rest @ ..] = missing {
            let follow = |other: &&u16| (1..=16).contains(&other.wrapping_sub(*first));
            let following = rest.iter().take_while(follow).count();
            let (near, far) = rest.split_at(following);
            let mask =
                near.iter().fold(0_u16, |mask, other| mask | 1 << (other.wrapping_sub(*first) - 1));
            out.extend(first.to_be_bytes());
            out.extend(mask.to_be_bytes());
            missing = far;
        }
    });
}

/// A request for a key frame (RFC 4585, section 6.3.1).
pub(super) fn pli(out: &mut Vec<u8>, ssrc: u32) {
    packet(out, PLI, PAYLOAD_FEEDBACK, |out| {
        out.extend(SENDER.to_be_bytes());
        out.extend(ssrc.to_be_bytes());
    });
}

/// What the line is thought to carry, in bit/s (draft-alvestrand-rmcat-remb), for these SSRCs.
pub(super) fn estimate(out: &mut Vec<u8>, bitrate: u64, ssrcs: &[u32]) {
    packet(out, APPLICATION_LAYER, PAYLOAD_FEEDBACK, |out| {
        // A mantissa of 18 bits, and how far it is shifted.
        let shift = u64::BITS.saturating_sub(bitrate.leading_zeros()).saturating_sub(18);
        let mantissa = u32::try_from(bitrate >> shift).unwrap_or_default();
        let count = u8::try_from(ssrcs.len()).unwrap_or_default();
        out.extend(SENDER.to_be_bytes());
        out.extend(0_u32.to_be_bytes());
        out.extend(b"REMB");
        out.extend((u32::from(count) << 24 | shift << 18 | mantissa).to_be_bytes());
        for ssrc in ssrcs.iter().take(usize::from(count)) {
            out.extend(ssrc.to_be_bytes());
        }
    });
}

/// Feedback on when packets came (draft-holmer-rmcat-transport-wide-cc-extensions-01): collects
/// and reports.
#[derive(Debug, Default)]
pub(super) struct TransportFeedback {
    /// Sequence numbers and microseconds, in order of arrival.
    arrived: Vec<(u16, u64)>,
    /// What follows the last packet that was reported.
    next: Option<u16>,
    reports: u8,
}

impl TransportFeedback {
    pub(super) fn arrive(&mut self, sequence: u16, micros: u64) {
        self.arrived.push((sequence, micros));
    }

    /// Whether anything arrived since the last report.
    pub(super) fn is_due(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Reports what arrived since the last time. `ssrc` is any that came with it. Tells whether
    /// there was anything to report.
    pub(super) fn report(&mut self, out: &mut Vec<u8>, ssrc: u32) -> bool {
        let Some((first, micros)) = self.arrived.first().copied() else { return false };
        // What is missing before the first one is told as missing.
        let base = self.next.filter(|next| first.wrapping_sub(*next) < SPAN_MAX).unwrap_or(first);
        let offset = |sequence: u16| sequence.wrapping_sub(base);
        self.arrived.retain(|(sequence, _)| offset(*sequence) < SPAN_MAX);
        self.arrived.sort_by_key(|(sequence, _)| offset(*sequence));
        self.arrived.dedup_by_key(|(sequence, _)| *sequence);
        let last = self.arrived.last().map_or(0, |(sequence, _)| offset(*sequence));

        let earliest = self.arrived.iter().map(|(_, micros)| *micros).min().unwrap_or(micros);
        let reference = earliest / TICK_MICROS / REFERENCE_TICKS;
        let mut ticks = reference * REFERENCE_TICKS;
        let mut symbols = vec![0_u16; usize::from(last) + 1];
        let mut deltas = Vec::with_capacity(2 * self.arrived.len());
        for (sequence, micros) in &self.arrived {
            let at = micros / TICK_MICROS;
            let delta = at.cast_signed() - ticks.cast_signed();
            let Some(symbol) = symbols.get_mut(usize::from(offset(*sequence))) else { continue };
            if let Ok(small) = u8::try_from(delta) {
                *symbol = 1;
                deltas.push(small);
            } else if let Ok(large) = i16::try_from(delta) {
                *symbol = 2;
                deltas.extend(large.to_be_bytes());
            } else {
                // Eight seconds apart: that one is of no use to anybody any more.
                continue;
            }
            ticks = at;
        }
        self.write(out, ssrc, base, reference, &symbols, &deltas);
        self.reports = self.reports.wrapping_add(1);
        self.next = Some(base.wrapping_add(last).wrapping_add(1));
        self.arrived.clear();
        true
    }

    fn write(
        &self,
        out: &mut Vec<u8>,
        ssrc: u32,
        base: u16,
        reference: u64,
        symbols: &[u16],
        deltas: &[u8],
    ) {
        packet(out, TRANSPORT_WIDE, TRANSPORT_FEEDBACK, |out| {
            out.extend(SENDER.to_be_bytes());
            out.extend(ssrc.to_be_bytes());
            out.extend(base.to_be_bytes());
            let count = u16::try_from(symbols.len()).unwrap_or(SPAN_MAX);
            out.extend(count.to_be_bytes());
            let [.., a, b, c] = reference.to_be_bytes();
            out.extend([a, b, c, self.reports]);
            // Seven symbols of two bits each.
            for seven in symbols.chunks(7) {
                let shifted = seven.iter().zip([12, 10, 8, 6, 4, 2, 0]);
                let chunk = shifted.fold(0xc000, |chunk, (symbol, shift)| chunk | symbol << shift);
                out.extend(u16::to_be_bytes(chunk));
            }
            out.extend(deltas);
        });
    }
}

/// A packet whose body `write` appends, padded to words.
fn packet(out: &mut Vec<u8>, count: u8, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0x80 | count, kind, 0, 0]);
    write(out);
    let padding = (4 - (out.len() - start) % 4) % 4;
    if padding > 0 {
        out.resize(out.len() + padding - 1, 0);
        out.push(u8::try_from(padding).unwrap_or_default());
    }
    let words = u16::try_from((out.len() - start) / 4 - 1).unwrap_or(u16::MAX);
    if let Some([first, _, high, low, ..]) = out.get_mut(start..) {
        *first |= if padding > 0 { 0x20 } else { 0 };
        [*high, *low] = words.to_be_bytes();
    }
}

/// The SSRC and the middle of the NTP time of each sender report in a compound packet.
pub(super) fn sender_reports(mut compound: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    std::iter::from_fn(move || {
        loop {
            let [_, kind, high, low, ..] = compound else { return None };
            let length = 4 * (usize::from(u16::from_be_bytes([*high, *low])) + 1);
            let (packet, rest) = compound.split_at_checked(length)?;
            compound = rest;
            if *kind == SENDER_REPORT {
                let ssrc = packet.get(4..)?.first_chunk()?;
                let middle = packet.get(10..)?.first_chunk()?;
                return Some((u32::from_be_bytes(*ssrc), u32::from_be_bytes(*middle)));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packets_share_a_mask_where_they_are_near() {
        let mut out = Vec::new();
        nack(&mut out, 7, &[65_535, 0, 15, 16, 40]);
        let entries: Vec<u8> =
            [0xffff, 0x8001_u16, 16, 0, 40, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(out[..12], [0x81, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 7]);
        assert_eq!(out[12..], entries);
    }

    #[test]
    fn an_estimate_fits_into_its_18_bits() {
        for (bitrate, told) in [
            (0, [2, 0, 0, 0]),
            (0x3_ffff, [2, 0x03, 0xff, 0xff]),
            (0x4_0000, [2, 0x06, 0, 0]),
            (3_900_000, [2, 0x13, 0xb8, 0x26]),
        ] {
            let mut out = Vec::new();
            estimate(&mut out, bitrate, &[7, 9]);
            assert_eq!(out[..12], [0x8f, 206, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0]);
            assert_eq!(out[12..16], *b"REMB");
            assert_eq!(out[16..20], told, "{bitrate}");
            assert_eq!(out[20..], [0, 0, 0, 7, 0, 0, 0, 9]);
        }
    }

    #[test]
    fn feedback_goes_on_where_it_ended() {
        let mut feedback = TransportFeedback::default();
        let mut out = Vec::new();
        assert!(!feedback.report(&mut out, 7));
        feedback.arrive(65_534, 64_000);
        feedback.arrive(65_535, 64_500);
        assert!(feedback.report(&mut out, 7));
        assert_eq!(out[..4], [0x8f, TRANSPORT_FEEDBACK, 0, 5]);
        // Two symbols, two ticks apart.
        assert_eq!(out[12..], [0xff, 0xfe, 0, 2, 0, 0, 1, 0, 0xd4, 0, 0, 2]);
        out.clear();
        // 0 is missing, 3 came before 2, and much later.
        feedback.arrive(1, 128_000);
        feedback.arrive(3, 328_000);
        feedback.arrive(2, 328_250);
        assert!(feedback.report(&mut out, 7));
        // Padded, as the first byte says, to 7 words.
        assert_eq!(out[..4], [0xaf, TRANSPORT_FEEDBACK, 0, 6]);
        assert_eq!(out[12..20], [0, 0, 0, 4, 0, 0, 2, 1]);
        assert_eq!(out[20..], [0xc6, 0x80, 0, 3, 0x21, 0xff, 0xff, 1]);
    }

    #[test]
    fn sender_reports_are_found_among_others() {
        let mut compound = Vec::new();
        pli(&mut compound, 9);
        compound.extend([0x80, SENDER_REPORT, 0, 6, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8]);
        compound.extend([0; 12]);
        let found: Vec<_> = sender_reports(&compound).collect();
        assert_eq!(found, [(5, 0x0304_0506)]);
        compound.truncate(20);
        assert_eq!(sender_reports(&compound).count(), 0);
    }
}
