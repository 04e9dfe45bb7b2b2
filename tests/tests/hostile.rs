//! Bad neighbours cost a good viewer nothing: every packet comes when it would come without them.
//!
//! Computing takes no time in the simulation, so it does not show what a flood costs a processor.
//! What it shows is whether one waits for another, what is refused, by when, and what stays. All
//! ways here take exactly their time, so that a packet which is late is late because of a node.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::hmac;
use distributary_core::{Event, Hangup, Limits, Service, Tables};
use distributary_tests::browser::{Browser, Output, Packet, Shape};
use distributary_tests::sim::bare::{Bare, CONNECTION, UPGRADE, text_frame};
use distributary_tests::sim::crypto;
use distributary_tests::sim::random::Random;
use distributary_tests::sim::{HTTP_PORT, MEDIA_PORT, Network, Plan, Sim, WS_PORT};
use distributary_tests::world::{NodeId, Party, World};
use serde_json::json;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// From one host to another.
const WAY: Duration = Duration::from_millis(10);
/// From the publisher to the origin, to the edge, to the viewer.
const WHOLE_WAY: Duration = Duration::from_millis(30);

/// A good publisher at an origin and a good viewer at its edge, where others come.
struct Site {
    sim: Sim,
    origin: usize,
    edge: usize,
    publisher: Party,
    viewer: Party,
    /// When the others come.
    begun: Duration,
}

/// What the origin and the edge hold without the others: a page, and at the edge also the link.
const QUIET: [Tables; 2] = [
    Tables { connections: 1, peers: 2, streams: 1, questions: 0 },
    Tables { connections: 2, peers: 2, streams: 1, questions: 0 },
];

impl Site {
    /// With these lines in the settings of the edge.
    fn new(settings: &str) -> Self {
        let mut sim = Sim::new(1);
        sim.network = Network { delay: WAY, jitter: Duration::ZERO, ..Network::default() };
        let edge = sim.add_node(Plan::new("edge.example").with(settings));
        let origin = sim.add_node(Plan::new("origin.example").edges(&["edge.example"]));
        let publisher = sim.publish(NodeId(origin), "ab12", Shape::audio_video());
        let reaches_edge = |sim: &Sim| {
            sim.events(NodeId(origin)).iter().any(|event| matches!(event, Event::RelayUp { .. }))
        };
        assert!(sim.wait(5 * SECOND, reaches_edge));
        let viewer = plays(&mut sim, edge);
        let mut site = Self { sim, origin, edge, publisher, viewer, begun: SECOND };
        site.pass(SECOND);
        site.is_quiet();
        site.begun = site.sim.elapsed();
        site
    }

    fn pass(&mut self, span: Duration) {
        World::advance(&mut self.sim, span);
    }

    /// Somebody else plays the stream, and has been let in before they turn bad.
    fn joins(&mut self) -> Party {
        let party = plays(&mut self.sim, self.edge);
        self.begun = self.sim.elapsed();
        party
    }

    fn tables(&self) -> Vec<Tables> {
        tables(&self.sim, self.origin, self.edge)
    }

    /// Nobody else is there. Once in a second, the origin asks the edge for its load.
    fn is_quiet(&mut self) {
        let (origin, edge) = (self.origin, self.edge);
        let is_quiet = |sim: &Sim| tables(sim, origin, edge) == QUIET;
        assert!(
            self.sim.wait(100 * MS, is_quiet),
            "somebody has left something: {:?}",
            self.tables()
        );
    }

    /// Nobody is given anything but what the good ones have, whatever comes in.
    fn gives_nothing(&self) {
        let given = |tables: &Tables| (tables.peers, tables.streams, tables.questions);
        assert!(self.tables().iter().map(given).eq(QUIET.iter().map(given)), "{:?}", self.tables());
    }

    fn edge_ip(&self) -> IpAddr {
        self.sim.node_ip(self.edge)
    }

    /// Why the edge refused those at this address, since the others came.
    fn refusals(&self, ip: IpAddr) -> Vec<&str> {
        let facts = self.sim.facts(self.edge).iter().filter(|(at, ..)| *at >= self.begun);
        let whys = facts.filter_map(|(_, _, event)| {
            let Event::Refused { remote, why } = event else { return None };
            (remote.ip() == ip).then_some(why.as_str())
        });
        whys.collect()
    }

    /// The good ones noticed nothing, and nothing is left of the others.
    fn is_as_before(&mut self) {
        self.is_quiet();
        let seen = self.sim.seen(&self.viewer);
        assert_eq!(seen.faults, [] as [&str; 0]);
        assert_eq!((seen.gaps, seen.status(), seen.statuses.len()), (0, "PLAYING", 1));
        let seen = self.sim.seen(&self.publisher);
        assert_eq!((seen.status(), seen.statuses.len()), ("PUBLISHING", 1));
        let stream = self.sim.browser(&self.viewer).stream(&self.viewer.id).expect("it plays");
        for track in stream.tracks().values() {
            let sent = |packet: &Packet| packet.stamp.expect("it is a publisher's").sent;
            let since = || track.packets.iter().filter(|packet| sent(packet) >= self.begun);
            let delays: BTreeSet<Duration> =
                since().map(|packet| whole_ms(packet.at - sent(packet))).collect();
            assert_eq!(delays, BTreeSet::from([WHOLE_WAY]), "{:?}", track.codec);
            let newest = since().map(|packet| packet.at).max().unwrap_or_default();
            assert!(newest + 100 * MS >= self.sim.elapsed(), "nothing came since {newest:?}");
        }
    }
}

fn tables(sim: &Sim, origin: usize, edge: usize) -> Vec<Tables> {
    [origin, edge].into_iter().flat_map(|node| sim.tables(node)).collect()
}

/// What stamps say of the time is cut off to microseconds.
fn whole_ms(span: Duration) -> Duration {
    let micros = u64::try_from(span.as_micros()).expect("it is short");
    Duration::from_micros(micros)
}

/// Plays the stream and waits until there is a picture.
fn plays(sim: &mut Sim, node: usize) -> Party {
    let viewer = sim.play(NodeId(node), "ab12", Shape::audio_video());
    assert!(sim.wait(5 * SECOND, |sim: &Sim| sim.seen(&viewer).video > 10), "no picture");
    viewer
}

#[test]
fn without_anybody_else_each_packet_takes_its_way_and_no_longer() {
    let mut site = Site::new("");
    site.pass(5 * SECOND);
    site.is_as_before();
}

#[test]
fn a_page_that_reads_nothing_does_without_events_and_is_given_up() {
    let mut site = Site::new("");
    let deaf = site.joins();
    site.sim.stop_reading(deaf.page);
    let payload = json!({ "text": "x".repeat(12_000) });
    let enough = Limits::default().outgoing_bytes_max + site.sim.network.window;
    let events = enough / 12_000 + 2;
    for _ in 0..events {
        site.sim.say(&site.publisher, "data", Some(payload.clone()));
        site.pass(50 * MS);
    }
    let ip = site.sim.page_ip(deaf.page);
    assert_eq!(site.refusals(ip), [""; 0], "it has enough to read");
    site.pass(Limits::default().write_stall_timeout);
    assert_eq!(site.refusals(ip), ["it does not read what it is sent"]);
    assert!(site.sim.page(deaf.page).ending.is_some(), "its kernel was told");
    site.pass(SECOND);
    let stream = site.sim.browser(&site.viewer).stream(&site.viewer.id).expect("it plays");
    assert_eq!(stream.events.len(), events, "who reads is told everything");
    site.is_as_before();
}

#[test]
fn a_page_that_reads_nothing_ends_with_its_pings_if_it_is_told_nothing_else() {
    let mut site = Site::new("keep_alive.server_interval=1000\nkeep_alive.probes=3");
    let deaf = site.joins();
    site.sim.stop_reading(deaf.page);
    let ip = site.sim.page_ip(deaf.page);
    site.pass(3 * SECOND - WAY);
    assert_eq!(site.refusals(ip), [] as [&str; 0]);
    // One interval until the first ping, and that of the last.
    site.pass(2 * SECOND + Limits::default().timer_slack);
    assert_eq!(site.refusals(ip), ["pings stay unanswered"]);
    site.pass(SECOND);
    site.is_as_before();
}

#[test]
fn a_viewer_on_a_line_of_a_few_kilobytes_is_short_and_nobody_else() {
    let mut site = Site::new("");
    let slow = site.joins();
    let ip = site.sim.page_ip(slow.page);
    site.sim.set_bandwidth(site.edge_ip(), ip, Some(4_000));
    site.pass(40 * SECOND);
    let stream = site.sim.browser(&slow).stream(&slow.id).expect("it was played");
    let kinds: BTreeSet<&str> = stream.events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["notEnoughBandwidth"]));
    // Not even its checks come through.
    assert_eq!((stream.status(), stream.info()), ("FAILED", "Failed by ICE keep alive"));
    site.sim.leave(&slow);
    site.pass(2 * SECOND);
    site.is_as_before();
}

/// Like a Binding request of ICE, a ClientHello, RTP, and nothing at all.
fn datagram(random: &mut Random, sort: u64) -> Vec<u8> {
    let mut noise = |bytes: usize| -> Vec<u8> {
        (0..bytes).map(|_| u8::try_from(random.below(256)).unwrap_or_default()).collect()
    };
    match sort % 4 {
        0 => {
            let name: Vec<u8> = noise(20).into_iter().map(|byte| b'a' + byte % 16).collect();
            let priority = [0, 0x24, 0, 4, 0x6e, 0, 1, 0xff];
            let attributes = [&[0, 6, 0, 20][..], &name, &priority, &[0, 8, 0, 20], &noise(20)];
            let attributes = attributes.concat();
            let length = u8::try_from(attributes.len()).unwrap_or_default();
            [&[0, 1, 0, length, 0x21, 0x12, 0xa4, 0x42][..], &noise(12), &attributes].concat()
        }
        1 => {
            let head = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 54, 1, 0, 0, 42];
            [&head[..], &noise(50)].concat()
        }
        2 => [&[0x80, 96][..], &noise(1_100)].concat(),
        _ => noise(1 + usize::from(sort % 64 == 3) * 500),
    }
}

#[test]
fn a_flood_of_datagrams_delays_no_packet_and_is_answered_by_none() {
    let mut site = Site::new("");
    let mut random = Random::new(7);
    let targets = [site.origin, site.edge].map(|node| site.sim.node_ip(node));
    let mut from = BTreeSet::new();
    // Six thousand in a second.
    for round in 0..2_500u64 {
        for nth in 0..12 {
            let number = u32::try_from(random.below(1 << 20)).unwrap_or_default();
            let ip = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 64, 0, 0)) + number);
            let from_there = SocketAddr::from((ip, 40_000));
            from.insert(from_there);
            let bytes = datagram(&mut random, round + nth);
            let [origin, edge] = targets;
            let to = SocketAddr::new(if nth % 3 == 0 { origin } else { edge }, MEDIA_PORT);
            site.sim.inject(from_there, to, &bytes);
        }
        site.pass(2 * MS);
        site.gives_nothing();
    }
    assert!(from.len() > 25_000);
    let answered = from.into_iter().filter(|from| site.sim.was_sent(*from) > 0);
    assert_eq!(answered.collect::<Vec<_>>(), [] as [SocketAddr; 0]);
    site.is_as_before();
}

/// A flood that seems to come from where the good ones are: addresses of UDP are forged easily.
#[test]
fn a_flood_in_the_name_of_the_good_delays_no_packet_either() {
    let mut site = Site::new("");
    let mut random = Random::new(8);
    let ways = [(&site.publisher, site.origin), (&site.viewer, site.edge)];
    let ways = ways.map(|(party, node)| {
        let local = site.sim.browser(party).address_of(&party.id).expect("it has a transport");
        (local, SocketAddr::new(site.sim.node_ip(node), MEDIA_PORT))
    });
    for round in 0..1_000u64 {
        for nth in 0..4 {
            for (from, to) in ways {
                let bytes = datagram(&mut random, round + nth);
                site.sim.inject(from, to, &bytes);
            }
        }
        site.pass(2 * MS);
        site.gives_nothing();
    }
    site.is_as_before();
}

/// The value of an attribute, as it stands in the text of a message.
fn attribute(message: &str, key: &str) -> String {
    let (_, rest) = message.split_once(key).expect("the attribute is there");
    rest.split('\\').next().unwrap_or_default().to_owned()
}

/// The shortest check that there is (RFC 8489, section 14.5, and RFC 8445, section 7.1), sealed
/// with this password.
fn check(user: &str, password: &str) -> Vec<u8> {
    let mut attributes =
        [&[0, 6, 0, u8::try_from(user.len()).unwrap_or_default()], user.as_bytes()].concat();
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    attributes.extend([0, 0x24, 0, 4, 0x6e, 0, 1, 0xff]);
    let length = u8::try_from(attributes.len() + 24).unwrap_or_default();
    let head = [0, 1, 0, length, 0x21, 0x12, 0xa4, 0x42, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
    let mut request = [&head[..], &attributes].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let seal = hmac::sign(&key, &request);
    request.extend([0, 8, 0, 20]);
    request.extend(seal.as_ref());
    request
}

/// A node that was offered a stream and waits for its transport, whose user name and password of
/// ICE these are.
fn offered() -> (Bare, String, String) {
    let mut bare = Bare::new(Plan::new("node.example"));
    let conn = bare.connect(Service::Ws);
    bare.receive(conn, UPGRADE);
    bare.say(conn, CONNECTION);
    let mut browser = Browser::new(bare.now(), 1, crypto::provider(crypto::Srtp::Null));
    browser.opened();
    browser.text(bare.now(), r#"{"message":"getUserData","data":[{}]}"#);
    browser.publish(bare.now(), "ab12", Shape::audio(), HERE.into());
    let mut asked = String::new();
    while let Output::Text(text) = browser.poll() {
        asked = text;
    }
    bare.take(conn);
    bare.say(conn, asked.as_bytes());
    let told = String::from_utf8_lossy(&bare.take(conn)).into_owned();
    let fragments = [&told, &asked].map(|text| attribute(text, "a=ice-ufrag:"));
    (bare, fragments.join(":"), attribute(&told, "a=ice-pwd:"))
}

/// Where a transport should be, and where somebody is who knows of nothing.
const HERE: ([u8; 4], u16) = ([10, 9, 9, 20], 40_001);
const THERE: ([u8; 4], u16) = ([10, 9, 9, 30], 40_001);

/// A fragment of ICE can be overheard, and a sender forged.
#[test]
fn who_knows_a_user_name_and_no_password_has_nothing_sent_to_anybody() {
    let (mut bare, user, _) = offered();
    let forged = check(&user, "not the password");
    let hello = [22, 1, 7, 7, 7, 7];
    for datagram in [&forged[..], &[0x80, 111, 0, 1, 0, 0], &hello, &forged, &hello] {
        bare.datagram(THERE.into(), datagram, datagram.len());
    }
    bare.advance(20 * SECOND);
    assert_eq!(bare.take_sent(), []);
}

/// A peer knows only so many paths, and whoever speaks to it first begins its handshake: neither
/// is to be had without the password.
#[test]
fn who_knows_a_user_name_and_no_password_crowds_nobody_out() {
    let mut site = Site::new("");
    let ways = [(&site.publisher, site.origin), (&site.viewer, site.edge)];
    let ways = ways.map(|(party, node)| {
        let stream = site.sim.browser(party).stream(&party.id).expect("it runs");
        let answer = stream.answer.as_deref().expect("it was answered");
        let (_, rest) = answer.split_once("a=ice-ufrag:").expect("it has a fragment");
        let user = format!("{}:far", rest.lines().next().unwrap_or_default());
        let to = SocketAddr::new(site.sim.node_ip(node), MEDIA_PORT);
        (check(&user, "not the password"), to)
    });
    for _ in 0..30 {
        for (forged, to) in &ways {
            for sender in 0..16 {
                let from = SocketAddr::from(([10, 64, 0, sender], 40_000));
                site.sim.inject(from, *to, forged);
                site.sim.inject(from, *to, &[22, 1, 7, 7, 7, 7]);
            }
        }
        site.pass(100 * MS);
    }
    site.is_as_before();
}

#[test]
fn a_check_is_answered_with_less_than_it_has() {
    let (mut bare, user, password) = offered();
    let checked = check(&user, &password);
    bare.datagram(HERE.into(), &checked, checked.len());
    let sent = bare.take_sent();
    let [answer] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((answer.to, &answer.bytes[..2]), (HERE.into(), &[1, 1][..]));
    assert!(answer.bytes.len() <= checked.len(), "{answer:?} to {} bytes", checked.len());
}

/// A stranger is gone so long after something, and what comes of that on the way there and back.
fn is_gone_after(site: &Site, stranger: usize, deadline: Duration) {
    let (at, how) = site.sim.ended(stranger).expect("it is over");
    let took = at - site.begun - 2 * WAY;
    assert_eq!(how, Hangup::Reset);
    let latest = deadline + Limits::default().timer_slack;
    assert!((deadline..=latest).contains(&took), "{took:?}, not {deadline:?}");
}

#[test]
fn who_takes_his_time_to_say_what_he_wants_is_gone_after_ten_seconds() {
    let mut site = Site::new("");
    let strangers: Vec<(usize, bool)> = (0..200)
        .map(|n| {
            let port = if n % 2 == 0 { WS_PORT } else { HTTP_PORT };
            let ip = Ipv4Addr::new(10, 5, 0, n).into();
            (site.sim.add_stranger(ip, site.edge, port), n % 4 < 2)
        })
        .collect();
    let head = b"GET /?action=stat HTTP/1.1\r\nHost: edge.example\r\n";
    for byte in head.iter().take(12) {
        for (stranger, _) in strangers.iter().filter(|(_, speaks)| *speaks) {
            site.sim.mutter(*stranger, &[*byte]);
        }
        site.pass(SECOND);
    }
    for (stranger, _) in strangers {
        is_gone_after(&site, stranger, Limits::default().handshake_timeout);
        assert!(site.sim.told(stranger).is_empty());
    }
    site.is_as_before();
}

#[test]
fn who_has_his_answer_and_takes_his_time_with_the_next_request_is_gone_after_thirty_seconds() {
    let mut site = Site::new("");
    let strangers: Vec<usize> = (0..50)
        .map(|n| {
            let ip = Ipv4Addr::new(10, 5, 1, n).into();
            let stranger = site.sim.add_stranger(ip, site.edge, HTTP_PORT);
            let request = b"GET /?action=server_list HTTP/1.1\r\nHost: edge.example\r\n\r\n";
            site.sim.mutter(stranger, request);
            stranger
        })
        .collect();
    let head = b"GET /?action=server_list HTTP/1.1\r\nHost: edge.example\r\n";
    for byte in head.iter().take(32) {
        site.pass(SECOND);
        for stranger in &strangers {
            site.sim.mutter(*stranger, &[*byte]);
        }
    }
    for stranger in strangers {
        is_gone_after(&site, stranger, Limits::default().http_idle_timeout);
        let told = String::from_utf8_lossy(site.sim.told(stranger));
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
    }
    site.is_as_before();
}

#[test]
fn who_opens_a_session_and_does_not_begin_is_told_so_and_gone() {
    let mut site = Site::new("");
    let limits = Limits::default();
    let ip = Ipv4Addr::new(10, 5, 2, 1).into();
    let stranger = site.sim.add_stranger(ip, site.edge, WS_PORT);
    site.sim.mutter(stranger, UPGRADE);
    // The head of a frame that never comes, byte by byte.
    let frame = text_frame(&[b' '; 1_000]);
    for byte in frame.iter().take(12) {
        site.sim.mutter(stranger, &[*byte]);
        site.pass(SECOND);
    }
    assert_eq!(site.refusals(ip), ["no connection message came in time"]);
    let told = String::from_utf8_lossy(site.sim.told(stranger)).into_owned();
    assert!(told.contains("no connection message came in time"), "{told}");
    let (at, _) = site.sim.ended(stranger).expect("it is over");
    assert!(at - site.begun <= limits.session_timeout + limits.timer_slack + 2 * WAY, "{at:?}");
    site.is_as_before();
}

#[test]
fn one_address_has_no_more_connections_than_it_may_and_others_do_not_mind() {
    for (settings, kept, why) in [
        ("address.connections=20", 20, "too many connections of one address (address.connections)"),
        (
            // At once what may come in five seconds.
            "address.connections_per_second=4",
            20,
            "connections come too fast (address.connections_per_second)",
        ),
    ] {
        let mut site = Site::new(settings);
        let ip = Ipv4Addr::new(10, 5, 3, 1).into();
        let all: Vec<usize> =
            (0..50).map(|_| site.sim.add_stranger(ip, site.edge, WS_PORT)).collect();
        site.pass(2 * WAY);
        let over: Vec<usize> =
            all.into_iter().filter(|stranger| site.sim.ended(*stranger).is_some()).collect();
        assert_eq!(over.len(), 50 - kept, "{settings}");
        for stranger in over {
            let reset = Some((site.begun + 2 * WAY, Hangup::Reset));
            assert_eq!(site.sim.ended(stranger), reset, "at once");
        }
        assert_eq!(site.refusals(ip), vec![why; 50 - kept]);
        let late = plays(&mut site.sim, site.edge);
        site.sim.leave(&late);
        site.pass(Limits::default().handshake_timeout + SECOND);
        site.is_as_before();
    }
}

#[test]
fn one_address_asks_for_no_more_streams_than_it_may_and_others_do_not_mind() {
    let mut site = Site::new("address.joins_per_second=2");
    let page = site.sim.add_browser(site.edge);
    let ip = site.sim.page_ip(page);
    let parties: Vec<Party> =
        (0..30).map(|_| site.sim.play_on(page, "ab12", Shape::audio_video())).collect();
    site.pass(2 * SECOND);
    // At once what may come in five seconds.
    let (served, refused): (Vec<_>, Vec<_>) =
        parties.iter().partition(|party| site.sim.status(party) == "PLAYING");
    assert_eq!((served.len(), refused.len()), (10, 20));
    for party in refused {
        let seen = site.sim.seen(party);
        let told = "Too many requests from this address, try again in a moment";
        assert_eq!((seen.status(), seen.info()), ("FAILED", told));
    }
    let why = "streams are asked for too fast (address.joins_per_second)";
    assert_eq!(site.refusals(ip), vec![why; 20]);
    let late = plays(&mut site.sim, site.edge);
    site.sim.leave(&late);
    site.sim.close_page(page);
    site.pass(3 * SECOND);
    site.is_as_before();
}
