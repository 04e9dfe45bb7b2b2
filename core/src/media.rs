//! The media of one shard: its peers, what they receive and whom that is for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use slab::Slab;
use str0m::ice::StunMessage;

use crate::id::{PeerId, ShardId, SocketId, StreamId};
use crate::input::Flow;
use crate::message::{Answer, Message, ToMedia, ToNode};
use crate::outbox::Ctx;
use crate::output::{SendBuffer, Transmit};
use crate::timers::Timers;

mod answer;
mod bandwidth;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod crypto;
mod datagram;
mod dial;
mod egress;
mod fault;
mod format;
mod handshake;
mod header;
mod history;
mod ingest;
mod keyframe;
mod late;
mod meter;
mod offer;
mod packet;
mod paths;
mod peer;
mod rewrite;
mod rtc;
mod rtcp;
mod runs;
mod srtp;
#[cfg(test)]
mod tests;
mod transport_count;
mod turn;
mod turns;
mod ufrag;
mod video_rates;
mod wishes;

pub(crate) use bandwidth::Shortage;
pub use crypto::crypto_provider;
pub(crate) use fault::PeerFault;
pub(crate) use format::Formats;
use packet::Kind;
pub(crate) use packet::Packet;

use dial::DialSockets;
use egress::Egress;
use history::History;
use ingest::Ingest;
use keyframe::KeyframeThrottle;
use meter::Meter;
use paths::PathKey;
use peer::{Accepted, Fact, Peer, Role};
use turns::Turns;

/// All peers of a shard and the routes between them.
pub(crate) struct Media {
    shard: ShardId,
    /// Our media port, as peers know it.
    port: u16,
    meter: Meter,
    peers: Slab<Peer>,
    by_id: BTreeMap<PeerId, usize>,
    /// Who was heard from where: our port and the far end.
    by_path: BTreeMap<PathKey, usize>,
    streams: BTreeMap<StreamId, Stream>,
    /// Peers that have, or may have, something to send.
    turns: Turns,
    sockets: DialSockets,
    timers: Timers<Timer>,
    /// Of those who are connected and are sent media, whose ICE may be late.
    patient: Timers<usize>,
    /// Streams of which something came in since the last look at who gets it.
    fresh: Vec<StreamId>,
    /// Late viewers who are given what came before, in turns.
    catching_up: VecDeque<usize>,
    /// When they may have their next turn.
    next_turns: Option<Instant>,
    /// Late viewers who are not given anything before.
    joining: VecDeque<(Instant, usize)>,
    /// What other shards are to get of what came in since the last drain.
    outbound: BTreeMap<ShardId, Vec<(StreamId, Packet)>>,
    /// Lent to drains, so that they need not allocate.
    facts: Vec<Fact>,
}

/// One stream as this shard has to do with it.
#[derive(Debug)]
struct Stream {
    /// The shard that it comes in at.
    home: ShardId,
    /// The publisher's peer, if it is here.
    source: Option<usize>,
    /// The viewers' and links' peers that are here.
    sinks: Vec<usize>,
    /// Shards that have viewers, if it comes in here.
    subscribers: Vec<ShardId>,
    keyframes: KeyframeThrottle,
    history: History,
    /// Whether something came in that the sinks are not marked for.
    is_fresh: bool,
}

impl Stream {
    fn new(home: ShardId) -> Self {
        Self {
            home,
            source: None,
            sinks: Vec::new(),
            subscribers: Vec::new(),
            keyframes: KeyframeThrottle::default(),
            history: History::default(),
            is_fresh: false,
        }
    }

    fn is_idle(&self) -> bool {
        self.source.is_none() && self.sinks.is_empty() && self.subscribers.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Peer(usize),
    /// A key frame was wished for too early.
    Keyframe(StreamId),
    /// A key frame is asked for although nobody wishes for one.
    Period(StreamId),
    /// The late viewers' next turn.
    CatchUp,
    /// A peer is told the rate of its picture.
    VideoRate(usize),
}

impl Media {
    /// How many peers are here, and how many streams.
    pub(crate) fn table_sizes(&self) -> (usize, usize) {
        (self.peers.len(), self.streams.len())
    }

    pub(crate) fn new(shard: ShardId, port: u16) -> Self {
        Self {
            shard,
            port,
            meter: Meter::default(),
            peers: Slab::new(),
            by_id: BTreeMap::new(),
            by_path: BTreeMap::new(),
            streams: BTreeMap::new(),
            turns: Turns::default(),
            sockets: DialSockets::default(),
            fresh: Vec::new(),
            catching_up: VecDeque::new(),
            next_turns: None,
            joining: VecDeque::new(),
            timers: Timers::new(),
            patient: Timers::new(),
            outbound: BTreeMap::new(),
            facts: Vec::new(),
        }
    }

    /// Goes on with settings that may want other words, and other wishes.
    pub(crate) fn reload(&mut self, ctx: &Ctx<'_>) {
        self.count_all_video(ctx);
        let published = self.streams.iter().filter(|(_, stream)| stream.source.is_some());
        for stream in published.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.set_period(ctx, stream);
        }
    }

    /// Takes a word from the node, or from another shard's media.
    pub(crate) fn handle(&mut self, ctx: &mut Ctx<'_>, word: ToMedia) {
        match word {
            ToMedia::AcceptIngest { peer, stream, run, is_relay, offer } => {
                let ingest = Ingest::new(stream, run, is_relay, ctx.now);
                let accepted = self
                    .room(ctx)
                    .and_then(|()| Peer::accept_ingest(ctx, peer, &offer, self.port, ingest));
                self.admit(ctx, peer, stream, self.shard, accepted);
            }
            ToMedia::AcceptEgress { peer, stream, home, formats, offer } => {
                let egress = Egress::new(stream, ctx.rng);
                let accepted = self.room(ctx).and_then(|()| {
                    Peer::accept_egress(ctx, peer, &offer, self.port, egress, &formats)
                });
                self.admit(ctx, peer, stream, home, accepted);
            }
            ToMedia::Dial { peer, node, stream, home, formats } => {
                let request = dial::Request { peer, node, stream, home, formats };
                self.sockets.request(ctx, request);
                self.dial_waiting(ctx);
            }
            ToMedia::TakeAnswer { peer, sdp } => self.take_answer(ctx, peer, &sdp),
            ToMedia::Drop { peer } => {
                self.sockets.withdraw(ctx.now, peer);
                if let Some(slot) = self.by_id.get(&peer).copied() {
                    self.remove(ctx, slot);
                }
            }
            ToMedia::Subscribe { stream: id, to } => {
                let stream = self.streams.entry(id).or_insert(Stream::new(self.shard));
                if !stream.subscribers.contains(&to) {
                    stream.subscribers.push(to);
                    // So that its first viewer can begin at once, too.
                    let packets = stream.history.since_keyframe(ctx.now, &ctx.config.limits);
                    let packets = packets.map(|packet| (id, packet.clone()));
                    self.outbound.entry(to).or_default().extend(packets);
                }
            }
            ToMedia::Unsubscribe { stream, to } => {
                if let Some(entry) = self.streams.get_mut(&stream) {
                    entry.subscribers.retain(|shard| *shard != to);
                    self.forget_if_idle(stream);
                }
            }
            ToMedia::WantKeyframe { stream } => self.want_keyframe(ctx, stream),
        }
    }

    /// Takes packets that came in at another shard.
    pub(crate) fn handle_packets(&mut self, ctx: &mut Ctx<'_>, packets: &[(StreamId, Packet)]) {
        for (stream, packet) in packets {
            self.keep(ctx, *stream, packet.clone());
        }
    }

    /// Takes one run of datagrams.
    pub(crate) fn handle_datagrams(
        &mut self,
        ctx: &mut Ctx<'_>,
        flow: Flow,
        bytes: &[u8],
        stride: usize,
    ) {
        for datagram in bytes.chunks(stride.max(1)) {
            let Some(slot) = self.find(ctx, flow, datagram) else { continue };
            let mut facts = std::mem::take(&mut self.facts);
            if let Some(peer) = self.peers.get_mut(slot) {
                peer.receive(ctx, flow, datagram, &mut facts);
            }
            self.settle(ctx, slot, facts);
        }
    }

    /// Takes the number of a socket that was asked for.
    pub(crate) fn handle_bound(&mut self, ctx: &mut Ctx<'_>, socket: SocketId, port: Option<u16>) {
        self.sockets.bound(socket, port);
        self.dial_waiting(ctx);
    }

    pub(crate) fn handle_timeout(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(timer) = self.timers.pop_due(ctx.now) {
            match timer {
                Timer::Peer(slot) => self.drain(ctx, slot),
                Timer::Keyframe(stream) => self.ask_for_keyframe(ctx, stream),
                Timer::Period(stream) => {
                    self.want_keyframe(ctx, stream);
                    self.set_period(ctx, stream);
                }
                Timer::CatchUp => self.catch_up(ctx),
                Timer::VideoRate(slot) => self.tell_video_rate(ctx, slot),
            }
        }
        while let Some(slot) = self.patient.pop_due(ctx.now) {
            self.drain(ctx, slot);
        }
    }

    /// The next deadline that must be kept.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next one that may be late.
    pub(crate) fn next_patient_timeout(&self) -> Option<Instant> {
        self.patient.next()
    }

    /// Hands over what waits for other shards, then drains peers until one has a run to send.
    pub(crate) fn poll_transmit(
        &mut self,
        ctx: &mut Ctx<'_>,
        send: &mut SendBuffer,
    ) -> Option<Transmit> {
        while let Some((shard, packets)) = self.outbound.pop_first() {
            ctx.out.post(shard, Message::Packets(packets));
        }
        self.mark_sinks();
        // Taken off first, and put back at the end: whoever fails in his turn must not cost another
        // his, and nobody has two turns before the others have one.
        while let Some(slot) = self.turns.next() {
            let limits = &ctx.config.limits;
            if self.peers.get(slot).is_some_and(|peer| peer.is_restless(ctx.now, limits)) {
                self.drain(ctx, slot);
            }
            let Some(peer) = self.peers.get_mut(slot) else { continue };
            let stream = self.streams.get(&peer.stream());
            let history = stream.map(|stream| &stream.history);
            let run = peer.next_run(ctx, history, send);
            let has_more = peer.has_more(history);
            let wish = peer.take_wish();
            if has_more && peer.is_turn_over() {
                peer.set_queued(true);
                self.catching_up.push_back(slot);
                if self.catching_up.len() == 1 {
                    self.set_catch_up(ctx);
                }
            } else if has_more && run.is_some() {
                // Whoever had nothing that fits would have nothing the next time, for ever.
                self.turns.add(slot);
            }
            // The key frame that was asked for may have been lost, or its start.
            if let Some(stream) = wish {
                self.want_keyframe(ctx, stream);
            }
            if let Some(run) = run {
                if let Some(bits_per_second) = self.meter.count(ctx.now, run.len) {
                    let word = ToNode::Sent { shard: self.shard, bits_per_second };
                    ctx.out.post(ShardId::NODE, Message::Node(word));
                }
                return Some(Transmit { flow: run.flow, len: run.len, segment: run.segment });
            }
        }
        None
    }

    /// Gives everybody a turn for whom something came in.
    fn mark_sinks(&mut self) {
        for id in self.fresh.drain(..) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.is_fresh = false;
            for slot in &stream.sinks {
                self.turns.add(*slot);
            }
        }
    }

    /// Whether nobody has anything to send.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.turns.is_empty() && self.fresh.is_empty() && self.outbound.is_empty()
    }

    fn room(&self, ctx: &Ctx<'_>) -> Result<(), PeerFault> {
        if self.peers.len() >= ctx.config.limits.peers_max {
            return Err(PeerFault::Exhausted("this server has as many peers as it may have"));
        }
        Ok(())
    }

    fn admit(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: PeerId,
        stream: StreamId,
        home: ShardId,
        accepted: Result<Accepted, PeerFault>,
    ) {
        let outcome = accepted.map(|Accepted { peer, answer, formats }| {
            self.insert(ctx, peer, stream, home);
            Answer { sdp: answer, formats }
        });
        ctx.out.post(ShardId::NODE, Message::Node(ToNode::Answered { peer: id, outcome }));
    }

    fn insert(&mut self, ctx: &mut Ctx<'_>, peer: Peer, stream: StreamId, home: ShardId) {
        let is_source = matches!(peer.role, Role::Ingest(_));
        let id = peer.id;
        let slot = self.peers.insert(peer);
        self.by_id.insert(id, slot);
        let shard = self.shard;
        let entry = self.streams.entry(stream).or_insert(Stream::new(home));
        if is_source {
            entry.source = Some(slot);
            self.set_period(ctx, stream);
        } else {
            if entry.sinks.is_empty() && home != shard {
                let word = ToMedia::Subscribe { stream, to: shard };
                ctx.out.post(home, Message::Media(word));
            }
            entry.sinks.push(slot);
        }
        self.turns.add(slot);
    }

    fn remove(&mut self, ctx: &mut Ctx<'_>, slot: usize) {
        let Some(peer) = self.peers.try_remove(slot) else { return };
        self.by_id.remove(&peer.id);
        for path in peer.paths.iter() {
            self.forget_path(PathKey::of(path), slot);
        }
        self.timers.set(Timer::Peer(slot), None);
        self.patient.set(slot, None);
        self.timers.set(Timer::VideoRate(slot), None);
        self.turns.remove(slot);
        self.catching_up.retain(|other| *other != slot);
        self.joining.retain(|(_, other)| *other != slot);
        self.sockets.release(ctx.now, peer.id);
        let stream = peer.stream();
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        match &peer.role {
            Role::Ingest(_) if entry.source == Some(slot) => entry.source = None,
            Role::Ingest(_) => {}
            Role::Egress(_) => {
                entry.sinks.retain(|other| *other != slot);
                if entry.sinks.is_empty() && entry.home != self.shard {
                    let word = ToMedia::Unsubscribe { stream, to: self.shard };
                    ctx.out.post(entry.home, Message::Media(word));
                }
            }
        }
        self.forget_if_idle(stream);
    }

    fn forget_if_idle(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(Stream::is_idle) {
            self.streams.remove(&stream);
            self.timers.set(Timer::Keyframe(stream), None);
            self.timers.set(Timer::Period(stream), None);
        }
    }

    /// Finds whose a datagram is. A STUN request names the peer (RFC 8445, section 7.3), and from
    /// then on the peer is known by where it sends from. No more is read of one that is nobody's.
    fn find(&mut self, ctx: &Ctx<'_>, flow: Flow, datagram: &[u8]) -> Option<usize> {
        let path = PathKey::of(&flow);
        if datagram::is_stun(datagram)
            && let Some(ours) = datagram::stun_fragment(datagram)
        {
            let slot = self.by_id.get(&ufrag::decode(ours)?).copied()?;
            let peer = self.peers.get_mut(slot)?;
            if peer.ice.ufrag != ours || peer.port != flow.local.port() {
                return None;
            }
            let known = self.by_path.get(&path).copied();
            if known == Some(slot) {
                peer.paths.learn(ctx.now, flow, &ctx.config.limits);
                return Some(slot);
            }
            // A fragment can be overheard. Whoever has no password takes no path, and crowds none
            // out.
            let message = StunMessage::parse(datagram).ok()?;
            let hmac = ctx.config.crypto.sha1_hmac_provider;
            if !message.verify(peer.ice.pass.as_bytes(), |key, parts| hmac.sha1_hmac(key, parts)) {
                return None;
            }
            // Whoever was heard here lately keeps the path: the sender's address may be forged.
            let is_held = known
                .and_then(|other| self.peers.get(other))
                .is_some_and(|other| other.paths.holds(ctx.now, flow.remote, &ctx.config.limits));
            if is_held {
                return Some(slot);
            }
            let peer = self.peers.get_mut(slot)?;
            if let Some(given_up) = peer.paths.learn(ctx.now, flow, &ctx.config.limits) {
                self.forget_path(PathKey::of(&given_up), slot);
            }
            self.by_path.insert(path, slot);
            return Some(slot);
        }
        self.by_path.get(&path).copied()
    }

    /// Forgets where a peer was heard, unless another is heard there by now.
    fn forget_path(&mut self, path: PathKey, slot: usize) {
        if self.by_path.get(&path) == Some(&slot) {
            self.by_path.remove(&path);
        }
    }

    fn take_answer(&mut self, ctx: &mut Ctx<'_>, id: PeerId, sdp: &str) {
        let Some(slot) = self.by_id.get(&id).copied() else { return };
        let Some(peer) = self.peers.get_mut(slot) else { return };
        match peer.take_answer(ctx, sdp) {
            Ok(()) => {
                for path in peer.paths.iter() {
                    self.by_path.insert(PathKey::of(path), slot);
                }
                self.turns.add(slot);
            }
            Err(fault) => self.fail(ctx, slot, fault),
        }
    }

    /// Makes the offers whose sockets have come.
    fn dial_waiting(&mut self, ctx: &mut Ctx<'_>) {
        while let Some((request, socket)) = self.sockets.next_ready() {
            let dial::Request { peer: id, node: _, stream, home, formats } = request;
            let dialed = self.room(ctx).and_then(|()| {
                let port = socket.ok_or(PeerFault::Exhausted("no UDP socket can be opened"))?;
                let egress = Egress::new(stream, ctx.rng);
                Peer::dial(ctx, id, port, egress, &formats)
            });
            let outcome = dialed.map(|(peer, offer)| {
                self.insert(ctx, peer, stream, home);
                offer
            });
            if outcome.is_err() {
                self.sockets.release(ctx.now, id);
            }
            ctx.out.post(ShardId::NODE, Message::Node(ToNode::Offered { peer: id, outcome }));
        }
    }

    fn drain(&mut self, ctx: &mut Ctx<'_>, slot: usize) {
        let mut facts = std::mem::take(&mut self.facts);
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.drain(ctx, &mut facts);
        }
        self.settle(ctx, slot, facts);
    }

    /// Acts on what a drain brought to light, and sets the peer's alarm.
    fn settle(&mut self, ctx: &mut Ctx<'_>, slot: usize, mut facts: Vec<Fact>) {
        for fact in facts.drain(..) {
            let Some(peer) = self.peers.get(slot) else { break };
            match (fact, &peer.role) {
                (Fact::Connected, _) => {
                    let up = ToNode::Up { peer: peer.id };
                    ctx.out.post(ShardId::NODE, Message::Node(up));
                    self.join(ctx, slot);
                    self.count_video(ctx, slot);
                }
                (Fact::Packet(packet), Role::Ingest(ingest)) => {
                    let stream = ingest.stream;
                    self.distribute(ctx, stream, packet);
                }
                (Fact::KeyframeWanted, Role::Egress(egress)) => {
                    let stream = egress.stream;
                    self.want_keyframe(ctx, stream);
                }
                (Fact::Short(shortage), _) => {
                    let short = ToNode::Short { peer: peer.id, shortage };
                    ctx.out.post(ShardId::NODE, Message::Node(short));
                }
                (Fact::Packet(_), Role::Egress(_)) | (Fact::KeyframeWanted, Role::Ingest(_)) => {}
                (Fact::Failed(fault), _) => self.fail(ctx, slot, fault),
            }
        }
        self.facts = facts;
        let Some(peer) = self.peers.get(slot) else { return };
        let stream = self.streams.get(&peer.stream());
        let has_more = peer.has_more(stream.map(|stream| &stream.history));
        let due = peer.next_timeout(&ctx.config.limits);
        // On what is sent to us str0m reports, and that must be on time.
        let is_patient = peer.is_connected() && matches!(peer.role, Role::Egress(_));
        let (urgent, patient) = if is_patient { (None, due) } else { (due, None) };
        self.timers.set(Timer::Peer(slot), urgent);
        self.patient.set(slot, patient);
        if has_more {
            self.turns.add(slot);
        }
    }

    fn fail(&mut self, ctx: &mut Ctx<'_>, slot: usize, fault: PeerFault) {
        let Some(id) = self.peers.get(slot).map(|peer| peer.id) else { return };
        self.remove(ctx, slot);
        ctx.out.post(ShardId::NODE, Message::Node(ToNode::Failed { peer: id, fault }));
    }

    /// Keeps a packet that came in here for the viewers here, and for the shards of the others.
    fn distribute(&mut self, ctx: &Ctx<'_>, id: StreamId, packet: Packet) {
        let subscribers = self.streams.get(&id).map(|stream| stream.subscribers.as_slice());
        for shard in subscribers.unwrap_or_default() {
            self.outbound.entry(*shard).or_default().push((id, packet.clone()));
        }
        self.keep(ctx, id, packet);
    }

    fn keep(&mut self, ctx: &Ctx<'_>, id: StreamId, packet: Packet) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if packet.kind == Kind::Video && packet.entry {
            stream.keyframes.came();
        }
        stream.history.push(packet, &ctx.config.limits);
        if !std::mem::replace(&mut stream.is_fresh, true) {
            self.fresh.push(id);
        }
    }
}
