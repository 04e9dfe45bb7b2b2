//! Which stream goes to which edge, and what becomes of it when either comes or goes.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use serde_json::Value;

use super::link::{Link, News, Relay, RelayPhase};
use super::stream::Stream;
use super::{Node, PeerUse};
use crate::dialer::{Dialer, Numbers};
use crate::id::{ConnId, LookupId, PeerId, StreamId};
use crate::input::Hangup;
use crate::limits::Limits;
use crate::message::{Message, ToMedia};
use crate::outbox::Ctx;
use crate::output::Event;
use crate::signal::{self, StreamRequest};

/// The links to all edges of `loadbalancing.xml`.
#[derive(Debug)]
pub(super) struct Links {
    /// By the edge's number.
    links: BTreeMap<u32, Link>,
    /// Links that were given up and have something left to say.
    closing: Vec<Dialer>,
    numbers: Numbers,
}

impl Links {
    pub(super) fn new(ctx: &Ctx<'_>) -> Self {
        let nodes = ctx.config.settings.balancing.iter().flat_map(|balancing| &balancing.nodes);
        let links = nodes.map(|node| (node.id, Link::new(ctx, node))).collect();
        Self { links, closing: Vec::new(), numbers: Numbers::links() }
    }

    pub(super) fn next_timeout(&self, limits: &Limits) -> Option<Instant> {
        self.links.values().filter_map(|link| link.next_timeout(limits)).min()
    }

    pub(super) fn get(&self, node: u32) -> Option<&Link> {
        self.links.get(&node)
    }

    pub(super) fn dialer_of(&self, conn: ConnId) -> Option<&Dialer> {
        let links = self.links.values().map(|link| &link.dialer);
        links.chain(&self.closing).find(|dialer| dialer.is_on(conn))
    }

    pub(super) fn wrote(&mut self, conn: ConnId, n: usize) {
        let links = self.links.values_mut().map(|link| &mut link.dialer);
        for dialer in links.chain(&mut self.closing) {
            if dialer.is_on(conn) {
                dialer.wrote(n);
            }
        }
        self.closing.retain(|dialer| !dialer.outgoing().is_empty());
    }

    /// Whether any stream is pushed anywhere.
    pub(super) fn any_carries(&self) -> bool {
        self.links.values().any(|link| !link.relays.is_empty())
    }

    fn nodes(&self) -> Vec<u32> {
        self.links.keys().copied().collect()
    }

    /// The edges that the file does not name any more.
    pub(super) fn leaving(&self) -> Vec<u32> {
        let leaving = self.links.values().filter(|link| link.leaving.is_some());
        leaving.map(|link| link.node).collect()
    }

    fn on(&self, conn: ConnId) -> Option<u32> {
        self.links.values().find(|link| link.dialer.is_on(conn)).map(|link| link.node)
    }
}

impl Node {
    /// Takes over what `loadbalancing.xml` says now: edges that are new are dialed, edges that are
    /// gone get nothing new and lose what they have once nobody plays there, the others notice
    /// nothing.
    pub(super) fn reload_links(&mut self, ctx: &mut Ctx<'_>) {
        let mut wanted = Links::new(ctx).links;
        let patience = ctx.config.settings.capacity.drain_wait;
        for node in self.links.nodes() {
            let Some(link) = self.links.links.get_mut(&node) else { continue };
            if wanted.get(&node).is_some_and(|new| new.leads_where(link)) {
                // The authorities may be others by now, which the next dial is to go by.
                if let Some(new) = wanted.remove(&node) {
                    link.dialer.aim(new.dialer);
                }
                if link.leaving.take().is_some() {
                    self.push_all(ctx, node);
                }
            } else if link.is_up() && !patience.is_zero() && !wanted.contains_key(&node) {
                link.leaving.get_or_insert(ctx.now + patience);
            } else {
                self.give_up(ctx, node);
            }
        }
        self.links.links.append(&mut wanted);
    }

    /// Gives edges up that are leaving and have no viewer left.
    pub(super) fn give_up_deserted(&mut self, ctx: &mut Ctx<'_>) {
        for node in self.links.leaving() {
            if self.balancer.is_deserted(node) {
                self.give_up(ctx, node);
            }
        }
    }

    /// Ends what an edge has, and its link.
    fn give_up(&mut self, ctx: &mut Ctx<'_>, node: u32) {
        let Some(link) = self.links.links.get(&node) else { return };
        for stream in link.relays.keys().copied().collect::<Vec<_>>() {
            self.stop_relay(ctx, node, stream);
        }
        if let Some(mut link) = self.links.links.remove(&node) {
            if link.leaving.is_some() {
                self.balancer.forget(ctx, node);
            }
            link.dialer.hang_up(ctx);
            if !link.dialer.outgoing().is_empty() {
                self.links.closing.push(link.dialer);
            }
        }
    }

    pub(super) fn link_resolved(&mut self, ctx: &mut Ctx<'_>, lookup: LookupId, addrs: &[IpAddr]) {
        let Links { links, numbers, .. } = &mut self.links;
        let found = links.values_mut().find(|link| link.dialer.waits_for(lookup));
        let Some(link) = found else { return };
        let (node, resolved) = (link.node, link.dialer.resolved(ctx, numbers, addrs));
        self.link_outcome(ctx, node, resolved);
    }

    pub(super) fn link_connected(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) {
        let Some(node) = self.links.on(conn) else { return };
        let connected = self.links.links.get_mut(&node).map(|link| link.dialer.connected(ctx));
        self.link_outcome(ctx, node, connected.unwrap_or(Ok(())));
    }

    pub(super) fn link_received(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, bytes: &[u8]) {
        let Some(node) = self.links.on(conn) else { return };
        let Some(link) = self.links.links.get_mut(&node) else { return };
        let mut incoming = VecDeque::new();
        let mut news = Vec::new();
        let received = link.dialer.received(ctx, bytes, &mut incoming);
        let handled = link.handle(ctx, incoming, &mut news);
        for news in news {
            self.link_news(ctx, node, news);
        }
        self.link_outcome(ctx, node, received.and(handled));
    }

    pub(super) fn link_closed(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, cause: Hangup) {
        self.links.closing.retain(|dialer| !dialer.is_on(conn));
        let Some(node) = self.links.on(conn) else { return };
        let Links { links, numbers, .. } = &mut self.links;
        let mut rest = VecDeque::new();
        let closed =
            links.get_mut(&node).map(|link| link.dialer.closed(ctx, numbers, cause, &mut rest));
        self.link_outcome(ctx, node, closed.unwrap_or(Ok(())));
    }

    pub(super) fn links_timeout(&mut self, ctx: &mut Ctx<'_>) {
        for node in self.links.nodes() {
            let Links { links, numbers, .. } = &mut self.links;
            let Some(link) = links.get_mut(&node) else { continue };
            if link.leaving.is_some_and(|until| until <= ctx.now) {
                self.give_up(ctx, node);
                continue;
            }
            let outcome = link.handle_timeout(ctx, numbers);
            self.link_outcome(ctx, node, outcome);
            self.relays_timeout(ctx, node);
        }
    }

    fn relays_timeout(&mut self, ctx: &mut Ctx<'_>, node: u32) {
        let Some(link) = self.links.links.get(&node) else { return };
        let due = link.relays.iter().filter_map(|(stream, relay)| match relay.phase {
            RelayPhase::Offering { deadline, .. } | RelayPhase::Connecting { deadline, .. } => {
                (ctx.now >= deadline).then_some((*stream, false))
            }
            RelayPhase::Retry { at } => (ctx.now >= at).then_some((*stream, true)),
            RelayPhase::Up { .. } => None,
        });
        let (again, late): (Vec<_>, Vec<_>) = due.partition(|(_, retry)| *retry);
        for (stream, _) in late {
            self.relay_failed(ctx, node, stream, "the edge did not answer in time");
        }
        self.start_relays(ctx, node, again.into_iter().map(|(stream, _)| stream));
    }

    /// An error takes the link down, and its relays with it.
    fn link_outcome(&mut self, ctx: &mut Ctx<'_>, node: u32, outcome: Result<(), String>) {
        let Err(why) = outcome else { return };
        let Some(link) = self.links.links.get_mut(&node) else { return };
        link.break_off(ctx, why);
        let relays = std::mem::take(&mut link.relays);
        let names = relays.keys().filter_map(|stream| self.streams.get(stream));
        link.left_behind.extend(names.map(|stream| stream.name.clone()));
        let is_leaving = link.leaving.is_some();
        for (stream, relay) in relays {
            self.end_relay(ctx, node, stream, relay, "the link broke");
        }
        if is_leaving {
            self.give_up(ctx, node);
        }
    }

    fn link_news(&mut self, ctx: &mut Ctx<'_>, node: u32, news: News) {
        match news {
            News::Up => {
                self.take_back_ended(ctx, node);
                self.push_all(ctx, node);
            }
            News::Answer { media_session, sdp } => {
                self.relay_answered(ctx, node, &media_session, sdp);
            }
            News::Status { media_session, status, info } => {
                let Some(link) = self.links.links.get_mut(&node) else { return };
                let Some((stream, relay)) = link.find(&media_session) else { return };
                match (status.as_str(), &relay.phase) {
                    ("PUBLISHING", RelayPhase::Connecting { peer, .. }) => {
                        relay.phase = RelayPhase::Up { peer: *peer };
                        if let Some(stream) = self.streams.get(&stream) {
                            let name = stream.name.clone();
                            ctx.out.event(Event::RelayUp { node, name });
                        }
                    }
                    // That it failed is known.
                    (_, RelayPhase::Retry { .. }) => {}
                    ("FAILED" | "UNPUBLISHED", _) => self.relay_failed(ctx, node, stream, &info),
                    _ => {}
                }
            }
        }
    }

    /// Tells an edge of streams that ended while its link was down: it would keep them, and their
    /// viewers, until its patience is over.
    fn take_back_ended(&mut self, ctx: &mut Ctx<'_>, node: u32) {
        let Some(link) = self.links.links.get_mut(&node) else { return };
        let mut said = Ok(());
        for name in std::mem::take(&mut link.left_behind) {
            let stream = self.names.get(&name).and_then(|id| self.streams.get(id));
            if !stream.is_some_and(Stream::is_pushed) {
                let text = signal::un_publish_stream(&ctx.rng.uuid(), &name);
                said = said.and(link.say(ctx, &text));
            }
        }
        self.link_outcome(ctx, node, said);
    }

    /// Pushes a stream to every edge whose link is up; the others get it when theirs comes up.
    pub(super) fn push_to_edges(&mut self, ctx: &mut Ctx<'_>, stream: StreamId) {
        for node in self.links.nodes() {
            let link = self.links.links.get(&node);
            if link.is_some_and(|link| !link.relays.contains_key(&stream)) {
                self.start_relays(ctx, node, [stream]);
            }
        }
    }

    /// Pushes to an edge whatever there is and the edge does not have.
    fn push_all(&mut self, ctx: &mut Ctx<'_>, node: u32) {
        let Some(link) = self.links.links.get(&node) else { return };
        let pushed = self.streams.iter().filter(|(_, stream)| stream.is_pushed());
        let missing = pushed.filter(|(id, _)| !link.relays.contains_key(id));
        let missing: Vec<StreamId> = missing.map(|(id, _)| *id).collect();
        self.start_relays(ctx, node, missing);
    }

    /// Begins to push streams to an edge, anew those that failed before. One that is leaving gets
    /// nothing that is new to it.
    fn start_relays(
        &mut self,
        ctx: &mut Ctx<'_>,
        node: u32,
        streams: impl IntoIterator<Item = StreamId>,
    ) {
        let Some(link) = self.links.links.get_mut(&node) else { return };
        // Counted once: there may be thousands of them.
        let mut room = link.room(&ctx.config.limits);
        let is_leaving = link.leaving.is_some();
        for stream in streams {
            let link = self.links.links.get(&node);
            let has_it = link.is_some_and(|link| link.relays.contains_key(&stream));
            if !is_leaving || has_it {
                self.start_relay(ctx, node, stream, &mut room);
            }
        }
    }

    fn start_relay(&mut self, ctx: &mut Ctx<'_>, node: u32, stream: StreamId, room: &mut usize) {
        let pushed = self.streams.get(&stream).filter(|stream| stream.is_pushed());
        let formats = pushed.map(|stream| (stream.home, stream.formats));
        let Some(link) = self.links.links.get_mut(&node).filter(|link| link.is_up()) else {
            return;
        };
        let Some((home, formats)) = formats else {
            link.relays.remove(&stream);
            return;
        };
        let limits = &ctx.config.limits;
        let (media_session, now) = (ctx.rng.uuid(), ctx.now);
        if *room == 0 {
            // The edge may still have it by the name that it was last offered under.
            let before = link.relays.get(&stream).map(|relay| relay.media_session.clone());
            let media_session = before.unwrap_or(media_session);
            let phase = RelayPhase::Retry { at: now + limits.relay_retry_interval };
            link.relays.insert(stream, Relay { media_session, phase });
            return;
        }
        *room -= 1;
        let deadline = now + limits.relay_answer_timeout;
        let (peer, shard) = self.place(ctx, PeerUse::Relay { node, stream }, None);
        let Some(link) = self.links.links.get_mut(&node) else { return };
        let phase = RelayPhase::Offering { peer, deadline };
        link.relays.insert(stream, Relay { media_session, phase });
        let word = ToMedia::Dial { peer, node, stream, home, formats };
        ctx.out.post(shard, Message::Media(word));
    }

    pub(super) fn relay_offered(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, sdp: &str) {
        let of = self.peers.get(&peer).map(|entry| entry.of);
        let Some(PeerUse::Relay { node, stream }) = of else { return };
        let Some(entry) = self.streams.get(&stream) else { return };
        let Some(link) = self.links.links.get_mut(&node) else { return };
        let Some(relay) = link.relays.get(&stream) else { return };
        let request = StreamRequest {
            media_session: relay.media_session.clone(),
            name: entry.name.clone(),
            provider: "WebRTC".to_owned(),
            sdp: sdp.to_owned(),
            ..StreamRequest::default()
        };
        let (audio, video) = (entry.formats.audio.is_some(), entry.formats.video.is_some());
        let said = link.say(ctx, &signal::publish_stream(&request, audio, video));
        self.link_outcome(ctx, node, said);
    }

    fn relay_answered(&mut self, ctx: &mut Ctx<'_>, node: u32, media_session: &str, sdp: String) {
        let Some(link) = self.links.links.get_mut(&node) else { return };
        let Some((_, relay)) = link.find(media_session) else { return };
        let RelayPhase::Offering { peer, .. } = relay.phase else { return };
        let deadline = ctx.now + ctx.config.limits.peer_connect_timeout;
        relay.phase = RelayPhase::Connecting { peer, deadline };
        let Some(shard) = self.peers.get(&peer).map(|entry| entry.shard) else { return };
        ctx.out.post(shard, Message::Media(ToMedia::TakeAnswer { peer, sdp }));
        self.relay_mute_state(ctx, node, media_session);
    }

    /// Tells an edge what the publisher muted before the edge had the stream.
    fn relay_mute_state(&mut self, ctx: &mut Ctx<'_>, node: u32, media_session: &str) {
        let Some(link) = self.links.links.get_mut(&node) else { return };
        let Some((stream, _)) = link.find(media_session) else { return };
        let Some(stream) = self.streams.get(&stream) else { return };
        let muted = [("audioMuted", stream.audio_muted), ("videoMuted", stream.video_muted)];
        let mut said = Ok(());
        for (kind, _) in muted.into_iter().filter(|(_, muted)| *muted) {
            said = said.and(link.say(ctx, &signal::send_stream_event(media_session, kind, None)));
        }
        self.link_outcome(ctx, node, said);
    }

    /// The peer of a relay is no more. One that the relay has given up already is none of its.
    pub(super) fn relay_peer_failed(
        &mut self,
        ctx: &mut Ctx<'_>,
        node: u32,
        stream: StreamId,
        failed: PeerId,
        why: &str,
    ) {
        let relay = self.links.links.get(&node).and_then(|link| link.relays.get(&stream));
        let current = relay.and_then(|relay| match relay.phase {
            RelayPhase::Offering { peer, .. }
            | RelayPhase::Connecting { peer, .. }
            | RelayPhase::Up { peer } => Some(peer),
            RelayPhase::Retry { .. } => None,
        });
        if current == Some(failed) {
            self.relay_failed(ctx, node, stream, why);
        } else {
            self.drop_peer(ctx, failed);
        }
    }

    /// The stream did not reach the edge, or reaches it no more: it is tried again.
    pub(super) fn relay_failed(
        &mut self,
        ctx: &mut Ctx<'_>,
        node: u32,
        stream: StreamId,
        why: &str,
    ) {
        let Some(link) = self.links.links.get_mut(&node) else { return };
        let Some(relay) = link.relays.remove(&stream) else { return };
        let at = ctx.now + ctx.config.limits.relay_retry_interval;
        let again =
            Relay { media_session: relay.media_session.clone(), phase: RelayPhase::Retry { at } };
        link.relays.insert(stream, again);
        // The edge is told nothing: it would end the stream for its viewers. It loses the stream
        // by itself, keeps them, and gives the name to the next try even if it has not yet.
        self.end_relay(ctx, node, stream, relay, why);
    }

    /// The stream is over: every edge is told.
    pub(super) fn stop_relays(&mut self, ctx: &mut Ctx<'_>, stream: StreamId) {
        for node in self.links.nodes() {
            self.stop_relay(ctx, node, stream);
        }
    }

    fn stop_relay(&mut self, ctx: &mut Ctx<'_>, node: u32, stream: StreamId) {
        let Some(link) = self.links.links.get_mut(&node) else { return };
        let Some(relay) = link.relays.remove(&stream) else { return };
        let name = self.streams.get(&stream).map_or("", |stream| &stream.name);
        let said = link.say(ctx, &signal::un_publish_stream(&relay.media_session, name));
        self.end_relay(ctx, node, stream, relay, "the stream ended");
        self.link_outcome(ctx, node, said);
    }

    fn end_relay(
        &mut self,
        ctx: &mut Ctx<'_>,
        node: u32,
        stream: StreamId,
        relay: Relay,
        why: &str,
    ) {
        let (peer, was_up) = match relay.phase {
            RelayPhase::Offering { peer, .. } | RelayPhase::Connecting { peer, .. } => {
                (peer, false)
            }
            RelayPhase::Up { peer } => (peer, true),
            RelayPhase::Retry { .. } => return,
        };
        self.drop_peer(ctx, peer);
        let name = self.streams.get(&stream).map(|stream| stream.name.clone()).unwrap_or_default();
        if was_up {
            ctx.out.event(Event::RelayDown { node, name, why: why.to_owned() });
        } else {
            tracing::debug!(node, name, why, "a stream did not reach the edge");
        }
    }

    /// Passes a publisher's event on to the edges that have its stream.
    pub(super) fn relay_event(
        &mut self,
        ctx: &mut Ctx<'_>,
        stream: StreamId,
        kind: &str,
        payload: Option<&Value>,
    ) {
        for node in self.links.nodes() {
            let Some(link) = self.links.links.get_mut(&node) else { continue };
            let Some(relay) = link.relays.get(&stream) else { continue };
            if matches!(relay.phase, RelayPhase::Connecting { .. } | RelayPhase::Up { .. }) {
                let text = signal::send_stream_event(&relay.media_session, kind, payload);
                let said = link.say_if_room(ctx, &text);
                self.link_outcome(ctx, node, said);
            }
        }
    }
}
