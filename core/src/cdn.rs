//! The node: what is published, played and pushed. No bytes come here, only names and words.
//!
//! It is on shard 0 and the only one that decides: whether a name is free, which shard a peer goes
//! to, who is told what. The other parts do as they are told and report.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::access::{AskId, Hooks};
use crate::config::Secret;
use crate::dialer::Dialer;
use crate::id::{ConnId, LookupId, PeerId, SessionId, ShardId, StreamId};
use crate::input::Hangup;
use crate::limits::Limits;
use crate::media::PeerFault;
use crate::message::{Message, ToConnection, ToMedia, ToNode};
use crate::outbox::Ctx;
use crate::signal::{self, Greeting, Info, LinkTag, Request, Status};
use crate::timers::{Timers, earlier};

mod admission;
mod balancer;
mod held;
mod link;
mod load;
mod play;
mod publish;
mod relay;
mod stat;
mod stream;
#[cfg(test)]
mod tests;
mod tokens;

use admission::Asked;
use balancer::Balancer;
use held::Held;
use play::Play;
use relay::Links;
use stream::Stream;
use tokens::UsedTokens;

/// Names one play of one session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct PlayId(u64);

/// What shard 0 knows.
#[derive(Debug)]
pub(crate) struct Node {
    sessions: BTreeMap<SessionId, SessionEntry>,
    held: Held,
    streams: BTreeMap<StreamId, Stream>,
    names: BTreeMap<String, StreamId>,
    plays: BTreeMap<PlayId, Play>,
    /// Plays of names that are not published yet.
    waiting: BTreeMap<String, Vec<PlayId>>,
    /// Wishes that the backend has not decided about yet.
    asked: BTreeMap<AskId, Asked>,
    /// Before then, no other note of who may not publish or play is due.
    next_denial: Option<Instant>,
    hooks: Hooks,
    peers: BTreeMap<PeerId, PeerEntry>,
    /// Peers on each shard.
    placed: Vec<usize>,
    /// Requests of each shard that were taken up since it was told last.
    taken_up: Vec<u32>,
    links: Links,
    used_tokens: UsedTokens,
    balancer: Balancer,
    timers: Timers<Timer>,
    last_peer: u64,
    last_stream: u64,
    last_play: u64,
    last_session: u64,
    load: load::Load,
}

/// So many requests of a shard are taken up before it is told.
const REQUESTS_A_WORD: u32 = 64;

/// One signaling connection.
#[derive(Debug)]
struct SessionEntry {
    /// How many sessions came before it.
    ordinal: u64,
    remote: SocketAddr,
    /// The node that opened it, if it is a link.
    link: Option<LinkTag>,
    /// As the page calls its application.
    app_key: String,
    /// What counts for streams that come with no token of their own.
    token: Option<Secret>,
    /// What it publishes and plays, by `mediaSessionId`.
    media: BTreeMap<String, MediaSession>,
}

impl SessionEntry {
    /// Whether its streams count for its address. A link that proved what it is has all that its
    /// origin has, and takes nothing from who shares its address.
    fn counts(&self) -> bool {
        self.link.as_ref().is_none_or(|link| !link.proven)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum MediaSession {
    Publication(StreamId),
    Play(PlayId),
    /// The backend has to decide first.
    Asked(AskId),
}

#[derive(Clone, Copy, Debug)]
struct PeerEntry {
    shard: ShardId,
    of: PeerUse,
}

/// What a peer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PeerUse {
    Publication(StreamId),
    Play(PlayId),
    Relay { node: u32, stream: StreamId },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// A shard owes an answer, or an offer.
    Answer(PeerId),
    /// A play waits for its stream.
    Play(PlayId),
    /// A stream waits for its publisher.
    Grace(StreamId),
    /// A publisher may publish no longer.
    PublicationExpiry(StreamId),
    /// A viewer may play no longer.
    PlayExpiry(PlayId),
}

impl Node {
    pub(crate) fn new(ctx: &Ctx<'_>) -> Self {
        Self {
            sessions: BTreeMap::new(),
            held: Held::default(),
            streams: BTreeMap::new(),
            names: BTreeMap::new(),
            plays: BTreeMap::new(),
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_denial: None,
            hooks: Hooks::new(ctx),
            peers: BTreeMap::new(),
            placed: vec![0; ctx.config.media.len()],
            taken_up: vec![0; ctx.config.media.len()],
            links: Links::new(ctx),
            used_tokens: UsedTokens::default(),
            balancer: Balancer::new(ctx),
            timers: Timers::new(),
            last_peer: 0,
            last_stream: 0,
            last_play: 0,
            last_session: 0,
            load: load::Load::new(ctx.config.media.len()),
        }
    }

    pub(crate) fn handle(&mut self, ctx: &mut Ctx<'_>, word: ToNode) {
        match word {
            ToNode::Established { session, remote, greeting } => {
                self.establish(ctx, session, remote, *greeting);
            }
            ToNode::Presented { shard, conn, proof } => {
                let taken = self.used_tokens.take(ctx.now, &proof, &ctx.config.limits);
                let word = ToConnection::Admit(taken.map(|()| proof.node));
                ctx.out.post(shard, Message::Connection { conn, word });
            }
            ToNode::Requested { session, request } => {
                self.take_up(ctx, session.shard);
                self.request(ctx, session, *request);
            }
            ToNode::Gone { session } => self.forget_session(ctx, session),
            ToNode::Asked { shard, conn, question } => self.answer(ctx, shard, conn, &question),
            ToNode::Answered { peer, outcome } => {
                self.timers.set(Timer::Answer(peer), None);
                match (self.peers.get(&peer).map(|entry| entry.of), outcome) {
                    (_, Err(fault)) => self.peer_failed(ctx, peer, &fault),
                    (Some(PeerUse::Publication(stream)), Ok(answer)) => {
                        self.publication_answered(ctx, stream, answer);
                    }
                    (Some(PeerUse::Play(play)), Ok(answer)) => {
                        self.play_answered(ctx, play, &answer);
                    }
                    (Some(PeerUse::Relay { .. }) | None, Ok(_)) => {}
                }
            }
            ToNode::Offered { peer, outcome } => {
                self.timers.set(Timer::Answer(peer), None);
                match outcome {
                    Ok(sdp) => self.relay_offered(ctx, peer, &sdp),
                    Err(fault) => self.peer_failed(ctx, peer, &fault),
                }
            }
            ToNode::Up { peer } => match self.peers.get(&peer).map(|entry| entry.of) {
                Some(PeerUse::Publication(stream)) => self.publication_up(ctx, stream),
                Some(PeerUse::Play(play)) => self.play_up(ctx, play),
                Some(PeerUse::Relay { .. }) | None => {}
            },
            ToNode::VideoRate { peer, bits } => match self.peers.get(&peer).map(|entry| entry.of) {
                Some(PeerUse::Publication(stream)) => self.publication_rate(ctx, stream, bits),
                Some(PeerUse::Play(play)) => self.play_rate(ctx, play, bits),
                Some(PeerUse::Relay { .. }) | None => {}
            },
            ToNode::Short { peer, shortage } => {
                if let Some(PeerUse::Play(play)) = self.peers.get(&peer).map(|entry| entry.of) {
                    self.play_short(ctx, play, shortage);
                }
            }
            ToNode::Failed { peer, fault } => self.peer_failed(ctx, peer, &fault),
            ToNode::Sent { shard, bits_per_second } => {
                self.load.note_sent(ctx.now, shard, bits_per_second);
            }
        }
    }

    pub(crate) fn set_cpu_load(&mut self, percent: u8) {
        self.load.cpu_percent = percent.min(100);
    }

    /// Takes over the settings of `ctx`, which have changed.
    pub(crate) fn reload(&mut self, ctx: &mut Ctx<'_>) {
        self.reload_links(ctx);
        self.balancer.reload(ctx, &self.links.leaving());
        for verdict in self.hooks.reload(ctx) {
            self.heard_backend(ctx, Some(verdict));
        }
        self.mind_the_door(ctx);
    }

    fn establish(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        remote: SocketAddr,
        greeting: Greeting,
    ) {
        let Greeting { link, app_key, token, .. } = greeting;
        self.last_session += 1;
        let ordinal = self.last_session;
        let media = BTreeMap::new();
        self.load.links += usize::from(link.is_some());
        let entry = SessionEntry { ordinal, remote, link, app_key, token, media };
        self.sessions.insert(session, entry);
        self.mind_the_door(ctx);
    }

    /// Tells a shard now and then how many of its requests no longer wait.
    fn take_up(&mut self, ctx: &mut Ctx<'_>, shard: ShardId) {
        let Some(taken_up) = self.taken_up.get_mut(usize::from(shard.0)) else { return };
        *taken_up += 1;
        if *taken_up >= REQUESTS_A_WORD {
            ctx.out.post(shard, Message::TookUp(std::mem::take(taken_up)));
        }
    }

    fn request(&mut self, ctx: &mut Ctx<'_>, session: SessionId, request: Request) {
        match request {
            Request::Publish(request) => self.publish(ctx, session, request),
            Request::Play(request) => self.play(ctx, session, request),
            Request::Unpublish { media_session, name } => {
                if self.session_media(session, &media_session).is_some() {
                    self.stop(ctx, session, &media_session);
                } else {
                    self.unpublish_lost(ctx, session, &name);
                }
            }
            Request::Stop { media_session } => self.stop(ctx, session, &media_session),
            Request::Available { media_session, name } => {
                let refusal = self.may_see(ctx, session, &name).and_then(|()| {
                    self.find_playable(&name).map(|_| ()).ok_or(Info::StreamNotFound)
                });
                let refusal = refusal.err();
                say(ctx, session, signal::available(&media_session, refusal));
            }
            Request::StreamEvent { media_session, kind, payload } => {
                self.stream_event(ctx, session, &media_session, &kind, payload.as_ref());
            }
            Request::Snapshot { media_session } => {
                say(ctx, session, signal::snapshot_failed(&media_session));
            }
            Request::Data { operation } => say(ctx, session, signal::data_status(&operation)),
        }
    }

    /// Ends what a session publishes or plays, at its own wish. Late and repeated wishes come
    /// often, for ids that are long gone, and are no fault.
    fn stop(&mut self, ctx: &mut Ctx<'_>, session: SessionId, media_session: &str) {
        let entry = self.sessions.get(&session).and_then(|s| s.media.get(media_session)).copied();
        match entry {
            Some(MediaSession::Publication(stream)) => self.unpublish(ctx, stream),
            Some(MediaSession::Play(play)) => self.stop_play(ctx, play),
            Some(MediaSession::Asked(id)) => self.stop_asking(ctx, id),
            None => {}
        }
    }

    fn forget_session(&mut self, ctx: &mut Ctx<'_>, session: SessionId) {
        let Some(entry) = self.sessions.remove(&session) else { return };
        if entry.counts() {
            self.held.take_off(entry.remote.ip(), entry.media.len());
        }
        self.load.links -= usize::from(entry.link.is_some());
        self.mind_the_door(ctx);
        for media in entry.media.into_values() {
            match media {
                MediaSession::Publication(stream) => self.lose_publisher(ctx, stream),
                MediaSession::Play(play) => {
                    self.drop_play(ctx, play, "the viewer's connection ended");
                }
                MediaSession::Asked(id) => {
                    self.drop_asked(ctx, id);
                }
            }
        }
    }

    fn peer_failed(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, fault: &PeerFault) {
        let Some(of) = self.peers.get(&peer).map(|entry| entry.of) else { return };
        match of {
            PeerUse::Publication(stream) => self.publication_failed(ctx, stream, fault),
            PeerUse::Play(play) => self.play_failed(ctx, play, fault),
            PeerUse::Relay { node, stream } => {
                self.relay_peer_failed(ctx, node, stream, peer, &fault.to_string());
            }
        }
    }

    /// Gives a peer its number and its place: the shard with the fewest, or `home` where it has
    /// to be that one.
    fn place(&mut self, ctx: &Ctx<'_>, of: PeerUse, home: Option<ShardId>) -> (PeerId, ShardId) {
        let shard = home.unwrap_or_else(|| self.emptiest_shard());
        self.last_peer += 1;
        let peer = PeerId(self.last_peer);
        if let Some(placed) = self.placed.get_mut(usize::from(shard.0)) {
            *placed += 1;
        }
        self.peers.insert(peer, PeerEntry { shard, of });
        self.timers.set(Timer::Answer(peer), Some(ctx.now + ctx.config.limits.answer_timeout));
        (peer, shard)
    }

    fn emptiest_shard(&self) -> ShardId {
        let places = self.placed.iter().zip(0u16..);
        places.min_by_key(|(peers, _)| **peers).map_or(ShardId::NODE, |(_, at)| ShardId(at))
    }

    /// Takes a peer's number and place back, and has its shard forget it.
    fn drop_peer(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let Some(entry) = self.peers.remove(&peer) else { return };
        if let Some(placed) = self.placed.get_mut(usize::from(entry.shard.0)) {
            *placed -= 1;
        }
        self.timers.set(Timer::Answer(peer), None);
        ctx.out.post(entry.shard, Message::Media(ToMedia::Drop { peer }));
    }

    fn session_media(&self, session: SessionId, media_session: &str) -> Option<MediaSession> {
        self.sessions.get(&session)?.media.get(media_session).copied()
    }

    /// Notes what a session publishes, plays or waits for.
    fn note_media(&mut self, session: SessionId, media_session: String, media: MediaSession) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if entry.media.insert(media_session, media).is_none() && entry.counts() {
            self.held.add(entry.remote.ip());
        }
    }

    fn forget_media(&mut self, session: SessionId, media_session: &str) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if entry.media.remove(media_session).is_some() && entry.counts() {
            self.held.take_off(entry.remote.ip(), 1);
        }
    }

    fn find_playable(&self, name: &str) -> Option<StreamId> {
        let id = *self.names.get(name)?;
        self.streams.get(&id).filter(|stream| stream.is_playable()).map(|_| id)
    }

    /// How many wishes wait for the backend.
    pub(crate) fn questions(&self) -> usize {
        self.asked.len().max(self.hooks.len())
    }

    /// Whether anybody has a session, on whatever shard.
    pub(crate) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    pub(crate) fn next_timeout(&self, limits: &Limits) -> Option<Instant> {
        let links = earlier(self.links.next_timeout(limits), self.balancer.next_timeout());
        earlier(earlier(self.timers.next(), self.hooks.next_timeout()), links)
    }

    pub(crate) fn handle_timeout(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(timer) = self.timers.pop_due(ctx.now) {
            match timer {
                Timer::Answer(peer) => {
                    let fault = PeerFault::Internal("a shard did not answer".to_owned());
                    self.peer_failed(ctx, peer, &fault);
                }
                Timer::Play(play) => self.play_overdue(ctx, play),
                Timer::Grace(stream) => self.grace_over(ctx, stream),
                Timer::PublicationExpiry(stream) => self.publication_expired(ctx, stream),
                Timer::PlayExpiry(play) => self.play_expired(ctx, play),
            }
        }
        while self.hooks.next_timeout().is_some_and(|due| due <= ctx.now) {
            let verdict = self.hooks.handle_timeout(ctx);
            self.heard_backend(ctx, verdict);
        }
        self.links_timeout(ctx);
        self.balancer.handle_timeout(ctx);
    }

    pub(crate) fn handle_resolved(
        &mut self,
        ctx: &mut Ctx<'_>,
        lookup: LookupId,
        addrs: &[IpAddr],
    ) {
        self.link_resolved(ctx, lookup, addrs);
        self.balancer.resolved(ctx, lookup, addrs);
        for verdict in self.hooks.resolved(ctx, lookup, addrs) {
            self.heard_backend(ctx, Some(verdict));
        }
    }

    pub(crate) fn handle_connected(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) {
        self.link_connected(ctx, conn);
        self.balancer.connected(ctx, conn);
        let verdict = self.hooks.connected(ctx, conn);
        self.heard_backend(ctx, verdict);
    }

    pub(crate) fn handle_received(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, bytes: &[u8]) {
        self.link_received(ctx, conn, bytes);
        self.balancer.received(ctx, conn, bytes);
        self.give_up_deserted(ctx);
        let verdict = self.hooks.received(ctx, conn, bytes);
        self.heard_backend(ctx, verdict);
    }

    pub(crate) fn handle_closed(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, cause: Hangup) {
        self.link_closed(ctx, conn, cause);
        self.balancer.closed(ctx, conn, cause);
        self.give_up_deserted(ctx);
        let verdict = self.hooks.closed(ctx, conn, cause);
        self.heard_backend(ctx, verdict);
    }

    pub(crate) fn outgoing(&self, conn: ConnId) -> &[u8] {
        let link = self.links.dialer_of(conn);
        let dialer = link.or_else(|| self.balancer.dialer_of(conn));
        dialer.or_else(|| self.hooks.dialer_of(conn)).map_or(&[], Dialer::outgoing)
    }

    pub(crate) fn wrote(&mut self, conn: ConnId, n: usize) {
        self.links.wrote(conn, n);
        self.balancer.wrote(conn, n);
        self.hooks.wrote(conn, n);
    }
}

/// Sends a message to the far side of a session.
fn say(ctx: &mut Ctx<'_>, session: SessionId, text: String) {
    let word = ToConnection::Say(text);
    ctx.out.post(session.shard, Message::Connection { conn: session.conn, word });
}

fn say_status(ctx: &mut Ctx<'_>, session: SessionId, status: Status<'_>) {
    say(ctx, session, signal::status(status));
}

/// Why the media path of a publisher or a viewer failed, in the words of the dialogue.
fn reason(fault: &PeerFault) -> Info {
    match fault {
        PeerFault::Sdp(_) => Info::BadOffer,
        PeerFault::NoCommonCodecs => Info::NoCommonCodecs,
        PeerFault::IceTimeout => Info::IceTimeout,
        PeerFault::ConsentLost | PeerFault::RelaySilence | PeerFault::Gone => Info::KeepAlive,
        PeerFault::Dtls => Info::Dtls,
        PeerFault::Fingerprint => Info::DtlsFingerprint,
        PeerFault::RtpSilence => Info::RtpActivity,
        PeerFault::Exhausted(_) => Info::TooManyStreams,
        PeerFault::Internal(_) => Info::Failed,
    }
}
