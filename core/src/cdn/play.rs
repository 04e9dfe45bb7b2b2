//! Playing: from the wish to the end.

use std::time::Instant;

use super::admission::tell;
use super::{MediaSession, Node, PeerUse, PlayId, Timer, reason, say, say_status};
use crate::access::Act;
use crate::id::{PeerId, SessionId, StreamId};
use crate::media::{PeerFault, Shortage};
use crate::message::{Answer, Message, ToMedia};
use crate::outbox::Ctx;
use crate::output::Event;
use crate::signal::{self, Info, Status, StreamRequest};

/// One viewer of one stream.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) session: SessionId,
    pub(super) media_session: String,
    pub(super) name: String,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The stream is not there yet; the offer waits with the viewer.
    Waiting {
        offer: String,
    },
    Connecting {
        stream: StreamId,
        peer: PeerId,
    },
    Playing {
        stream: StreamId,
        peer: PeerId,
    },
}

impl Node {
    pub(super) fn play(&mut self, ctx: &mut Ctx<'_>, session: SessionId, request: StreamRequest) {
        let is_link = self.sessions.get(&session).is_some_and(|entry| entry.link.is_some());
        let checked = self.check_request(ctx, session, &request).and_then(|()| {
            if is_link {
                // What lets links in where others are not let in is that they bring streams.
                Err(Info::LinksPlayNothing)
            } else if request.name.contains("://") {
                // A name like rtsp://… asks for a stream to be fetched from elsewhere.
                Err(Info::PullUnsupported)
            } else {
                Ok(())
            }
        });
        match checked {
            Ok(()) => self.admit(ctx, session, Act::Play, request),
            Err(info) => tell(ctx, session, Act::Play, &request, "FAILED", info),
        }
    }

    /// Plays, until then where there is an end.
    pub(super) fn play_granted(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        request: StreamRequest,
        until: Option<Instant>,
    ) {
        let StreamRequest { media_session, name, sdp: offer, .. } = request;
        self.last_play += 1;
        let id = PlayId(self.last_play);
        self.note_media(session, media_session.clone(), MediaSession::Play(id));
        let found = self.find_playable(&name);
        if found.is_none() {
            self.waiting.entry(name.clone()).or_default().push(id);
            self.timers.set(Timer::Play(id), Some(ctx.now + ctx.config.settings.play_wait));
        }
        self.timers.set(Timer::PlayExpiry(id), until);
        let phase = Phase::Waiting { offer };
        self.plays.insert(id, Play { session, media_session, name, phase });
        if let Some(stream) = found {
            self.open_egress(ctx, id, stream);
        }
    }

    /// A stream came up: whoever waited for its name gets it.
    pub(super) fn wake_plays(&mut self, ctx: &mut Ctx<'_>, name: &str, stream: StreamId) {
        for play in self.waiting.remove(name).unwrap_or_default() {
            self.open_egress(ctx, play, stream);
        }
    }

    fn open_egress(&mut self, ctx: &mut Ctx<'_>, id: PlayId, stream: StreamId) {
        self.timers.set(Timer::Play(id), None);
        let (peer, shard) = self.place(ctx, PeerUse::Play(id), None);
        let Some(play) = self.plays.get_mut(&id) else { return };
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let connecting = Phase::Connecting { stream, peer };
        let Phase::Waiting { offer } = std::mem::replace(&mut play.phase, connecting) else {
            return;
        };
        entry.viewers.insert(id);
        let (home, formats) = (entry.home, entry.formats);
        let word = ToMedia::AcceptEgress { peer, stream, home, formats, offer };
        ctx.out.post(shard, Message::Media(word));
    }

    pub(super) fn play_answered(&mut self, ctx: &mut Ctx<'_>, id: PlayId, answer: &Answer) {
        let Some(play) = self.plays.get(&id) else { return };
        say(ctx, play.session, signal::remote_sdp(&play.media_session, &answer.sdp));
    }

    pub(super) fn play_up(&mut self, ctx: &mut Ctx<'_>, id: PlayId) {
        let Some(play) = self.plays.get_mut(&id) else { return };
        let Phase::Connecting { stream, peer } = play.phase else { return };
        play.phase = Phase::Playing { stream, peer };
        let Some(entry) = self.streams.get(&stream) else { return };
        say_status(
            ctx,
            play.session,
            Status {
                media_session: &play.media_session,
                name: &play.name,
                published: false,
                status: "PLAYING",
                info: None,
                muted: Some((entry.audio_muted, entry.video_muted)),
            },
        );
        ctx.out.event(Event::ViewerJoined { name: play.name.clone() });
    }

    /// Tells a viewer that its bandwidth is not enough for what it plays.
    pub(super) fn play_short(&self, ctx: &mut Ctx<'_>, id: PlayId, shortage: Shortage) {
        let Some(play) = self.plays.get(&id) else { return };
        let Shortage { stream, available } = shortage;
        let event = signal::not_enough_bandwidth(&play.media_session, stream, available);
        say(ctx, play.session, event);
    }

    pub(super) fn play_rate(&self, ctx: &mut Ctx<'_>, id: PlayId, bits: u64) {
        let Some(play) = self.plays.get(&id) else { return };
        say(ctx, play.session, signal::outbound_video_rate(&play.media_session, bits));
    }

    pub(super) fn stop_play(&mut self, ctx: &mut Ctx<'_>, id: PlayId) {
        self.end_play(ctx, id, "STOPPED", Info::StoppedByUser);
    }

    pub(super) fn play_failed(&mut self, ctx: &mut Ctx<'_>, id: PlayId, fault: &PeerFault) {
        tracing::debug!(play = id.0, %fault, "play failed");
        self.end_play(ctx, id, "FAILED", reason(fault));
    }

    /// The stream did not come in time.
    pub(super) fn play_overdue(&mut self, ctx: &mut Ctx<'_>, id: PlayId) {
        let Some(play) = self.plays.get(&id) else { return };
        // A publisher of that name may be just short of being ready.
        let starting = self.names.contains_key(&play.name);
        let info = if starting { Info::PublishStreamIsNotReady } else { Info::StreamNotFound };
        self.end_play(ctx, id, "FAILED", info);
    }

    /// Ends a play and tells its viewer.
    pub(super) fn end_play(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: PlayId,
        status: &'static str,
        info: Info,
    ) {
        let Some(play) = self.plays.get(&id) else { return };
        say_status(
            ctx,
            play.session,
            Status {
                media_session: &play.media_session,
                name: &play.name,
                published: false,
                status,
                info: Some(info),
                muted: None,
            },
        );
        self.drop_play(ctx, id, info.text());
    }

    /// Forgets a play without a word.
    pub(super) fn drop_play(&mut self, ctx: &mut Ctx<'_>, id: PlayId, why: &str) {
        let Some(play) = self.plays.remove(&id) else { return };
        self.timers.set(Timer::Play(id), None);
        self.timers.set(Timer::PlayExpiry(id), None);
        self.forget_media(play.session, &play.media_session);
        match play.phase {
            Phase::Waiting { .. } => {
                if let Some(others) = self.waiting.get_mut(&play.name) {
                    others.retain(|other| *other != id);
                    if others.is_empty() {
                        self.waiting.remove(&play.name);
                    }
                }
            }
            Phase::Connecting { stream, peer } | Phase::Playing { stream, peer } => {
                if let Some(entry) = self.streams.get_mut(&stream) {
                    entry.viewers.remove(&id);
                }
                self.drop_peer(ctx, peer);
                if matches!(play.phase, Phase::Playing { .. }) {
                    let event = Event::ViewerLeft { name: play.name, info: why.to_owned() };
                    ctx.out.event(event);
                }
            }
        }
    }
}
