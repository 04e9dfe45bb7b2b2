//! One published stream and those who play it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use super::PlayId;
use crate::id::{PeerId, SessionId, ShardId};
use crate::media::Formats;
use crate::signal::LinkTag;

/// A name that is published here.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    /// The node that pushes it, if it came over a link. Such a stream is not pushed on.
    pub(super) link: Option<LinkTag>,
    /// Who its publisher is.
    pub(super) owner: Owner,
    /// The shard that its publisher's peer is on, and stays on when the publisher comes back.
    pub(super) home: ShardId,
    pub(super) source: Source,
    /// Whoever publishes it, or is about to.
    pub(super) publisher: Option<Publisher>,
    /// What it consists of; known from the first answer on.
    pub(super) formats: Formats,
    /// How many publishers it has had.
    pub(super) runs: u32,
    /// Whether the publisher muted its sound.
    pub(super) audio_muted: bool,
    /// Whether the publisher muted its picture.
    pub(super) video_muted: bool,
    pub(super) viewers: BTreeSet<PlayId>,
}

/// Who publishes, as far as a node can tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    pub(super) address: IpAddr,
    /// Whom a token names.
    pub(super) subject: Option<String>,
}

/// Whether there is anything to play.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// The first publisher's media path is not up yet.
    Starting,
    Live,
    /// The publisher was lost; its viewers wait for it until then.
    Lost {
        until: Instant,
    },
}

/// Whoever publishes a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Publisher {
    pub(super) session: SessionId,
    pub(super) media_session: String,
    pub(super) peer: PeerId,
    /// What its answer said.
    pub(super) formats: Option<Formats>,
}

impl Stream {
    /// Whether somebody is whoever published the stream last, who may take it over within the
    /// grace: of the same node where links prove theirs, whom a token names where tokens name
    /// somebody, and of the same address elsewhere, since a node that was restarted may have
    /// another name.
    pub(super) fn is_of(&self, owner: &Owner, link: Option<&LinkTag>) -> bool {
        let same_address = self.owner.address == owner.address;
        match (&self.link, link) {
            (None, None) => match (&self.owner.subject, &owner.subject) {
                (None, None) => same_address,
                (before, now) => before == now,
            },
            (Some(before), Some(now)) if before.proven => now.proven && before.node == now.node,
            (Some(_), Some(_)) => same_address,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether viewers can join now.
    pub(super) fn is_playable(&self) -> bool {
        match self.source {
            Source::Starting => false,
            Source::Live | Source::Lost { .. } => true,
        }
    }

    /// Whether the stream is to be pushed to the edges: it is live, and nobody pushed it here.
    pub(super) fn is_pushed(&self) -> bool {
        self.link.is_none() && self.is_playable()
    }
}
