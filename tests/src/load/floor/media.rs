//! The packets of one publisher, as a server would have them to send.

use std::time::Duration;

use super::super::publishers;
use super::{AUDIO_SSRC, TRANSPORT_SEQUENCE, VIDEO_SSRC};
use crate::browser::{Codec, Stamp};

/// A header with the extension that carries the transport's sequence number.
pub(super) const HEAD_BYTES: usize = 20;

const FRAME_INTERVAL: Duration = Duration::from_micros(33_333);
const FRAME_TICKS: u32 = 3_000;
const FRAME_PACKETS: u32 = 9;
const SOUND_INTERVAL: Duration = Duration::from_millis(20);
const SOUND_TICKS: u32 = 960;
/// What makes a payload of video 1 200 bytes long, and one of sound as long as a publisher's.
const VIDEO_FILLER: u16 = 1_172;
const SOUND_FILLER: u16 = 80;
/// The first pictures are key frames, so that no viewer has to ask for one.
const KEY_FRAMES: u32 = 10;
/// What came due longer ago is not sent any more.
const PATIENCE: Duration = Duration::from_secs(1);

const VIDEO_TYPE: u8 = 102;
const AUDIO_TYPE: u8 = 111;
const MARKER: u8 = 0x80;
/// The extension's number, and that it has two bytes (RFC 8285, section 4.2).
const ELEMENT: u8 = TRANSPORT_SEQUENCE << 4 | 1;

/// A packet before it is sealed.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    /// Its sequence number, with the rollovers before it.
    pub(super) index: u64,
}

/// What has become due so far.
#[derive(Debug)]
pub(super) struct Media {
    frame_at: Duration,
    sound_at: Duration,
    frames: u32,
    video: Track,
    audio: Track,
    transport_sequence: u16,
    /// Pictures and sounds that were not sent.
    pub(super) skipped: u64,
}

#[derive(Debug)]
struct Track {
    codec: Codec,
    payload_type: u8,
    ssrc: u32,
    timestamp: u32,
    packets: u32,
    filler: u16,
}

impl Media {
    /// Both streams begin at `start`.
    pub(super) fn new(start: Duration) -> Self {
        let track = |codec, payload_type, ssrc, filler| Track {
            codec,
            payload_type,
            ssrc,
            timestamp: 0,
            packets: 0,
            filler,
        };
        Self {
            frame_at: start,
            sound_at: start,
            frames: 0,
            video: track(Codec::H264, VIDEO_TYPE, VIDEO_SSRC, VIDEO_FILLER),
            audio: track(Codec::Opus, AUDIO_TYPE, AUDIO_SSRC, SOUND_FILLER),
            transport_sequence: 0,
            skipped: 0,
        }
    }

    /// When there is something again.
    pub(super) fn next(&self) -> Duration {
        self.frame_at.min(self.sound_at)
    }

    /// The packets that are due, those of one length one after the other, and the short ones last.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Packet> {
        let mut packets = Vec::new();
        while self.frame_at <= now {
            let due = self.frame_at;
            self.frame_at += FRAME_INTERVAL;
            if due + PATIENCE < now {
                self.skipped += 1;
                continue;
            }
            let key_frame = self.frames < KEY_FRAMES;
            self.frames += 1;
            for nth in 0..FRAME_PACKETS {
                let last = nth + 1 == FRAME_PACKETS;
                let sequence = self.transport_sequence.wrapping_add(1);
                self.transport_sequence = sequence;
                packets.push(self.video.packet(now, sequence, (key_frame, nth == 0, last)));
            }
            self.video.timestamp = self.video.timestamp.wrapping_add(FRAME_TICKS);
        }
        while self.sound_at <= now {
            let due = self.sound_at;
            self.sound_at += SOUND_INTERVAL;
            if due + PATIENCE < now {
                self.skipped += 1;
                continue;
            }
            let sequence = self.transport_sequence.wrapping_add(1);
            self.transport_sequence = sequence;
            packets.push(self.audio.packet(now, sequence, (false, true, false)));
            self.audio.timestamp = self.audio.timestamp.wrapping_add(SOUND_TICKS);
        }
        packets
    }
}

impl Track {
    /// The next packet: of a key frame, the first, the last of its picture?
    fn packet(
        &mut self,
        sent: Duration,
        transport_sequence: u16,
        (key_frame, first, last): (bool, bool, bool),
    ) -> Packet {
        let counter = self.packets;
        self.packets += 1;
        let stamp = Stamp { publisher: publishers::FIRST, counter, sent, key_frame };
        let payload = stamp.payload(self.codec, first, self.filler);
        let marker = if last { MARKER } else { 0 };
        let [.., high, low] = counter.to_be_bytes();
        let mut bytes = vec![0x90, marker | self.payload_type, high, low];
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend([0xbe, 0xde, 0, 1, ELEMENT]);
        bytes.extend(transport_sequence.to_be_bytes());
        bytes.push(0);
        bytes.extend(payload);
        Packet { bytes, index: counter.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_packets_are_due_as_a_publisher_sends() {
        let mut media = Media::new(Duration::ZERO);
        let (mut packets, mut now) = (Vec::new(), Duration::ZERO);
        while now < Duration::from_secs(10) {
            packets.extend(media.due(now));
            now = media.next();
        }
        // 30.0003 pictures a second.
        let video = |packet: &&Packet| packet.bytes[1] & 0x7f == VIDEO_TYPE;
        let (pictures, sounds) = (packets.iter().filter(video).count(), 500);
        assert_eq!((pictures, packets.len()), (9 * 301, 9 * 301 + sounds));
        let full = packets.iter().filter(|packet| packet.bytes.len() == HEAD_BYTES + 1_200);
        assert_eq!(full.count(), 9 * 301 - KEY_FRAMES as usize * 9);
        assert_eq!(media.skipped, 0);
    }

    #[test]
    fn what_is_late_comes_at_once_and_what_is_too_late_not_at_all() {
        let mut media = Media::new(Duration::ZERO);
        media.due(Duration::ZERO);
        let late = media.due(Duration::from_millis(100));
        let lengths: Vec<usize> = late.iter().map(|packet| packet.bytes.len()).collect();
        assert_eq!(lengths.len(), 3 * 9 + 5);
        assert!(lengths[27..].iter().all(|length| *length < 200), "{lengths:?}");
        media.due(Duration::from_secs(3));
        assert!(media.skipped > 50, "{}", media.skipped);
        assert!(media.next() > Duration::from_secs(3));
    }
}
