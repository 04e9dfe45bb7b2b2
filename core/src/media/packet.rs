//! The RTP packet on its way from a publisher to the viewers.

use std::sync::Arc;
use std::time::Instant;

use str0m::media::MediaKind;
use str0m::rtp::{ExtensionValues, VideoOrientation};

/// One RTP packet, decrypted, without what concerns a single hop: SSRC, payload type, transport
/// sequence number, media id.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) kind: Kind,
    /// Counts the publishers that the stream has had: within one run, sequence numbers and time
    /// stamps belong together; from one run to the next they have nothing in common.
    pub(crate) run: u32,
    /// The publisher's sequence number, extended over its roll-overs.
    pub(crate) seq: u64,
    /// The publisher's time stamp, in the codec's clock.
    pub(crate) time: u32,
    pub(crate) marker: bool,
    /// Whether a decoder can begin here.
    pub(crate) entry: bool,
    pub(crate) extensions: Extensions,
    pub(crate) payload: Arc<[u8]>,
    /// When it came in at this node.
    pub(crate) arrived: Instant,
}

/// Sound or picture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Audio,
    Video,
}

impl From<MediaKind> for Kind {
    fn from(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self::Audio,
            MediaKind::Video => Self::Video,
        }
    }
}

/// The header extensions that mean the same at every hop (RFC 8285 leaves their numbers to each).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extensions {
    /// RFC 6464
    pub(super) audio_level: Option<i8>,
    /// RFC 6464
    pub(super) voice_activity: Option<bool>,
    /// 3GPP TS 26.114, section 7.4.5
    pub(super) video_orientation: Option<VideoOrientation>,
    /// Whether the picture shows a screen.
    pub(super) video_content_type: Option<u8>,
}

impl Extensions {
    pub(crate) fn of(values: &ExtensionValues) -> Self {
        Self {
            audio_level: values.audio_level,
            voice_activity: values.voice_activity,
            video_orientation: values.video_orientation,
            video_content_type: values.video_content_type,
        }
    }

    #[cfg(test)]
    pub(crate) fn values(self) -> ExtensionValues {
        ExtensionValues {
            audio_level: self.audio_level,
            voice_activity: self.voice_activity,
            video_orientation: self.video_orientation,
            video_content_type: self.video_content_type,
            ..ExtensionValues::default()
        }
    }
}
