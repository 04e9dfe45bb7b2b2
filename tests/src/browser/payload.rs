//! RTP payloads that look like VP8, H.264 and Opus to whoever forwards them, and that tell whoever
//! receives them where they came from.

use std::time::Duration;

/// How a track is encoded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Codec {
    /// VP8 (RFC 7741).
    Vp8,
    /// H.264, packetization mode 1 (RFC 6184).
    H264,
    /// Opus (RFC 7587).
    Opus,
}

impl Codec {
    /// Whether it encodes pictures.
    pub fn is_video(self) -> bool {
        match self {
            Self::Vp8 | Self::H264 => true,
            Self::Opus => false,
        }
    }

    /// Ticks of an RTP timestamp in a second.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Vp8 | Self::H264 => 90_000,
            Self::Opus => 48_000,
        }
    }
}

/// What every payload carries: who sent it, as which packet of the track, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The publisher's number.
    pub publisher: u32,
    /// Packets of this track that were sent before.
    pub counter: u32,
    /// Time since the stand-in's clock began.
    pub sent: Duration,
    /// Whether the packet begins a key frame.
    pub key_frame: bool,
}

const MAGIC: [u8; 4] = *b"dtry";
/// Magic, publisher, counter, microseconds, key frame, length of what follows, checksum.
const STAMP_BYTES: usize = 4 + 4 + 4 + 8 + 1 + 2 + 4;

impl Stamp {
    /// Makes a payload of `codec` around this stamp, `filler` bytes longer than it must be.
    ///
    /// `first` says whether the packet is the first one of its frame.
    pub fn payload(&self, codec: Codec, first: bool, filler: u16) -> Vec<u8> {
        let mut payload = header(codec, self.key_frame, first, self.counter);
        let start = payload.len();
        payload.extend_from_slice(&MAGIC);
        payload.extend_from_slice(&self.publisher.to_be_bytes());
        payload.extend_from_slice(&self.counter.to_be_bytes());
        let micros = u64::try_from(self.sent.as_micros()).unwrap_or(u64::MAX);
        payload.extend_from_slice(&micros.to_be_bytes());
        payload.push(u8::from(self.key_frame));
        payload.extend_from_slice(&filler.to_be_bytes());
        let body = payload.len();
        // The filler depends on the counter, so that two packets cannot be mixed unnoticed.
        let pattern = self.counter.to_be_bytes();
        payload.extend(pattern.into_iter().cycle().take(usize::from(filler)));
        let sum = checksum(payload.get(start..).unwrap_or_default());
        payload.splice(body..body, sum.to_be_bytes());
        payload
    }

    /// Finds the stamp in a payload; `None` when there is none or any of its bytes changed.
    pub fn find(payload: &[u8]) -> Option<Self> {
        let start = payload.windows(MAGIC.len()).position(|window| window == MAGIC)?;
        let stamp = payload.get(start..)?;
        let (head, filler) = stamp.split_at_checked(STAMP_BYTES)?;
        let (fields, sum) = head.split_last_chunk::<4>()?;
        let filler_bytes = u16::from_be_bytes(fields.last_chunk().copied()?);
        let filler = filler.get(..usize::from(filler_bytes))?;
        let whole: Vec<u8> = fields.iter().chain(filler).copied().collect();
        if checksum(&whole) != u32::from_be_bytes(*sum) || filler.len() + STAMP_BYTES != stamp.len()
        {
            return None;
        }
        Some(Self {
            publisher: u32::from_be_bytes(fields.get(4..8)?.try_into().ok()?),
            counter: u32::from_be_bytes(fields.get(8..12)?.try_into().ok()?),
            sent: Duration::from_micros(u64::from_be_bytes(fields.get(12..20)?.try_into().ok()?)),
            key_frame: *fields.get(20)? == 1,
        })
    }
}

/// Tells whether a payload begins a key frame, judged as a decoder would: by the codec's own
/// headers and not by the stamp.
pub fn begins_key_frame(codec: Codec, payload: &[u8]) -> bool {
    match (codec, payload) {
        // X and S set, a 15-bit picture id; the lowest bit of the frame tag is 0 in a key frame.
        (Codec::Vp8, [descriptor, extension, _, _, tag, ..]) => {
            descriptor & 0x90 == 0x90 && extension & 0x80 == 0x80 && tag & 1 == 0
        }
        // STAP-A whose first unit is a sequence parameter set.
        (Codec::H264, [unit, _, _, first, ..]) => unit & 0x1f == 24 && first & 0x1f == 7,
        (Codec::Vp8 | Codec::H264 | Codec::Opus, _) => false,
    }
}

fn header(codec: Codec, key_frame: bool, first: bool, counter: u32) -> Vec<u8> {
    match codec {
        Codec::Vp8 => {
            let [.., high, low] = counter.to_be_bytes();
            let descriptor = if first { 0x90 } else { 0x80 };
            let mut bytes = vec![descriptor, 0x80, 0x80 | high, low];
            match (first, key_frame) {
                // Frame tag, start code, 320 by 240 (RFC 6386, section 9.1).
                (true, true) => {
                    bytes.extend([0x10, 0x02, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0]);
                }
                (true, false) => bytes.extend([0x11, 0x02, 0]),
                (false, _) => {}
            }
            bytes
        }
        Codec::H264 => match (first, key_frame) {
            // STAP-A: SPS and PPS of baseline 3.1 at 320 by 240, then an IDR slice in the rest.
            (true, true) => {
                let sps = [0x67, 0x42, 0xe0, 0x1f, 0xda, 0x05, 0x07, 0xe8];
                let pps = [0x68, 0xce, 0x3c, 0x80];
                let mut bytes = vec![0x78, 0, 8];
                bytes.extend(sps);
                bytes.extend([0, 4]);
                bytes.extend(pps);
                bytes.extend([0, 0, 0x65]);
                bytes
            }
            // FU-A, middle of an IDR slice.
            (false, true) => vec![0x7c, 0x05],
            (_, false) => vec![0x61],
        },
        // Hybrid fullband, 20 ms, stereo, one frame (RFC 6716, section 3.1).
        Codec::Opus => vec![0x7c],
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_every_codec_and_no_change_survives_the_stamp() {
        for codec in [Codec::Vp8, Codec::H264, Codec::Opus] {
            for (first, key_frame) in [(true, true), (true, false), (false, true), (false, false)] {
                let stamp = Stamp {
                    publisher: 7,
                    counter: 300,
                    sent: Duration::from_micros(123_456_789),
                    key_frame,
                };
                let mut payload = stamp.payload(codec, first, 200);
                assert_eq!(Stamp::find(&payload), Some(stamp), "{codec:?}");
                let key = codec.is_video() && first && key_frame;
                assert_eq!(begins_key_frame(codec, &payload), key, "{codec:?}");
                for at in payload.len() - 227..payload.len() {
                    payload[at] ^= 0x10;
                    assert_ne!(Stamp::find(&payload), Some(stamp), "{codec:?} byte {at}");
                    payload[at] ^= 0x10;
                }
                payload.pop();
                assert_eq!(Stamp::find(&payload), None, "{codec:?} truncated");
            }
        }
    }
}
