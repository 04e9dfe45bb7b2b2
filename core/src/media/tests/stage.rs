//! One shard's media, and publishers and viewers around it, wire to wire.

use std::sync::Arc;
use std::time::Duration;

use super::viewer::{Setup, Viewer};
use super::*;
use crate::id::ShardId;
use crate::input::Flow;
use crate::limits::Limits;
use crate::media::history::History;
use crate::media::packet::Extensions;
use crate::media::peer::Fact;
use crate::media::{Kind, Media, Packet, Shortage};
use crate::message::{Message, ToMedia, ToNode};
use crate::output::{Output, SendBuffer};

pub(super) const PORT: u16 = 31001;
const DIAL_PORT: u16 = 40_001;
const STEP: Duration = Duration::from_millis(10);

/// One shard's media and the far ends of its peers.
pub(super) struct Stage {
    pub(super) bench: Bench,
    pub(super) media: Media,
    pub(super) ends: Vec<End>,
    pub(super) viewers: Vec<Viewer>,
    pub(super) failed: Vec<(PeerId, PeerFault)>,
    /// Who was found to have too little bandwidth.
    pub(super) short: Vec<(PeerId, Shortage)>,
    /// How much picture a peer had, each time that this was told.
    pub(super) rates: Vec<(PeerId, u64)>,
    send: SendBuffer,
}

/// The far end of one of the shard's peers.
pub(super) struct End {
    bench: Bench,
    peer: Peer,
    pub(super) port: u16,
    /// The port of the shard that it talks to.
    door: u16,
    /// What it publishes.
    history: History,
    pub(super) facts: Vec<Fact>,
}

impl End {
    /// Sends a packet as a browser does, that is without a wait for a key frame.
    pub(super) fn write(&mut self, packet: Packet) {
        self.history.push(Packet { entry: true, ..packet }, &self.bench.config.limits);
    }

    /// What came since the last call.
    pub(super) fn received(&mut self) -> Vec<Packet> {
        let packet = |fact| if let Fact::Packet(packet) = fact { Some(packet) } else { None };
        self.facts.drain(..).filter_map(packet).collect()
    }

    /// The tags of what came since the last call, in order.
    pub(super) fn tags(&mut self) -> Vec<u8> {
        self.received().iter().map(|packet| *packet.payload.last().unwrap()).collect()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.facts.iter().any(|fact| matches!(fact, Fact::Connected))
    }

    /// How often it was asked for a key frame.
    pub(super) fn wishes(&self) -> usize {
        self.facts.iter().filter(|fact| matches!(fact, Fact::KeyframeWanted)).count()
    }
}

impl Stage {
    pub(super) fn new(limits: Limits) -> Self {
        Self::of_shard(ShardId::NODE, limits)
    }

    pub(super) fn of_shard(shard: ShardId, limits: Limits) -> Self {
        Self {
            bench: Bench::new().bounded(limits),
            media: Media::new(shard, PORT),
            ends: Vec::new(),
            viewers: Vec::new(),
            failed: Vec::new(),
            short: Vec::new(),
            rates: Vec::new(),
            send: SendBuffer::new(1),
        }
    }

    /// A publisher and a viewer who came through the dialogue, connected: peers 1 and 2.
    pub(super) fn watched(limits: Limits) -> Self {
        let mut stage = Self::new(limits);
        stage.publish(1);
        stage.watch(2, &Setup::default());
        stage.run(Duration::from_secs(1));
        assert!(stage.ends[0].is_connected() && stage.viewers[0].is_connected);
        stage.ends[0].facts.clear();
        stage
    }

    /// Has up to so many datagrams sent at once.
    pub(super) fn send_runs(&mut self, segments_max: usize) {
        self.send = SendBuffer::new(segments_max);
    }

    /// A publisher and a viewer of stream 1, connected: peers 1 and 2, ends 0 and 1.
    pub(super) fn of_two(limits: Limits) -> Self {
        let mut stage = Self::new(limits);
        stage.publish(1);
        stage.play(2);
        stage.run(Duration::from_secs(1));
        assert!(stage.ends.iter().all(End::is_connected));
        stage.ends.iter_mut().for_each(|end| end.facts.clear());
        stage
    }

    /// Takes a browser as stream 1's publisher, of whom nothing is heard.
    pub(super) fn admit(&mut self, peer: u64) {
        let (peer, stream, offer) = (PeerId(peer), StreamId(1), chromium_publishes());
        self.handle(ToMedia::AcceptIngest { peer, stream, run: 1, is_relay: false, offer });
        assert!(matches!(self.told(), ToNode::Answered { outcome: Ok(_), .. }));
    }

    /// Adds the end of a publisher of stream 1.
    pub(super) fn publish(&mut self, peer: u64) {
        let (mut bench, port) = self.far_bench();
        let egress = Egress::new(StreamId(1), &mut bench.rng);
        let dialed = Peer::dial(&mut bench.ctx(), PeerId(1), port, egress, &formats());
        let (mut far, offer) = dialed.unwrap();
        let (peer, stream) = (PeerId(peer), StreamId(1));
        self.handle(ToMedia::AcceptIngest { peer, stream, run: 1, is_relay: false, offer });
        let ToNode::Answered { outcome, .. } = self.told() else { panic!() };
        far.take_answer(&bench.ctx(), &outcome.unwrap().sdp).unwrap();
        self.add_end(bench, far, port, PORT);
    }

    /// Adds the end of a viewer of stream 1, one that the shard dials.
    pub(super) fn play(&mut self, peer: u64) {
        let (mut bench, port) = self.far_bench();
        let (peer, stream, formats) = (PeerId(peer), StreamId(1), formats());
        let (node, home) = (u32::from(port), ShardId::NODE);
        self.handle(ToMedia::Dial { peer, node, stream, home, formats });
        for output in self.bench.outputs() {
            let Output::Bind { socket } = output else { panic!("{output:?}") };
            self.media.handle_bound(&mut self.bench.ctx(), socket, Some(DIAL_PORT));
        }
        let ToNode::Offered { outcome, .. } = self.told() else { panic!() };
        let ingest = Ingest::new(stream, 1, false, bench.now);
        let accepted =
            Peer::accept_ingest(&mut bench.ctx(), PeerId(1), &outcome.unwrap(), port, ingest);
        let Accepted { peer: far, answer: sdp, .. } = accepted.unwrap();
        self.handle(ToMedia::TakeAnswer { peer, sdp });
        self.add_end(bench, far, port, DIAL_PORT);
    }

    /// Adds a viewer of stream 1, one that offers. Tells which of the viewers it is.
    pub(super) fn watch(&mut self, peer: u64, setup: &Setup) -> usize {
        self.watch_from(peer, setup, ShardId::NODE)
    }

    /// The same for a stream that comes in at this shard.
    pub(super) fn watch_from(&mut self, peer: u64, setup: &Setup, home: ShardId) -> usize {
        let nth = self.viewers.len();
        let port = 51_000 + u16::try_from(nth).unwrap();
        let (mut viewer, offer) = Viewer::new(self.bench.now, setup, port);
        let (peer, stream, formats) = (PeerId(peer), StreamId(1), formats());
        self.handle(ToMedia::AcceptEgress { peer, stream, home, formats, offer });
        let ToNode::Answered { outcome, .. } = self.told() else { panic!() };
        viewer.take_answer(self.bench.now, &outcome.unwrap().sdp);
        self.viewers.push(viewer);
        nth
    }

    fn add_end(&mut self, bench: Bench, peer: Peer, port: u16, door: u16) {
        let (history, facts) = (History::default(), Vec::new());
        self.ends.push(End { bench, peer, port, door, history, facts });
    }

    fn far_bench(&self) -> (Bench, u16) {
        let nth = u8::try_from(self.ends.len()).unwrap();
        let mut bench = Bench::new();
        bench.now = self.bench.now;
        bench.rng = crate::rng::Rng::new([nth + 10; 32]);
        (bench, 50_000 + u16::from(nth))
    }

    pub(super) fn handle(&mut self, word: ToMedia) {
        self.media.handle(&mut self.bench.ctx(), word);
    }

    /// What it tells the node, whichever shard that is.
    /// What the node is told. On another shard that comes behind a word to the stream's home.
    fn told(&mut self) -> ToNode {
        while let Some(message) = self.bench.out.pop_to_self() {
            if let Message::Node(word) = message {
                return word;
            }
        }
        panic!("nothing was told");
    }

    /// One of the shard's peers.
    pub(super) fn peer(&self, peer: u64) -> &Peer {
        &self.media.peers[self.media.by_id[&PeerId(peer)]]
    }

    /// Brings packets of stream 1 as another shard would.
    pub(super) fn fan_out(&mut self, packets: &[Packet]) {
        let packets: Vec<_> = packets.iter().map(|packet| (StreamId(1), packet.clone())).collect();
        self.media.handle_packets(&mut self.bench.ctx(), &packets);
    }

    /// Lets time pass, and nothing else happen.
    pub(super) fn wait(&mut self, time: Duration) {
        self.bench.now += time;
        self.bench.clock.set(self.bench.clock.unix() + time);
        self.ends.iter_mut().for_each(|end| end.bench.now += time);
    }

    /// Lets time pass in steps of 10 ms, and datagrams with it.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.bench.now + time;
        while self.bench.now < end {
            self.wait(STEP);
            for end in &mut self.ends {
                end.peer.drain(&end.bench.ctx(), &mut end.facts);
            }
            for viewer in &mut self.viewers {
                viewer.advance(self.bench.now);
            }
            self.media.handle_timeout(&mut self.bench.ctx());
            for _ in 0..4 {
                self.carry_in();
                self.carry_out();
            }
        }
    }

    fn carry_in(&mut self) {
        for viewer in &mut self.viewers {
            while let Some((to, datagram)) = viewer.pop() {
                let flow = Flow { local: to, remote: viewer.at };
                let ctx = &mut self.bench.ctx();
                self.media.handle_datagrams(ctx, flow, &datagram, datagram.len());
            }
        }
        for end in &mut self.ends {
            let flow = Flow { local: address(end.door), remote: address(end.port) };
            let End { bench, peer, history, .. } = end;
            while let Some(run) = peer.next_run(&bench.ctx(), Some(history), &mut self.send) {
                let bytes = self.send.bytes.get(..run.len).unwrap();
                self.media.handle_datagrams(&mut self.bench.ctx(), flow, bytes, run.segment);
            }
        }
    }

    /// Loses what the shard has to send; tells the ports that it was for, in turn.
    pub(super) fn lose_out(&mut self) -> Vec<u16> {
        let next = || self.media.poll_transmit(&mut self.bench.ctx(), &mut self.send);
        std::iter::from_fn(next).map(|transmit| transmit.flow.remote.port()).collect()
    }

    /// Brings what the shard has to send to the ends.
    pub(super) fn carry_out(&mut self) {
        while let Some(transmit) = self.media.poll_transmit(&mut self.bench.ctx(), &mut self.send) {
            let (flow, now) = (transmit.flow, self.bench.now);
            for datagram in self.send.run(&transmit).chunks(transmit.segment) {
                let is_for = |end: &&mut End| address(end.port) == flow.remote;
                if let Some(end) = self.ends.iter_mut().find(is_for) {
                    let flow = Flow { local: address(end.port), remote: address(end.door) };
                    end.peer.receive(&end.bench.ctx(), flow, datagram, &mut end.facts);
                } else if let Some(viewer) =
                    self.viewers.iter_mut().find(|viewer| viewer.at == flow.remote)
                {
                    viewer.receive(now, flow.local, datagram);
                }
            }
        }
        while let Some(message) = self.bench.out.pop_to_self() {
            match message {
                Message::Node(ToNode::Failed { peer, fault }) => self.failed.push((peer, fault)),
                Message::Node(ToNode::Short { peer, shortage }) => {
                    self.short.push((peer, shortage));
                }
                Message::Node(ToNode::VideoRate { peer, bits }) => self.rates.push((peer, bits)),
                Message::Node(_)
                | Message::Media(_)
                | Message::Packets(_)
                | Message::Connection { .. }
                | Message::Happened { .. }
                | Message::TookUp(_)
                | Message::Door(_)
                | Message::Leave => {}
            }
        }
    }
}

pub(super) fn formats() -> Formats {
    published(&chromium_publishes(), "opus,vp8")
}

pub(super) fn address(port: u16) -> std::net::SocketAddr {
    ([192, 0, 2, 1], port).into()
}

/// One packet of VP8 that carries a tag in its last byte, which is that of its number too.
pub(super) fn packet(stage: &Stage, seq: u8, entry: bool, len: usize) -> Packet {
    const KEY_FRAME: [u8; 7] = [0x10, 0, 0, 0, 0x9d, 0x01, 0x2a];
    const OTHER: [u8; 4] = [0x10, 1, 0, 0];
    let mut payload = if entry { KEY_FRAME.to_vec() } else { OTHER.to_vec() };
    payload.resize(len - 1, 0);
    payload.push(seq);
    Packet {
        kind: Kind::Video,
        run: 1,
        seq: seq.into(),
        time: u32::from(seq) * 3_000,
        marker: true,
        entry,
        extensions: Extensions::default(),
        payload: Arc::from(payload),
        arrived: stage.bench.now,
    }
}

/// One packet of Opus, with a tag as [`packet`] has it.
pub(super) fn sound(stage: &Stage, seq: u8) -> Packet {
    let mut extensions = Extensions::default();
    (extensions.audio_level, extensions.voice_activity) = (Some(-30), Some(true));
    Packet {
        kind: Kind::Audio,
        time: u32::from(seq) * 960,
        extensions,
        payload: Arc::from(vec![9, 9, seq]),
        ..packet(stage, seq, true, 10)
    }
}
