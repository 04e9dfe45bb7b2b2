//! The header of an RTP packet as one peer gets it (RFC 3550, section 5.1), with its extensions
//! (RFC 8285).

use std::time::Duration;

use str0m::media::{Media, Mid};
use str0m::rtp::Extension;

use super::packet::{Extensions, Kind};

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

/// The names of those that are written here: RFC 9143, section 15, RFC 6464, section 5, two that
/// only libwebrtc documents, 3GPP TS 26.114, section 7.4.5, and one more of libwebrtc.
const URIS: [&str; 6] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:3gpp:video-orientation",
    "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
];

/// Numbers from which on every extension of a packet takes a byte more (RFC 8285, section 4.2).
const NARROW_ID_MAX: u8 = 14;

impl ExtensionIds {
    /// Of what is offered, what is written here and fits the medium. `counts` tells whether the
    /// transport's packets are to be counted.
    pub(crate) fn choose<'a>(
        kind: Kind,
        counts: bool,
        offered: impl Iterator<Item = (u8, &'a str)>,
    ) -> Self {
        let mut ids = Self::default();
        for (id, uri) in offered {
            let slot = URIS.iter().position(|known| *known == uri);
            let slot = slot.and_then(|at| ids.slots().into_iter().nth(at));
            if let Some(slot) = slot {
                slot.get_or_insert(id);
            }
        }
        match kind {
            Kind::Audio => (ids.orientation, ids.content_type) = (None, None),
            Kind::Video => ids.audio_level = None,
        }
        ids.transport_count = ids.transport_count.filter(|_| counts);
        ids
    }

    /// The number and the name of each that is used.
    pub(crate) fn named(mut self) -> impl Iterator<Item = (u8, &'static str)> {
        let slots = self.slots().map(|slot| *slot);
        slots.into_iter().zip(URIS).filter_map(|(slot, uri)| Some((slot?, uri)))
    }

    /// In the order of the names.
    fn slots(&mut self) -> [&mut Option<u8>; 6] {
        [
            &mut self.mid,
            &mut self.audio_level,
            &mut self.absolute_send_time,
            &mut self.transport_count,
            &mut self.orientation,
            &mut self.content_type,
        ]
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use str0m::rtp::VideoOrientation;

    use super::*;

    /// The elements of a header, by number; and whether they are of the wide form.
    type Elements = (bool, Vec<(u8, Vec<u8>)>);

    /// RFC 8285, sections 4.2 and 4.3, to the letter.
    fn elements(extensions: &[u8]) -> Elements {
        let wide = match extensions[..2] {
            [0xbe, 0xde] => false,
            [0x10, 0x00] => true,
            _ => panic!("{extensions:?}"),
        };
        let words = usize::from(u16::from_be_bytes([extensions[2], extensions[3]]));
        assert_eq!(extensions.len(), 4 + words * 4);
        let mut rest = &extensions[4..];
        let mut all = Vec::new();
        while let [first, behind @ ..] = rest {
            if *first == 0 {
                rest = behind;
                continue;
            }
            let (id, len, behind) = match wide {
                true => (*first, usize::from(behind[0]), &behind[1..]),
                false => (first >> 4, usize::from(first & 15) + 1, behind),
            };
            assert!(wide || id < 15, "15 ends a narrow header");
            all.push((id, behind[..len].to_vec()));
            rest = &behind[len..];
        }
        (wide, all)
    }

    fn numbers(ids: &ExtensionIds) -> [Option<u8>; 6] {
        let ExtensionIds {
            mid,
            audio_level,
            absolute_send_time,
            transport_count,
            orientation,
            content_type,
        } = *ids;
        [absolute_send_time, transport_count, audio_level, orientation, content_type, mid]
    }

    /// The elements that there have to be, in no order.
    fn expected(ids: &ExtensionIds, values: &Values) -> Vec<(u8, Vec<u8>)> {
        let Values { forwarded, mid, transport_count, sent } = *values;
        let ticks = sent.as_nanos() * (1 << 18) / 1_000_000_000;
        let time = u32::try_from(ticks % (1 << 24)).unwrap().to_be_bytes()[1..].to_vec();
        let level = forwarded.audio_level.zip(forwarded.voice_activity).map(|(level, voice)| {
            let level = u8::try_from(-i16::from(level)).unwrap();
            vec![if voice { 128 + level } else { level }]
        });
        let turned = |orientation| match orientation {
            VideoOrientation::Deg0 => 0,
            VideoOrientation::Deg90 => 3,
            VideoOrientation::Deg180 => 2,
            VideoOrientation::Deg270 => 1,
        };
        let values = [
            Some(time),
            Some(transport_count.to_be_bytes().to_vec()),
            level,
            forwarded.video_orientation.map(|orientation| vec![turned(orientation)]),
            forwarded.video_content_type.map(|content_type| vec![content_type]),
            mid.map(|mid| mid.to_string().into_bytes()),
        ];
        let both = numbers(ids).into_iter().zip(values);
        both.filter_map(|(id, value)| Some((id?, value?))).collect()
    }

    fn written(header: &Header, ids: &ExtensionIds, values: &Values) -> Vec<u8> {
        let mut out = [0xee; HEADER_BYTES_MAX];
        let len = write(header, ids, values, &mut out);
        out[..len].to_vec()
    }

    fn ids() -> impl Strategy<Value = ExtensionIds> {
        // str0m knows none above 16; browsers number from 1.
        let numbers = prop_oneof![
            Just((1..=14).collect::<Vec<u8>>()),
            Just((1..=16).collect()),
            Just((1..=255).collect()),
        ];
        let some = prop::collection::vec(any::<bool>(), 6);
        (numbers.prop_shuffle(), some).prop_map(|(numbers, some)| {
            let id = |at: usize| some[at].then_some(numbers[at]);
            ExtensionIds {
                mid: id(0),
                audio_level: id(1),
                absolute_send_time: id(2),
                transport_count: id(3),
                orientation: id(4),
                content_type: id(5),
            }
        })
    }

    fn values() -> impl Strategy<Value = Values> {
        let orientation = prop::sample::select(vec![
            VideoOrientation::Deg0,
            VideoOrientation::Deg90,
            VideoOrientation::Deg180,
            VideoOrientation::Deg270,
        ]);
        let forwarded = (
            prop::option::of(-127i8..=0),
            prop::option::of(any::<bool>()),
            prop::option::of(orientation),
            prop::option::of(any::<u8>()),
        );
        let mid = prop::option::of("[a-zA-Z0-9]{1,16}");
        let sent = (0u64..1 << 40, 0u32..1_000_000_000);
        (forwarded, mid, any::<u16>(), sent).prop_map(|(forwarded, mid, count, sent)| {
            let (audio_level, voice_activity, video_orientation, video_content_type) = forwarded;
            let forwarded =
                Extensions { audio_level, voice_activity, video_orientation, video_content_type };
            let mid = mid.as_deref().map(Mid::from);
            Values { forwarded, mid, transport_count: count, sent: Duration::new(sent.0, sent.1) }
        })
    }

    /// Every extension, the longest name, and a number that makes all of them wide.
    #[test]
    fn the_longest_header_fits() {
        let ids = ExtensionIds {
            mid: Some(255),
            audio_level: Some(1),
            absolute_send_time: Some(2),
            transport_count: Some(3),
            orientation: Some(4),
            content_type: Some(5),
        };
        let forwarded = Extensions {
            audio_level: Some(-127),
            voice_activity: Some(true),
            video_orientation: Some(VideoOrientation::Deg270),
            video_content_type: Some(255),
        };
        let mid = Some(Mid::from("0123456789abcdef"));
        let values = Values { forwarded, mid, transport_count: 65_535, sent: Duration::MAX };
        let header = Header { pt: 127, marker: true, seq: 65_535, time: u32::MAX, ssrc: u32::MAX };
        let written = written(&header, &ids, &values);
        assert!(written.len() <= HEADER_BYTES_MAX);
        let (wide, mut elements) = elements(&written[12..]);
        assert!(wide);
        elements.sort_unstable();
        assert_eq!(elements.len(), 6);
        assert_eq!(elements[5], (255, b"0123456789abcdef".to_vec()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            fixed in (0u8..128, any::<bool>(), any::<u16>(), any::<u32>(), any::<u32>()),
            ids in ids(),
            values in values(),
        ) {
            let (pt, marker, seq, time, ssrc) = fixed;
            let written = written(&Header { pt, marker, seq, time, ssrc }, &ids, &values);
            prop_assert!(written.len().is_multiple_of(4) && written.len() <= HEADER_BYTES_MAX);
            let second = if marker { 128 + pt } else { pt };
            let mut fixed = vec![0x90, second];
            fixed.extend(seq.to_be_bytes());
            fixed.extend(time.to_be_bytes());
            fixed.extend(ssrc.to_be_bytes());
            prop_assert_eq!(&written[..12], &fixed);
            let (wide, mut read) = elements(&written[12..]);
            prop_assert_eq!(wide, numbers(&ids).into_iter().flatten().any(|id| id > 14));
            let mut expected = expected(&ids, &values);
            read.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(read, expected);
        }

        /// So that the packets of a run, which have to be of one length, have their bytes in one
        /// place too.
        #[test]
        fn what_every_packet_has_comes_first(ids in ids(), values in values(), seq: u16) {
            let ids = ExtensionIds { transport_count: Some(3), ..ids };
            let header = Header { pt: 96, marker: false, seq, time: 0, ssrc: 1 };
            let (_, elements) = elements(&written(&header, &ids, &values)[12..]);
            let at = usize::from(ids.absolute_send_time.is_some());
            prop_assert_eq!(elements[at].0, 3);
        }
    }
}
