//! What a viewer got to see.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::payload::{Codec, Stamp};

/// How long a packet may be overtaken, or on its way again.
pub(super) const OVERDUE: Duration = Duration::from_millis(500);

/// One RTP packet, as it came out of SRTP and retransmission.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// When, on the stand-in's clock.
    pub at: Duration,
    /// Sequence number, extended by the rollovers (RFC 3711, section 3.3.1).
    pub sequence: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// The marker bit: last packet of a frame.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Whether a key frame begins here, by the codec's own headers.
    pub key_frame: bool,
    /// Where it came from; `None` if the payload is not what any publisher sent.
    pub stamp: Option<Stamp>,
}

/// Everything that came in on one m-line, in order of arrival.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// What the answer named.
    pub codec: Codec,
    /// When the transport was up, on the stand-in's clock. What was sent before may be lost: no
    /// browser keeps it until it has the keys.
    pub up: Duration,
    /// In order of arrival.
    pub packets: Vec<Packet>,
}

impl Track {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec, up: Duration::ZERO, packets: Vec::new() }
    }

    /// Sequence numbers that are overdue: ones before were sent when the transport was up, and
    /// later ones came half a second ago.
    pub fn gaps(&self) -> Vec<u64> {
        let got: BTreeSet<u64> = self.packets.iter().map(|packet| packet.sequence).collect();
        let newest = self.packets.iter().map(|packet| packet.at).max().unwrap_or_default();
        let settled = self.packets.iter().filter(|packet| packet.at + OVERDUE <= newest);
        let fair = |packet: &&Packet| packet.stamp.is_some_and(|stamp| stamp.sent >= self.up);
        let first = self.packets.iter().filter(fair).map(|packet| packet.sequence).min();
        match (first, settled.map(|packet| packet.sequence).max()) {
            (Some(first), Some(last)) => {
                (first..=last).filter(|sequence| !got.contains(sequence)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The publishers whose packets came, in order of first appearance, and when that was.
    pub fn publishers(&self) -> Vec<(u32, Duration)> {
        let mut publishers: Vec<(u32, Duration)> = Vec::new();
        for packet in &self.packets {
            let Some(stamp) = packet.stamp else { continue };
            if publishers.iter().all(|(other, _)| *other != stamp.publisher) {
                publishers.push((stamp.publisher, packet.at));
            }
        }
        publishers
    }

    /// Video packets before the first key frame, which a decoder throws away.
    pub fn before_key_frame(&self) -> usize {
        let first = self.packets.iter().position(|packet| packet.key_frame);
        if self.codec.is_video() { first.unwrap_or(self.packets.len()) } else { 0 }
    }

    /// What is wrong with what came: altered payloads, two payloads under one sequence number,
    /// sequence or timestamp out of step with the publisher's order, a changed SSRC. Empty when a
    /// jitter buffer would be content.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut by_sequence: BTreeMap<u64, &Packet> = BTreeMap::new();
        for packet in &self.packets {
            if packet.stamp.is_none() {
                faults.push(format!("{} carries an altered payload", packet.sequence));
            }
            if let Some(other) = by_sequence.insert(packet.sequence, packet)
                && (other.stamp, other.timestamp) != (packet.stamp, packet.timestamp)
            {
                faults.push(format!("{} came twice with different contents", packet.sequence));
            }
        }
        let ssrcs: BTreeSet<u32> = self.packets.iter().map(|packet| packet.ssrc).collect();
        if ssrcs.len() > 1 {
            faults.push(format!("SSRC changed: {ssrcs:?}"));
        }
        let ordered: Vec<&Packet> = by_sequence.into_values().collect();
        for pair in ordered.windows(2) {
            if let [before, after] = pair {
                faults.extend(misstep(before, after));
                faults.extend(self.misframed(before, after));
            }
        }
        faults
    }
}

impl Track {
    /// What is wrong with how two packets of a picture are marked: the last one of a frame is, and
    /// no other (RFC 7741, section 4.1, and RFC 6184, section 5.1).
    fn misframed(&self, before: &Packet, after: &Packet) -> Option<String> {
        let (Some(sent), Some(then)) = (before.stamp, after.stamp) else { return None };
        let follows = (sent.publisher, sent.counter + 1) == (then.publisher, then.counter);
        let next = after.sequence == before.sequence + 1 && follows;
        let ends = after.timestamp != before.timestamp;
        let wrong = self.codec.is_video() && next && before.marker != ends;
        wrong.then(|| format!("{} is marked {}", before.sequence, before.marker))
    }
}

/// What is wrong between two packets that follow each other by sequence number.
fn misstep(before: &Packet, after: &Packet) -> Option<String> {
    let (Some(sent_before), Some(sent_after)) = (before.stamp, after.stamp) else {
        return None;
    };
    let ahead = after.timestamp.wrapping_sub(before.timestamp);
    if ahead > u32::MAX / 2 {
        return Some(format!("timestamp runs back at {}", after.sequence));
    }
    if sent_before.publisher != sent_after.publisher {
        return None;
    }
    if sent_after.counter <= sent_before.counter {
        return Some(format!("{} is older than the one before it", after.sequence));
    }
    None
}
