//! Words to publishers and viewers on the rate of their picture, if the settings want them. Pages
//! compare it with what they count themselves.

use std::time::Duration;

use super::peer::{Peer, Role};
use super::{Media, Timer};
use crate::id::ShardId;
use crate::message::{Message, ToNode};
use crate::outbox::Ctx;

impl Media {
    /// Begins to count anew for all who are connected: the settings may want other words.
    pub(super) fn count_all_video(&mut self, ctx: &Ctx<'_>) {
        for (slot, peer) in self.peers.iter().filter(|(_, peer)| peer.is_connected()) {
            self.timers.set(Timer::VideoRate(slot), interval(ctx, peer).map(|it| ctx.now + it));
        }
    }

    /// Begins to count for a peer that is connected now.
    pub(super) fn count_video(&mut self, ctx: &Ctx<'_>, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        self.timers.set(Timer::VideoRate(slot), interval(ctx, peer).map(|it| ctx.now + it));
    }

    /// Tells how much picture there was since the last time.
    pub(super) fn tell_video_rate(&mut self, ctx: &mut Ctx<'_>, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        if let Some(bytes) = video_bytes(peer) {
            let bytes = bytes.wrapping_sub(std::mem::replace(&mut peer.told_video_bytes, bytes));
            let rate = ToNode::VideoRate { peer: peer.id, bits: 8 * u64::from(bytes) };
            ctx.out.post(ShardId::NODE, Message::Node(rate));
        }
        self.count_video(ctx, slot);
    }
}

fn interval(ctx: &Ctx<'_>, peer: &Peer) -> Option<Duration> {
    match peer.role {
        Role::Ingest(_) => ctx.config.settings.inbound_rate_interval,
        Role::Egress(_) => ctx.config.settings.outbound_rate_interval,
    }
}

fn video_bytes(peer: &Peer) -> Option<u32> {
    match &peer.role {
        Role::Ingest(ingest) => ingest.video_bytes(),
        Role::Egress(egress) => egress.video_bytes(),
    }
}
