//! Publishers, and the numbers that a viewer's packets have to have, by a look at all that came.

use std::sync::Arc;
use std::time::Instant;

use super::orientation;
use crate::media::Packet;
use crate::media::packet::{Extensions, Kind};

/// A packet that has to go out, its number counted from that of the first one of its medium.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    pub(super) kind: Kind,
    pub(super) run: u32,
    pub(super) seq: u64,
    pub(super) time: u32,
    pub(super) marker: bool,
    pub(super) extensions: Extensions,
    pub(super) payload: Arc<[u8]>,
}

/// A publisher of both media.
#[derive(Clone)]
pub(super) struct Publisher {
    pub(super) now: Instant,
    start: Instant,
    run: u32,
    seqs: [u64; 2],
    times: [u32; 2],
    count: u8,
}

impl Publisher {
    pub(super) fn new(now: Instant) -> Self {
        let (seqs, times) = ([700, 65_530], [u32::MAX - 5_000, 12_345]);
        Self { now, start: now, run: 1, seqs, times, count: 0 }
    }

    pub(super) fn another(&self) -> Self {
        let (seqs, times) = ([65_535, 3], [9, u32::MAX - 99]);
        Self { run: self.run + 1, start: self.now, seqs, times, ..self.clone() }
    }

    pub(super) fn skip(&mut self, packets: u64) {
        self.seqs = self.seqs.map(|seq| seq + packets);
    }

    pub(super) fn picture(&mut self, packets: u8, len: usize, entry: bool) -> Vec<Packet> {
        let last = packets - 1;
        let packet = |nth| {
            let extensions = Extensions {
                video_orientation: (nth == last).then(|| orientation(self.seqs[1])),
                video_content_type: (nth == 0).then_some(1),
                ..Extensions::default()
            };
            let marked = (nth == last, entry && nth == 0);
            self.packet(Kind::Video, marked, extensions, len)
        };
        (0..packets).map(packet).collect()
    }

    pub(super) fn sound(&mut self, len: usize) -> Vec<Packet> {
        let level = i8::try_from(self.seqs[0] % 128).unwrap();
        let extensions = Extensions {
            audio_level: Some(-level),
            voice_activity: Some(level % 3 == 0),
            ..Extensions::default()
        };
        vec![self.packet(Kind::Audio, (level % 5 == 0, true), extensions, len)]
    }

    fn packet(
        &mut self,
        kind: Kind,
        (marker, entry): (bool, bool),
        extensions: Extensions,
        len: usize,
    ) -> Packet {
        let (at, rate) = if kind == Kind::Audio { (0, 48) } else { (1, 90) };
        self.seqs[at] += 1;
        self.count = self.count.wrapping_add(1);
        let ms = u32::try_from((self.now - self.start).as_millis()).unwrap();
        Packet {
            kind,
            run: self.run,
            seq: self.seqs[at],
            time: self.times[at].wrapping_add(ms * rate),
            marker,
            entry,
            extensions,
            payload: Arc::from(vec![self.count; len]),
            arrived: self.now,
        }
    }
}

/// What of this has to go to a viewer that was there before all of it.
pub(super) fn numbered(all: &[Packet]) -> Vec<Numbered> {
    let mut sent: Vec<(&Packet, Numbered)> = Vec::new();
    for (at, packet) in all.iter().enumerate() {
        let of_kind = |other: &&(&Packet, Numbered)| other.0.kind == packet.kind;
        let last = sent.iter().rev().find(of_kind).map(|(last, _)| last.run);
        if last.is_some_and(|run| run > packet.run) || (last != Some(packet.run) && !packet.entry) {
            continue;
        }
        let enters = last != Some(packet.run);
        number(&mut sent, packet);
        if enters && packet.kind == Kind::Video {
            // Those that overtook its start.
            let before = &all[at.saturating_sub(128)..at];
            let overtook = |other: &&Packet| {
                other.kind == packet.kind && other.run == packet.run && other.seq > packet.seq
            };
            before.iter().filter(overtook).for_each(|other| number(&mut sent, other));
        }
    }
    sent.into_iter().map(|(_, numbered)| numbered).collect()
}

/// Gives the packet its numbers, unless it is of before its run began for the viewer.
fn number<'p>(sent: &mut Vec<(&'p Packet, Numbered)>, packet: &'p Packet) {
    let of_kind = || sent.iter().filter(|(other, _)| other.kind == packet.kind);
    let first = of_kind().find(|(other, _)| other.run == packet.run);
    let newest = of_kind().max_by_key(|(_, given)| given.seq);
    let (seq, time) = match (first, newest) {
        (Some((first, given)), _) if packet.seq >= first.seq => {
            let passed = packet.time.wrapping_sub(first.time);
            (given.seq + (packet.seq - first.seq), given.time.wrapping_add(passed))
        }
        (Some(_), _) => return,
        (None, Some((newest, given))) => {
            let rate = if packet.kind == Kind::Audio { 48 } else { 90 };
            let ms = u32::try_from((packet.arrived - newest.arrived).as_millis()).unwrap();
            (given.seq + 1, given.time.wrapping_add((ms * rate).max(1)))
        }
        (None, None) => (0, packet.time),
    };
    let Packet { kind, run, marker, extensions, ref payload, .. } = *packet;
    let payload = payload.clone();
    sent.push((packet, Numbered { kind, run, seq, time, marker, extensions, payload }));
}
