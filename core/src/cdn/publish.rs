//! Publishing: who has a name, who may take it over, and what its end means to the viewers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::admission::tell;
use super::stream::{Owner, Publisher, Source, Stream};
use super::{MediaSession, Node, PeerUse, Timer, reason, say, say_status};
use crate::access::{Act, Grant};
use crate::id::{ConnId, SessionId, ShardId, StreamId};
use crate::media::{Formats, PeerFault};
use crate::message::{Answer, Message, ToMedia};
use crate::outbox::Ctx;
use crate::output::Event;
use crate::signal::{self, Info, LinkTag, Status, StreamEvent, StreamRequest};

impl Node {
    pub(super) fn publish(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        request: StreamRequest,
    ) {
        let checked = self.check_request(ctx, session, &request);
        match checked.and_then(|()| self.check_role(ctx, session)) {
            Ok(()) => self.admit(ctx, session, Act::Publish, request),
            Err(info) => tell(ctx, session, Act::Publish, &request, "FAILED", info),
        }
    }

    /// Publishes, as long and as whom the grant says.
    pub(super) fn publish_granted(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        request: StreamRequest,
        grant: Grant,
    ) {
        match self.claim_name(ctx, session, &request.name, grant.subject) {
            Ok(stream) => {
                self.open_ingest(ctx, session, stream, request);
                self.timers.set(Timer::PublicationExpiry(stream), grant.until);
            }
            Err(info) => tell(ctx, session, Act::Publish, &request, "FAILED", info),
        }
    }

    /// What publishing and playing have to fulfil alike.
    pub(super) fn check_request(
        &self,
        ctx: &Ctx<'_>,
        session: SessionId,
        request: &StreamRequest,
    ) -> Result<(), Info> {
        let limits = &ctx.config.limits;
        let entry = self.sessions.get(&session);
        let open = entry.map_or(0, |entry| entry.media.len());
        // An origin pushes all that it has over one session.
        let is_link = entry.is_some_and(|entry| entry.link.is_some());
        let open_max = if is_link { limits.streams_max } else { limits.session_streams_max };
        if request.media_session.is_empty() {
            Err(Info::MediaSessionIdNull)
        } else if self.session_media(session, &request.media_session).is_some() {
            Err(Info::MediaSessionIdInUse)
        } else if request.name.is_empty() || request.name.len() > limits.name_bytes_max {
            Err(Info::NameTooLong)
        } else if request.provider != "WebRTC" && !request.provider.is_empty() {
            Err(Info::ProviderUnsupported)
        } else if request.sdp.is_empty() || request.sdp.len() > limits.sdp_bytes_max {
            Err(Info::BadOffer)
        } else if open >= open_max {
            Err(Info::TooManyStreams)
        } else {
            Ok(())
        }
    }

    /// Refuses publishers that are no links where only those may publish.
    fn check_role(&self, ctx: &mut Ctx<'_>, session: SessionId) -> Result<(), Info> {
        let Some(entry) = self.sessions.get(&session) else { return Err(Info::Failed) };
        let is_proven = entry.link.as_ref().is_some_and(|link| link.proven);
        if !ctx.config.settings.cdn_role_strict || is_proven {
            return Ok(());
        }
        let why = "only links may publish here (cdn_role_strict)".to_owned();
        ctx.out.event(Event::Refused { remote: entry.remote, why });
        Err(Info::LinksOnly)
    }

    /// Finds the stream that the session may publish under this name, or makes it.
    fn claim_name(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        name: &str,
        subject: Option<String>,
    ) -> Result<StreamId, Info> {
        let Some(entry) = self.sessions.get(&session) else { return Err(Info::Failed) };
        let link = entry.link.clone();
        let owner = Owner { address: entry.remote.ip(), subject };
        if let Some(id) = self.names.get(name).copied() {
            let Some(stream) = self.streams.get(&id) else { return Err(Info::Failed) };
            let same = stream.is_of(&owner, link.as_ref());
            let lost = matches!(stream.source, Source::Lost { .. }) && stream.publisher.is_none();
            // A node that dials anew has given its old link up, even if we have not noticed yet.
            // What the old one still has to say comes too late then.
            let holder = stream.publisher.as_ref().map(|publisher| publisher.session);
            let holder = holder.and_then(|holder| self.sessions.get(&holder));
            let newer = holder.is_none_or(|holder| holder.ordinal <= entry.ordinal);
            let node = |link: &Option<LinkTag>| link.as_ref().map(|link| link.node.clone());
            let redialed = link.is_some() && node(&stream.link) == node(&link) && newer;
            if !same || !(lost || redialed) {
                return Err(Info::NameInUse);
            }
            self.retire_publisher(ctx, id);
            if let Some(stream) = self.streams.get_mut(&id) {
                (stream.link, stream.owner) = (link, owner);
            }
            return Ok(id);
        }
        if self.streams.len() >= ctx.config.limits.streams_max {
            return Err(Info::TooManyStreams);
        }
        self.last_stream += 1;
        let id = StreamId(self.last_stream);
        let home = self.emptiest_shard();
        self.names.insert(name.to_owned(), id);
        self.streams.insert(
            id,
            Stream {
                name: name.to_owned(),
                link,
                owner,
                home,
                source: Source::Starting,
                publisher: None,
                formats: Formats::default(),
                runs: 0,
                audio_muted: false,
                video_muted: false,
                viewers: BTreeSet::new(),
            },
        );
        Ok(id)
    }

    fn open_ingest(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        id: StreamId,
        request: StreamRequest,
    ) {
        let Some(home) = self.streams.get(&id).map(|stream| stream.home) else { return };
        self.unmute(ctx, id);
        let (peer, shard) = self.place(ctx, PeerUse::Publication(id), Some(home));
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.runs += 1;
        let run = stream.runs;
        let media_session = request.media_session.clone();
        stream.publisher = Some(Publisher { session, media_session, peer, formats: None });
        let is_relay = stream.link.is_some();
        self.note_media(session, request.media_session, MediaSession::Publication(id));
        let word = ToMedia::AcceptIngest { peer, stream: id, run, is_relay, offer: request.sdp };
        ctx.out.post(shard, Message::Media(word));
    }

    pub(super) fn publication_answered(&mut self, ctx: &mut Ctx<'_>, id: StreamId, answer: Answer) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(publisher) = &mut stream.publisher else { return };
        publisher.formats = Some(answer.formats);
        let text = signal::remote_sdp(&publisher.media_session, &answer.sdp);
        say(ctx, publisher.session, text);
    }

    /// The publisher's media path is up: the stream can be played and pushed.
    pub(super) fn publication_up(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(publisher) = stream.publisher.clone() else { return };
        let before = stream.formats;
        stream.formats = publisher.formats.unwrap_or_default();
        let came_back = stream.is_playable();
        let changed = came_back && !before.can_become(&stream.formats);
        stream.source = Source::Live;
        let name = stream.name.clone();
        let link = stream.link.is_some();
        self.timers.set(Timer::Grace(id), None);
        say_status(
            ctx,
            publisher.session,
            Status {
                media_session: &publisher.media_session,
                name: &name,
                published: true,
                status: "PUBLISHING",
                info: None,
                muted: None,
            },
        );
        if !came_back {
            ctx.out.event(Event::StreamStarted { name: name.clone(), link });
        }
        if changed {
            self.fail_viewers(ctx, id, Info::CodecChanged);
            self.stop_relays(ctx, id);
        }
        self.push_to_edges(ctx, id);
        self.wake_plays(ctx, &name, id);
    }

    /// Tells the publisher how much picture came. An origin has no page that would want to know.
    pub(super) fn publication_rate(&self, ctx: &mut Ctx<'_>, id: StreamId, bits: u64) {
        let Some(stream) = self.streams.get(&id).filter(|stream| stream.link.is_none()) else {
            return;
        };
        let Some(publisher) = &stream.publisher else { return };
        let word = signal::inbound_video_rate(&publisher.media_session, bits);
        say(ctx, publisher.session, word);
    }

    /// Ends a publication at the publisher's own wish.
    pub(super) fn unpublish(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        self.end_publication(ctx, id, "UNPUBLISHED", Info::StoppedByUser);
        self.end_stream(ctx, id, Info::StoppedByPublisherStop);
    }

    /// An origin ends a stream whose publication here it lost, or is about to offer anew, so that
    /// the name is all that both know.
    pub(super) fn unpublish_lost(&mut self, ctx: &mut Ctx<'_>, session: SessionId, name: &str) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let Some(id) = self.names.get(name).copied() else { return };
        let Some(stream) = self.streams.get(&id) else { return };
        let owner = Owner { address: entry.remote.ip(), subject: None };
        let same = stream.is_of(&owner, entry.link.as_ref());
        let publisher = stream.publisher.as_ref();
        let is_its = publisher.is_none_or(|publisher| publisher.session == session);
        if entry.link.is_some() && same && is_its {
            self.unpublish(ctx, id);
        }
    }

    /// The media path could not be made, or broke. The publisher is told; viewers wait.
    pub(super) fn publication_failed(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: StreamId,
        fault: &PeerFault,
    ) {
        tracing::debug!(stream = id.0, %fault, "publication failed");
        self.end_publication(ctx, id, "FAILED", reason(fault));
        self.lose_publisher(ctx, id);
    }

    /// Tells the publisher how it ended, and forgets it; the stream stays.
    pub(super) fn end_publication(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: StreamId,
        status: &'static str,
        info: Info,
    ) {
        let Some(stream) = self.streams.get(&id) else { return };
        let Some(publisher) = stream.publisher.clone() else { return };
        say_status(
            ctx,
            publisher.session,
            Status {
                media_session: &publisher.media_session,
                name: &stream.name,
                published: true,
                status,
                info: Some(info),
                muted: None,
            },
        );
        self.retire_publisher(ctx, id);
    }

    /// Forgets who publishes a stream, without a word.
    fn retire_publisher(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(Publisher { session, media_session, peer, .. }) = stream.publisher.take() else {
            return;
        };
        self.timers.set(Timer::PublicationExpiry(id), None);
        self.forget_media(session, &media_session);
        self.drop_peer(ctx, peer);
    }

    /// The publisher is gone without having said so: its viewers wait for it to come back.
    pub(super) fn lose_publisher(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        self.retire_publisher(ctx, id);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match stream.source {
            Source::Starting => self.end_stream(ctx, id, Info::StoppedByPublisherStop),
            // Whoever tried to take over has failed; the wait goes on as it was.
            Source::Lost { .. } => {}
            Source::Live => {
                let settings = &ctx.config.settings;
                let link = stream.link.is_some();
                let grace = if link { settings.link_grace } else { settings.publisher_grace };
                let until = ctx.now + grace;
                stream.source = Source::Lost { until };
                self.timers.set(Timer::Grace(id), Some(until));
            }
        }
    }

    /// Nobody came back in time.
    pub(super) fn grace_over(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.publisher.is_some() {
            // Someone is on the way; only the viewers' patience is over.
            stream.source = Source::Starting;
            let name = stream.name.clone();
            let info = Info::StoppedByPublisherStop;
            self.fail_viewers(ctx, id, info);
            self.stop_relays(ctx, id);
            ctx.out.event(Event::StreamEnded { name, info: info.text().to_owned() });
        } else {
            self.end_stream(ctx, id, Info::StoppedByPublisherStop);
        }
    }

    /// Ends a stream for everybody who has it.
    pub(super) fn end_stream(&mut self, ctx: &mut Ctx<'_>, id: StreamId, info: Info) {
        self.fail_viewers(ctx, id, info);
        self.stop_relays(ctx, id);
        self.timers.set(Timer::Grace(id), None);
        let Some(stream) = self.streams.remove(&id) else { return };
        self.names.remove(&stream.name);
        if stream.is_playable() {
            let info = info.text().to_owned();
            ctx.out.event(Event::StreamEnded { name: stream.name, info });
        }
    }

    fn fail_viewers(&mut self, ctx: &mut Ctx<'_>, id: StreamId, info: Info) {
        let Some(stream) = self.streams.get(&id) else { return };
        for play in stream.viewers.clone() {
            self.end_play(ctx, play, "FAILED", info);
        }
    }

    /// Passes an event of a publisher on to all who have the stream, here and on the edges.
    pub(super) fn stream_event(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        media_session: &str,
        kind: &str,
        payload: Option<&Value>,
    ) {
        let Some(MediaSession::Publication(id)) = self.session_media(session, media_session) else {
            return;
        };
        let limit = ctx.config.limits.event_bytes_max;
        if payload.is_some_and(|payload| payload.to_string().len() > limit) {
            let info = format!("sendStreamEvent: payload is longer than {limit} bytes");
            say(ctx, session, signal::fail("sendStreamEvent", &info));
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let before = match kind {
            "audioMuted" => std::mem::replace(&mut stream.audio_muted, true),
            "audioUnmuted" => !std::mem::replace(&mut stream.audio_muted, false),
            "videoMuted" => std::mem::replace(&mut stream.video_muted, true),
            "videoUnmuted" => !std::mem::replace(&mut stream.video_muted, false),
            "data" if payload.is_some() => false,
            // The other types are a server's to send, not a publisher's.
            _ => return,
        };
        // What viewers know already is no news.
        if before {
            return;
        }
        self.pass_on(ctx, id, kind, payload);
    }

    /// A publisher who comes back has muted nothing yet, whatever the one before had.
    fn unmute(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let audio = std::mem::take(&mut stream.audio_muted);
        let video = std::mem::take(&mut stream.video_muted);
        for (kind, _) in [("audioUnmuted", audio), ("videoUnmuted", video)].iter().filter(|e| e.1) {
            self.pass_on(ctx, id, kind, None);
        }
    }

    fn pass_on(&mut self, ctx: &mut Ctx<'_>, id: StreamId, kind: &str, payload: Option<&Value>) {
        let Some(stream) = self.streams.get(&id) else { return };
        let mut viewers: BTreeMap<ShardId, Vec<(ConnId, String)>> = BTreeMap::new();
        for play in stream.viewers.iter().filter_map(|play| self.plays.get(play)) {
            let of_shard = viewers.entry(play.session.shard).or_default();
            of_shard.push((play.session.conn, play.media_session.clone()));
        }
        let event = Arc::new(StreamEvent { kind: kind.to_owned(), payload: payload.cloned() });
        // One word to a shard, however many of them there are.
        for (shard, to) in viewers {
            let event = Arc::clone(&event);
            ctx.out.post(shard, Message::Happened { event, to });
        }
        self.relay_event(ctx, id, kind, payload);
    }
}
