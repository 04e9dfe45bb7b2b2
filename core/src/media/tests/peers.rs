//! Peers over time: who is given up, when and why.

use std::time::{Duration, Instant};

use super::*;
use crate::id::ShardId;
use crate::input::Flow;
use crate::limits::Limits;
use crate::media::Media;
use crate::media::peer::Fact;
use crate::media::srtp::Srtp;
use crate::message::{Message, ToMedia, ToNode};
use crate::output::SendBuffer;

/// A publisher and the one that takes it, wire to wire.
struct Pair {
    near: Bench,
    far: Bench,
    publisher: Peer,
    offer: String,
    taker: Peer,
    /// What the taker brought to light.
    facts: Vec<Fact>,
    /// Whether the wire is cut.
    cut: bool,
}

const NEAR: u16 = 31001;
const FAR: u16 = 32001;

impl Pair {
    fn new(limits: Limits) -> Self {
        let (mut near, mut far) = (Bench::new(), Bench::new().bounded(limits));
        far.now = near.now;
        far.rng = crate::rng::Rng::new([8; 32]);
        let formats = published(&chromium_publishes(), "opus,vp8");
        let egress = Egress::new(StreamId(1), &mut near.rng);
        let dialed = Peer::dial(&mut near.ctx(), PeerId(1), NEAR, egress, &formats);
        let (mut publisher, offer) = dialed.unwrap();
        let ingest = Ingest::new(StreamId(1), 1, false, far.now);
        let accepted = Peer::accept_ingest(&mut far.ctx(), PeerId(2), &offer, FAR, ingest);
        let Accepted { peer: taker, answer, .. } = accepted.unwrap();
        publisher.take_answer(&near.ctx(), &answer).unwrap();
        Self { near, far, publisher, offer, taker, facts: Vec::new(), cut: false }
    }

    fn connected(limits: Limits) -> Self {
        let mut pair = Self::new(limits);
        pair.run(Duration::from_secs(2));
        assert!(pair.facts.iter().any(|fact| matches!(fact, Fact::Connected)), "{:?}", pair.facts);
        pair
    }

    fn now(&self) -> Instant {
        self.near.now
    }

    /// Lets time pass in steps of 10 ms, and datagrams with it.
    fn run(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            let now = self.now() + Duration::from_millis(10);
            (self.near.now, self.far.now) = (now, now);
            self.publisher.drain(&self.near.ctx(), &mut Vec::new());
            self.taker.drain(&self.far.ctx(), &mut self.facts);
            for _ in 0..4 {
                self.carry();
            }
        }
    }

    fn carry(&mut self) {
        let addresses = |near: u16, far: u16| Flow {
            local: ([192, 0, 2, 1], near).into(),
            remote: ([192, 0, 2, 1], far).into(),
        };
        let out = datagrams(&mut self.publisher, self.near.now);
        let back = datagrams(&mut self.taker, self.near.now);
        if self.cut {
            return;
        }
        for bytes in out {
            let flow = addresses(FAR, NEAR);
            self.taker.paths.learn(self.far.now, flow, &self.far.config.limits);
            self.taker.receive(&self.far.ctx(), flow, &bytes, &mut self.facts);
        }
        for bytes in back {
            let flow = addresses(NEAR, FAR);
            self.publisher.receive(&self.near.ctx(), flow, &bytes, &mut Vec::new());
        }
    }

    /// The first failure of the taker within a time, and when.
    fn failure(&mut self, within: Duration) -> Option<(Duration, PeerFault)> {
        let start = self.now();
        while self.now() < start + within {
            self.run(Duration::from_millis(10));
            for fact in self.facts.drain(..) {
                if let Fact::Failed(fault) = fact {
                    return Some((self.near.now - start, fault));
                }
            }
        }
        None
    }
}

/// Everything that a peer has to send.
pub(super) fn datagrams(peer: &mut Peer, now: Instant) -> Vec<Vec<u8>> {
    let (mut buffer, limits) = (vec![0; 65_507], Limits::default());
    let mut all = Vec::new();
    while let Some(run) = peer.runs.take(now, &limits, &mut buffer, 1) {
        all.push(buffer[..run.len].to_vec());
    }
    all
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn whoever_never_checks_is_given_up() {
    let limits = Limits { peer_connect_timeout: 3 * SECOND, ..Limits::default() };
    let mut pair = Pair::new(limits);
    pair.cut = true;
    assert_eq!(pair.failure(20 * SECOND), Some((3 * SECOND, PeerFault::IceTimeout)));
}

#[test]
fn whoever_connects_but_sends_nothing_is_given_up() {
    let limits = Limits { rtp_silence_timeout: 4 * SECOND, ..Limits::default() };
    let mut pair = Pair::connected(limits);
    let (after, fault) = pair.failure(20 * SECOND).unwrap();
    assert_eq!(fault, PeerFault::RtpSilence);
    assert!(after <= 4 * SECOND && after >= 2 * SECOND, "{after:?}");
}

#[test]
fn whoever_goes_silent_altogether_is_given_up() {
    let limits = Limits {
        rtp_silence_timeout: 60 * SECOND,
        consent_timeout: 5 * SECOND,
        ..Limits::default()
    };
    let mut pair = Pair::connected(limits);
    assert_eq!(pair.failure(12 * SECOND), None, "its checks are enough");
    pair.cut = true;
    let (after, fault) = pair.failure(20 * SECOND).unwrap();
    assert_eq!(fault, PeerFault::ConsentLost);
    assert!(after <= 5 * SECOND, "{after:?}");
}

#[test]
fn a_peer_that_does_not_come_to_rest_is_broken() {
    let limits = Limits { peer_polls_max: 0, ..Limits::default() };
    let (_, fault) = Pair::new(limits).failure(SECOND).unwrap();
    assert!(matches!(fault, PeerFault::Internal(_)), "{fault}");
}

#[test]
fn a_peer_is_heard_from_so_many_addresses_and_gives_the_oldest_up_for_one_more() {
    let limits = Limits { peer_addresses_max: 2, path_hold_time: 5 * SECOND, ..Limits::default() };
    let mut pair = Pair::new(limits.clone());
    let flow = |port| Flow { local: ([0; 4], FAR).into(), remote: ([10, 0, 0, 1], port).into() };
    let start = pair.far.now;
    let mut learn = |after, port| {
        pair.taker.paths.learn(start + after * SECOND, flow(port), &limits).map(|gone| gone.remote)
    };
    assert_eq!(learn(1, 1), None);
    assert_eq!(learn(2, 2), None);
    assert_eq!(learn(3, 1), None, "a known one is heard again");
    assert_eq!(learn(4, 3), Some(flow(2).remote));
    for (port, after, held) in [(1, 7, true), (1, 8, false), (2, 4, false), (3, 8, true)] {
        let holds = pair.taker.paths.holds(start + after * SECOND, flow(port).remote, &limits);
        assert_eq!(holds, held, "port {port} after {after} s");
    }
    assert_eq!(pair.taker.paths.iter().count(), 2);
}

/// What a peer makes of one check of the far side's, if it comes from that many ports in turn.
fn checked(pair: &mut Pair, check: &[u8], ports: u16) -> Vec<PeerFault> {
    pair.facts.clear();
    for port in 0..ports {
        let flow = Flow {
            local: ([192, 0, 2, 1], FAR).into(),
            remote: ([198, 51, 100, 7], 1_024 + port).into(),
        };
        pair.taker.receive(&pair.far.ctx(), flow, check, &mut pair.facts);
    }
    let fault = |fact| if let Fact::Failed(fault) = fact { Some(fault) } else { None };
    pair.facts.drain(..).filter_map(fault).collect()
}

#[test]
fn whoever_checks_from_one_place_after_another_is_given_up() {
    let mut pair = Pair::new(Limits::default());
    pair.near.now += SECOND;
    pair.far.now = pair.near.now;
    pair.publisher.drain(&pair.near.ctx(), &mut Vec::new());
    let check = datagrams(&mut pair.publisher, pair.near.now).swap_remove(0);
    let mut forged = check.clone();
    // The last byte of the seal, which the fingerprint is behind.
    let sealed = forged.len() - 9;
    forged[sealed] ^= 1;
    assert_eq!(checked(&mut pair, &forged, 1_000), [], "anybody can say that");
    assert_eq!(checked(&mut pair, &check, 64), []);
    assert_eq!(checked(&mut pair, &check, 64), [], "the same again");
    let faults = checked(&mut pair, &check, 65);
    assert!(matches!(faults[..], [PeerFault::Exhausted(_)]), "{faults:?}");
}

/// An RTP packet of sound that says which section it is of, sealed as the publisher seals.
fn sealed(srtp: &mut Srtp, offer: &str, source: u32, seq: u16) -> Vec<u8> {
    const NAMES_SECTION: &str = " urn:ietf:params:rtp-hdrext:sdes:mid";
    let sections = sections(offer);
    let mut extensions = values(&sections[1], "a=extmap:").into_iter();
    let id = extensions.find_map(|value| value.strip_suffix(NAMES_SECTION)).unwrap();
    let [mid] = values(&sections[1], "a=mid:")[..] else { panic!("{offer}") };
    let mut packet = vec![0x90, 111];
    packet.extend(seq.to_be_bytes());
    packet.extend([0, 0, 0, 9]);
    packet.extend(source.to_be_bytes());
    packet.extend([0xbe, 0xde, 0, 1]);
    packet.push(id.parse::<u8>().unwrap() << 4 | 2);
    packet.extend(mid.as_bytes());
    let head = packet.len();
    packet.resize(head + 100, 0);
    let payload = [source.to_be_bytes()[3]; 10];
    let len = srtp.seal_rtp(&mut packet, head, &payload, source, seq.into()).unwrap();
    packet.truncate(len);
    packet
}

#[test]
fn a_publisher_has_so_many_sources() {
    let mut pair = Pair::connected(Limits::default());
    let mut srtp = Srtp::new(pair.publisher.keys().unwrap(), &crate::crypto_provider()).unwrap();
    let flow = Flow { local: ([192, 0, 2, 1], FAR).into(), remote: ([192, 0, 2, 1], NEAR).into() };
    for seq in 1..3 {
        pair.facts.clear();
        for source in 1..=30 {
            let packet = sealed(&mut srtp, &pair.offer, source, seq);
            pair.taker.receive(&pair.far.ctx(), flow, &packet, &mut pair.facts);
        }
        let sources = pair.facts.iter().map(|fact| {
            let Fact::Packet(packet) = fact else { panic!("{fact:?}") };
            packet.payload[0]
        });
        assert_eq!(sources.collect::<Vec<u8>>(), (1..=16).collect::<Vec<u8>>());
    }
}

/// Whoever knows a publisher's address can send in its name, but not seal.
#[test]
fn forged_sources_keep_none_out_that_the_offer_names() {
    let flow = Flow { local: ([192, 0, 2, 1], FAR).into(), remote: ([192, 0, 2, 1], NEAR).into() };
    let forge = |pair: &mut Pair| {
        for source in 1..=40 {
            let mut forged = vec![0x80, 111, 0, 1, 0, 0, 0, 9, 0, 0, 0, source];
            forged.resize(100, 0);
            pair.taker.receive(&pair.far.ctx(), flow, &forged, &mut pair.facts);
        }
    };
    let mut pair = Pair::new(Limits::default());
    forge(&mut pair);
    pair.run(2 * SECOND);
    let mut srtp = Srtp::new(pair.publisher.keys().unwrap(), &crate::crypto_provider()).unwrap();
    pair.facts.clear();
    let others = [201, 202].map(|source| sealed(&mut srtp, &pair.offer, source, 1));
    for packet in &others {
        pair.taker.receive(&pair.far.ctx(), flow, packet, &mut pair.facts);
    }
    assert_eq!(pair.facts.len(), 2, "before it is connected, none takes a place");
    forge(&mut pair);
    pair.facts.clear();
    let sections = sections(&pair.offer);
    let named = values(&sections[1], "a=ssrc:")[0].split(' ').next().unwrap().parse().unwrap();
    let unnamed = sealed(&mut srtp, &pair.offer, 203, 1);
    pair.taker.receive(&pair.far.ctx(), flow, &unnamed, &mut pair.facts);
    assert!(pair.facts.is_empty(), "the places are taken: {:?}", pair.facts);
    let sound = sealed(&mut srtp, &pair.offer, named, 1);
    pair.taker.receive(&pair.far.ctx(), flow, &sound, &mut pair.facts);
    assert!(matches!(pair.facts[..], [Fact::Packet(_)]), "{:?}", pair.facts);
}

#[test]
fn a_goodbye_without_a_word_in_the_dialogue_ends_it_soon() {
    let limits = Limits {
        rtp_silence_timeout: 60 * SECOND,
        goodbye_timeout: 3 * SECOND,
        ..Limits::default()
    };
    let mut pair = Pair::connected(limits);
    pair.publisher.say_goodbye();
    let (after, fault) = pair.failure(20 * SECOND).unwrap();
    assert_eq!(fault, PeerFault::Gone);
    assert!(after >= 3 * SECOND && after <= 4 * SECOND, "{after:?}");
}

#[test]
fn key_frames_come_on_a_timer_where_wished() {
    let limits = Limits {
        keyframe_period: 3 * SECOND,
        rtp_silence_timeout: 60 * SECOND,
        ..Limits::default()
    };
    let properties = |setting| format!("periodic_fir_request={setting}\n");
    for (setting, then, wanted) in [
        (true, None, vec![3, 6, 9]),
        (false, None, vec![]),
        (false, Some(true), vec![3, 6, 9]),
        (true, Some(false), vec![]),
    ] {
        let mut near = Bench::new();
        let mut far = Bench::with(&properties(setting), None).bounded(limits.clone());
        far.now = near.now;
        let egress = Egress::new(StreamId(1), &mut near.rng);
        let formats = published(&chromium_publishes(), "opus,vp8");
        let dialed = Peer::dial(&mut near.ctx(), PeerId(1), NEAR, egress, &formats);
        let (mut publisher, offer) = dialed.unwrap();
        let mut media = Media::new(ShardId::NODE, FAR);
        let (peer, stream) = (PeerId(2), StreamId(1));
        media.handle(
            &mut far.ctx(),
            ToMedia::AcceptIngest { peer, stream, run: 1, is_relay: false, offer },
        );
        let Some(Message::Node(ToNode::Answered { outcome: Ok(answer), .. })) =
            far.out.pop_to_self()
        else {
            panic!()
        };
        publisher.take_answer(&near.ctx(), &answer.sdp).unwrap();
        if let Some(setting) = then {
            far.config.settings = Bench::with(&properties(setting), None).config.settings;
            media.reload(&far.ctx());
        }
        let asked = asked(&mut near, &mut publisher, &mut far, &mut media, 11 * SECOND);
        assert_eq!(asked, wanted, "seconds after the offer");
    }
}

/// Connects a publisher to a shard's media; tells the seconds in which it was asked for a key
/// frame.
fn asked(
    near: &mut Bench,
    publisher: &mut Peer,
    far: &mut Bench,
    media: &mut Media,
    time: Duration,
) -> Vec<u64> {
    let (start, mut send) = (near.now, SendBuffer::new(1));
    let address = |port| ([192, 0, 2, 1], port).into();
    let mut asked = Vec::new();
    while near.now < start + time {
        let now = near.now + Duration::from_millis(10);
        (near.now, far.now) = (now, now);
        let mut facts = Vec::new();
        publisher.drain(&near.ctx(), &mut facts);
        media.handle_timeout(&mut far.ctx());
        for bytes in datagrams(publisher, now) {
            let flow = Flow { local: address(FAR), remote: address(NEAR) };
            media.handle_datagrams(&mut far.ctx(), flow, &bytes, bytes.len());
        }
        while let Some(transmit) = media.poll_transmit(&mut far.ctx(), &mut send) {
            let flow = Flow { local: address(NEAR), remote: address(FAR) };
            publisher.receive(&near.ctx(), flow, send.run(&transmit), &mut facts);
        }
        let wanted = |fact: &Fact| matches!(fact, Fact::KeyframeWanted);
        if facts.iter().any(wanted) {
            asked.push((now - start).as_secs());
        }
    }
    asked
}

#[test]
fn peers_of_a_shard_are_bounded() {
    let mut bench = Bench::new().bounded(Limits { peers_max: 2, ..Limits::default() });
    let mut media = Media::new(ShardId::NODE, NEAR);
    let mut answers = Vec::new();
    for peer in 1..=3 {
        let offer = chromium_publishes();
        let (peer, stream) = (PeerId(peer), StreamId(peer));
        media.handle(
            &mut bench.ctx(),
            ToMedia::AcceptIngest { peer, stream, run: 1, is_relay: false, offer },
        );
        while let Some(message) = bench.out.pop_to_self() {
            if let Message::Node(ToNode::Answered { outcome, .. }) = message {
                answers.push(outcome.map(|_| ()));
            }
        }
    }
    assert_eq!(answers[..2], [Ok(()), Ok(())]);
    assert!(matches!(answers[2], Err(PeerFault::Exhausted(_))));
    media.handle(&mut bench.ctx(), ToMedia::Drop { peer: PeerId(1) });
    let (peer, stream, offer) = (PeerId(4), StreamId(4), chromium_publishes());
    media.handle(
        &mut bench.ctx(),
        ToMedia::AcceptIngest { peer, stream, run: 1, is_relay: false, offer },
    );
    assert!(matches!(
        bench.out.pop_to_self(),
        Some(Message::Node(ToNode::Answered { outcome: Ok(_), .. }))
    ));
}
