//! Whom a wish for a key frame reaches, and when.

use super::{Media, Timer};
use crate::id::StreamId;
use crate::message::{Message, ToMedia};
use crate::outbox::Ctx;

impl Media {
    pub(super) fn want_keyframe(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.keyframes.want();
        self.ask_for_keyframe(ctx, id);
    }

    /// Asks upstream if enough time has passed, else sets the alarm for when it has.
    pub(super) fn ask_for_keyframe(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        let interval = ctx.config.limits.keyframe_interval_min;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let due = stream.keyframes.due(ctx.now, interval);
        if due.is_some_and(|due| due <= ctx.now) {
            let asked = match stream.source {
                Some(source) => {
                    let asked = self.peers.get_mut(source);
                    let asked = asked.is_some_and(|peer| peer.request_keyframe(ctx.now));
                    if asked {
                        self.turns.add(source);
                    }
                    asked
                }
                None if stream.home != self.shard => {
                    let word = ToMedia::WantKeyframe { stream: id };
                    ctx.out.post(stream.home, Message::Media(word));
                    true
                }
                None => false,
            };
            stream.keyframes.tried(ctx.now, asked);
        }
        let due = stream.keyframes.due(ctx.now, interval);
        self.timers.set(Timer::Keyframe(id), due);
    }

    pub(super) fn set_period(&mut self, ctx: &Ctx<'_>, id: StreamId) {
        let wanted = ctx.config.settings.periodic_keyframes;
        let at = wanted.then(|| ctx.now + ctx.config.limits.keyframe_period);
        self.timers.set(Timer::Period(id), at);
    }
}
