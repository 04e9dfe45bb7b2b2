//! The header of an RTP packet as one peer gets it (RFC 3550, section 5.1), with its extensions
//! (RFC 8285).

use std::time::Duration;

use str0m::media::{Media, Mid};
use str0m::rtp::Extension;

use super::packet::Extensions;

/// What stays the same from packet to packet.
const FIXED_BYTES: usize = 12;
/// Profile and length of the extensions.
const EXTENSIONS_HEAD_BYTES: usize = 4;
/// Room for the longest header there can be: six extensions, one of them a name.
pub(crate) const HEADER_BYTES_MAX: usize = FIXED_BYTES + EXTENSIONS_HEAD_BYTES + 48;

/// One packet's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) pt: u8,
    pub(crate) marker: bool,
    pub(crate) seq: u16,
    pub(crate) time: u32,
    pub(crate) ssrc: u32,
}

/// What is written into the extensions of one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values {
    /// What the publisher said.
    pub(crate) forwarded: Extensions,
    /// The section, for as long as the far side may not know whose the SSRC is (RFC 9143,
    /// section 9.2).
    pub(crate) mid: Option<Mid>,
    /// Counts what the transport carries, over all of its streams.
    pub(crate) transport_count: u16,
    /// Wall time of sending, since 1970.
    pub(crate) sent: Duration,
}

/// The numbers that extensions have in one section of an SDP.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExtensionIds {
    mid: Option<u8>,
    audio_level: Option<u8>,
    absolute_send_time: Option<u8>,
    transport_count: Option<u8>,
    orientation: Option<u8>,
    content_type: Option<u8>,
}

/// Numbers from which on every extension of a packet takes a byte more (RFC 8285, section 4.2).
const NARROW_ID_MAX: u8 = 14;

impl ExtensionIds {
    pub(crate) fn of(media: &Media) -> Self {
        let map = media.remote_extmap();
        Self {
            mid: map.id_of(Extension::RtpMid),
            audio_level: map.id_of(Extension::AudioLevel),
            absolute_send_time: map.id_of(Extension::AbsoluteSendTime),
            transport_count: map.id_of(Extension::TransportSequenceNumber),
            orientation: map.id_of(Extension::VideoOrientation),
            content_type: map.id_of(Extension::VideoContentType),
        }
    }

    pub(crate) fn counts_transport(&self) -> bool {
        self.transport_count.is_some()
    }

    fn are_wide(&self) -> bool {
        let ids = [
            self.mid,
            self.audio_level,
            self.absolute_send_time,
            self.transport_count,
            self.orientation,
            self.content_type,
        ];
        ids.into_iter().flatten().any(|id| id > NARROW_ID_MAX)
    }
}

/// Writes a header to the start of `out`; answers with its length, a multiple of four.
pub(crate) fn write(
    header: &Header,
    ids: &ExtensionIds,
    values: &Values,
    out: &mut [u8; HEADER_BYTES_MAX],
) -> usize {
    let mut writer = Writer { out, len: 0 };
    writer.put(&[0x90, u8::from(header.marker) << 7 | header.pt]);
    writer.put(&header.seq.to_be_bytes());
    writer.put(&header.time.to_be_bytes());
    writer.put(&header.ssrc.to_be_bytes());
    let wide = ids.are_wide();
    writer.put(if wide { &[0x10, 0x00, 0, 0] } else { &[0xbe, 0xde, 0, 0] });
    // Those that every packet has come first, so that they stand in the same place in all of them.
    let [.., high, middle, low] = fixed_point_6_18(values.sent).to_be_bytes();
    writer.element(wide, ids.absolute_send_time, Some(&[high, middle, low]));
    writer.element(wide, ids.transport_count, Some(&values.transport_count.to_be_bytes()));
    let Extensions { audio_level, voice_activity, video_orientation, video_content_type } =
        values.forwarded;
    let level = audio_level.zip(voice_activity);
    let level = level.map(|(level, voice)| [u8::from(voice) << 7 | level.unsigned_abs() & 0x7f]);
    writer.element(wide, ids.audio_level, level.as_ref().map(<[u8; 1]>::as_slice));
    let orientation = video_orientation.map(|orientation| [orientation as u8]);
    writer.element(wide, ids.orientation, orientation.as_ref().map(<[u8; 1]>::as_slice));
    let content_type = video_content_type.map(|content_type| [content_type]);
    writer.element(wide, ids.content_type, content_type.as_ref().map(<[u8; 1]>::as_slice));
    writer.element(wide, ids.mid, values.mid.as_deref().map(str::as_bytes));
    writer.finish()
}

/// Says in a header that the payload ends in padding.
pub(crate) fn mark_padded(header: &mut [u8; HEADER_BYTES_MAX]) {
    const IS_PADDED: u8 = 1 << 5;
    let [first, ..] = header;
    *first |= IS_PADDED;
}

struct Writer<'a> {
    out: &'a mut [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.out.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn element(&mut self, wide: bool, id: Option<u8>, value: Option<&[u8]>) {
        let (Some(id), Some(value)) = (id, value) else { return };
        let Ok(len) = u8::try_from(value.len()) else { return };
        match wide {
            true => self.put(&[id, len]),
            // One less, so that 16 fit in; a value of nothing is none here.
            false if (1..=16).contains(&len) => self.put(&[id << 4 | (len - 1)]),
            false => return,
        }
        self.put(value);
    }

    /// Pads the extensions, and says how long they are.
    fn finish(mut self) -> usize {
        while !self.len.is_multiple_of(4) {
            self.put(&[0]);
        }
        let words = (self.len - FIXED_BYTES - EXTENSIONS_HEAD_BYTES) / 4;
        if let (Ok(words), Some(room)) =
            (u16::try_from(words), self.out.get_mut(FIXED_BYTES + 2..FIXED_BYTES + 4))
        {
            room.copy_from_slice(&words.to_be_bytes());
        }
        self.len
    }
}

/// Seconds with 18 bits behind the point, of 24 in all, as `abs-send-time` has them.
fn fixed_point_6_18(time: Duration) -> u32 {
    let seconds = u32::try_from(time.as_secs() % 64).unwrap_or(0);
    let fraction = (u64::from(time.subsec_nanos()) << 18) / 1_000_000_000;
    seconds << 18 | u32::try_from(fraction).unwrap_or(0)
}
