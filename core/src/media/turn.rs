//! One viewer's turn to send: what it is sent becomes datagrams of one run.

use std::time::{Duration, Instant};

use str0m::media::Mid;

use super::header::{self, ExtensionIds, HEADER_BYTES_MAX, Header, Values};
use super::history::History;
use super::ingest::PAYLOAD_BYTES_MAX;
use super::packet::{Kind, Packet};
use super::runs::RunWriter;
use super::srtp::Srtp;
use crate::limits::Limits;

/// Packets that differ by at most so many bytes are made equal, so that they go in one run. An
/// encoder cuts a picture into packets of nearly the same length.
const PADDING_BYTES_MAX: usize = 8;

/// One viewer's turn to send.
pub(crate) struct Turn<'t, 'b> {
    pub(crate) now: Instant,
    pub(crate) unix: Duration,
    pub(crate) limits: &'t Limits,
    pub(crate) history: &'t History,
    pub(crate) srtp: &'t mut Srtp,
    pub(crate) run: &'t mut RunWriter<'b>,
    /// The payload's length that the first packets of the run are brought to.
    pub(crate) even: usize,
}

impl Turn<'_, '_> {
    pub(crate) fn values(&self, packet: &Packet, mid: Option<Mid>, transport_count: u16) -> Values {
        Values { forwarded: packet.extensions, mid, transport_count, sent: self.unix }
    }

    /// Adds a packet to the run. Tells whether it fitted in.
    pub(crate) fn seal(
        &mut self,
        header: &Header,
        index: u64,
        ids: &ExtensionIds,
        values: &Values,
        payload: &[u8],
    ) -> bool {
        let mut head = [0; HEADER_BYTES_MAX];
        let head_bytes = header::write(header, ids, values, &mut head);
        let padding = self.even.saturating_sub(payload.len());
        if (1..=PADDING_BYTES_MAX).contains(&padding) {
            let mut evened = [0; PAYLOAD_BYTES_MAX + PADDING_BYTES_MAX];
            header::mark_padded(&mut head);
            let padded = pad(payload, padding, &mut evened);
            return padded.is_some_and(|it| self.put(&head, head_bytes, it, header.ssrc, index));
        }
        self.put(&head, head_bytes, payload, header.ssrc, index)
    }

    /// Brings the payloads from here on to one length, as far as they can be: see [`evened`].
    pub(crate) fn even_out(&mut self, cursor: u64, first: &Packet) {
        if self.run.is_empty() && first.kind == Kind::Video {
            self.even = evened(self.history, cursor, first.payload.len());
        }
    }

    fn put(
        &mut self,
        head: &[u8; HEADER_BYTES_MAX],
        head_bytes: usize,
        payload: &[u8],
        ssrc: u32,
        index: u64,
    ) -> bool {
        let len = head_bytes + payload.len() + self.srtp.rtp_seal_bytes();
        let Some(room) = self.run.room(len) else { return false };
        if let (Some(to), Some(from)) = (room.get_mut(..head_bytes), head.get(..head_bytes)) {
            to.copy_from_slice(from);
        }
        let sealed = self.srtp.seal_rtp(room, head_bytes, payload, ssrc, index);
        self.run.add(sealed.unwrap_or(0));
        sealed.is_some()
    }
}

/// The length to which the payload at the cursor and those behind it are brought, so that they go
/// in one run: that of the longest, as long as none is much longer or shorter than the first.
fn evened(history: &History, cursor: u64, first: usize) -> usize {
    let mut longest = first;
    for position in cursor + 1.. {
        let next = history.get(position).filter(|packet| packet.kind == Kind::Video);
        let Some(len) = next.map(|packet| packet.payload.len()) else { break };
        if len > first + PADDING_BYTES_MAX || len + PADDING_BYTES_MAX < longest {
            break;
        }
        longest = longest.max(len);
    }
    longest
}

/// Puts zeros behind a payload, the last of which says how many there are (RFC 3550, section 5.1).
fn pad<'p>(payload: &[u8], padding: usize, out: &'p mut [u8]) -> Option<&'p [u8]> {
    let padded = out.get_mut(..payload.len() + padding)?;
    padded.get_mut(..payload.len())?.copy_from_slice(payload);
    *padded.last_mut()? = u8::try_from(padding).ok()?;
    Some(padded)
}
