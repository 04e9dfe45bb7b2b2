//! Viewers who come late: they are given what came since the newest key frame, in turns.

use super::{Media, Timer};
use crate::outbox::Ctx;
use crate::timers::earlier;

impl Media {
    /// Lets a viewer begin as soon as it can, and a publisher hear if that takes a key frame.
    pub(super) fn join(&mut self, ctx: &mut Ctx<'_>, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let id = peer.stream();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let limits = &ctx.config.limits;
        if !peer.join(ctx.now, &stream.history, limits) {
            self.want_keyframe(ctx, id);
        } else if peer.is_catching_up() {
            // What overtakes the last message of the handshake cannot be opened, and nobody knows
            // that it lacks what came before all that it has.
            peer.set_queued(true);
            self.joining.push_back((ctx.now + limits.catch_up_delay, slot));
            if self.joining.len() == 1 && self.catching_up.is_empty() {
                self.timers.set(Timer::CatchUp, Some(ctx.now + limits.catch_up_delay));
            }
            // As long as viewers keep coming, there is a key frame for them that is not too old.
            if stream.keyframes.is_due(ctx.now, limits.keyframe_cache_interval_min) {
                self.want_keyframe(ctx, id);
            }
        }
    }

    /// Gives the next few late viewers a turn, if the last turns are long enough ago: whoever joins
    /// brings nobody else's forward.
    pub(super) fn catch_up(&mut self, ctx: &Ctx<'_>) {
        while let Some((from, slot)) = self.joining.front().copied()
            && from <= ctx.now
        {
            self.joining.pop_front();
            self.catching_up.push_back(slot);
        }
        if self.next_turns.is_none_or(|next| next <= ctx.now) {
            for _ in 0..ctx.config.limits.catch_up_turns_max {
                let Some(slot) = self.catching_up.pop_front() else { break };
                if let Some(peer) = self.peers.get_mut(slot) {
                    peer.set_queued(false);
                    self.turns.add(slot);
                }
            }
            self.next_turns = Some(ctx.now + ctx.config.limits.catch_up_interval);
        }
        self.set_catch_up(ctx);
    }

    pub(super) fn set_catch_up(&mut self, ctx: &Ctx<'_>) {
        let turns = self.next_turns.unwrap_or(ctx.now);
        let turns = (!self.catching_up.is_empty()).then_some(turns);
        let joins = self.joining.front().map(|(from, _)| *from);
        self.timers.set(Timer::CatchUp, earlier(turns, joins));
    }
}
