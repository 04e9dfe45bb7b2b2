//! What breaks heals by itself, and by when: the times are those of the simulation, to the
//! millisecond.

use std::time::Duration;

use distributary_core::{Event, Limits};
use distributary_tests::browser::{Shape, Source};
use distributary_tests::sim::{Plan, Sim};
use distributary_tests::token::{self, KEY};
use distributary_tests::world::{NodeId, Partition, Party, World};
use serde_json::json;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// An origin with an edge, a publisher there and a viewer here, who sees something.
struct Show {
    sim: Sim,
    origin: NodeId,
    edge: NodeId,
    publisher: Party,
    viewer: Party,
}

impl Show {
    fn new(seed: u64) -> Self {
        Self::of(seed, 1, Source::default())
    }

    /// The same on nodes of this many shards, with this to see.
    fn of(seed: u64, shards: u16, source: Source) -> Self {
        let mut sim = Sim::new(seed);
        let edge = NodeId(sim.add_node(Plan::new("edge.example").shards(shards)));
        let origin = Plan::new("origin.example").shards(shards).edges(&["edge.example"]);
        let origin = NodeId(sim.add_node(origin));
        let publisher = published(&mut sim, origin, "ab12", source);
        let viewer = sim.play(edge, "ab12", Shape::audio_video());
        let mut show = Self { sim, origin, edge, publisher, viewer };
        show.sees(5 * SECOND);
        show
    }

    /// Waits for more of the picture, and tells how long that took.
    fn sees(&mut self, within: Duration) -> Duration {
        let (viewer, begun) = (self.viewer.clone(), self.sim.elapsed());
        let before = self.sim.seen(&viewer).video;
        let more = |sim: &Sim| sim.seen(&viewer).video > before + 10;
        assert!(self.sim.wait(within, more), "no picture within {within:?}");
        assert_eq!(self.sim.status(&viewer), "PLAYING");
        self.sim.elapsed() - begun
    }

    /// Waits until the origin says this of its link.
    fn hears(&mut self, within: Duration, what: impl Fn(&Event) -> bool) -> Duration {
        let (origin, begun) = (self.origin, self.sim.elapsed());
        let said = |sim: &Sim| sim.events(origin).iter().filter(|event| what(event)).count();
        let before = said(&self.sim);
        assert!(self.sim.wait(within, |sim| said(sim) > before), "not within {within:?}");
        self.sim.elapsed() - begun
    }

    fn pass(&mut self, span: Duration) {
        World::advance(&mut self.sim, span);
    }

    /// What the viewer has is whole, and all of it is the one publisher's.
    fn in_order(&self) {
        let seen = self.sim.seen(&self.viewer);
        assert_eq!(seen.faults, [] as [&str; 0]);
        assert_eq!(seen.publishers, [self.sim.browser(&self.publisher).number()]);
        assert_eq!(seen.statuses.len(), 1, "nothing but PLAYING: {:?}", seen.statuses);
    }
}

/// Publishes and waits until that works.
fn published(sim: &mut Sim, node: NodeId, name: &str, source: Source) -> Party {
    let page = sim.add_browser(node.0);
    sim.with_page(page, |_, page, _| page.browser.source = source);
    let publisher = sim.publish_on(page, name, Shape::audio_video());
    assert!(sim.wait(5 * SECOND, |sim: &Sim| sim.status(&publisher) == "PUBLISHING"));
    publisher
}

/// Pictures of one packet each. Of larger ones, packets overtake each other in the simulation; if
/// that befalls the first packet of all that come over a new link, then it counts as older than the
/// stream, and its key frame is lost. The edge asks for another half a second later.
fn small() -> Source {
    Source { packets_per_frame: 1, ..Source::default() }
}

#[test]
fn an_edge_that_returns_has_its_streams_within_two_seconds_and_pictures_within_one_more() {
    for (seed, pause) in (100..).zip([0, 300, 2_000, 30_000]) {
        returns(Show::new(seed), &["ab12"], pause * MS);
    }
}

#[test]
fn an_edge_that_returns_has_two_streams_as_soon_as_one() {
    for (seed, pause) in (110..).zip([0, 2_000]) {
        returns(Show::of(seed, 1, small()), &["ab12", "cd34"], pause * MS);
    }
}

#[test]
fn an_edge_that_returns_has_its_streams_as_soon_on_four_shards() {
    for (seed, pause) in (120..).zip([0, 300, 2_000]) {
        returns(Show::of(seed, 4, small()), &["ab12", "cd34"], pause * MS);
    }
}

/// The edge dies, is back after a pause, and has these streams, of which the first is there, in
/// two seconds. Whoever asks the edge for its numbers spends time with that, so the origin's word
/// counts.
fn returns(mut show: Show, names: &[&str], pause: Duration) {
    let (origin, edge) = (show.origin, show.edge);
    let mut publishers = vec![show.publisher.clone()];
    for name in names.iter().skip(1) {
        publishers.push(published(&mut show.sim, origin, name, small()));
        show.hears(SECOND, |event| matches!(event, Event::RelayUp { .. }));
    }
    show.sim.kill(edge);
    show.pass(pause);
    let begun = show.sim.elapsed();
    show.sim.restart(edge);
    let is_up = |sim: &Sim, name: &str| {
        sim.facts(origin.0).iter().any(|(at, _, event)| {
            *at >= begun && matches!(event, Event::RelayUp { name: up, .. } if up == name)
        })
    };
    let are_up = |sim: &Sim| names.iter().all(|name| is_up(sim, name));
    assert!(show.sim.wait(2 * SECOND, are_up), "seed {}: no streams", show.sim.seed());
    assert!(show.sim.elapsed() - begun <= 2 * SECOND);
    let streams = show.sim.statistic(edge.0, "streams_webrtc_in");
    assert_eq!(streams, Some(names.len() as u64));
    for (name, publisher) in names.iter().zip(publishers) {
        (show.viewer, show.publisher) =
            (show.sim.play(edge, name, Shape::audio_video()), publisher);
        show.sees(SECOND);
        show.in_order();
    }
}

#[test]
fn viewers_sit_out_a_link_that_is_cut_for_a_second_and_for_a_minute() {
    for (seed, cut) in (200..).zip([1, 5, 60]) {
        let mut show = Show::new(seed);
        show.sim.partition(show.origin, show.edge);
        show.pass(cut * SECOND);
        show.sim.heal(show.origin, show.edge);
        // The link is dialed again at least once a second, and media need a handshake.
        let took = show.sees(3 * SECOND);
        assert!(took < 3 * SECOND, "seed {seed}: {took:?}");
        show.pass(2 * SECOND);
        show.in_order();
    }
}

#[test]
fn a_dead_link_is_noticed_within_three_seconds_although_no_connection_says_so() {
    for seed in 300..303 {
        let mut show = Show::new(seed);
        // Its power fails: nothing comes from there any more, not even an end.
        show.sim.darken_node(show.edge.0);
        let took = show.hears(4 * SECOND, |event| matches!(event, Event::LinkDown { .. }));
        assert!(took <= 3 * SECOND + 200 * MS, "seed {seed}: {took:?}");
        show.sim.restart(show.edge);
        show.hears(2 * SECOND, |event| matches!(event, Event::RelayUp { .. }));
    }
}

#[test]
fn a_media_path_that_goes_silent_is_noticed_within_three_seconds_although_its_link_is_up() {
    // Nothing from the origin, nothing from the edge, and neither.
    for (seed, ways) in (320..).zip([&[true][..], &[false], &[true, false]]) {
        let mut show = Show::new(seed);
        let (origin, edge) = (show.sim.node_ip(show.origin.0), show.sim.node_ip(show.edge.0));
        let set_cut = |show: &mut Show, cut| {
            for forth in ways {
                let (from, to) = if *forth { (origin, edge) } else { (edge, origin) };
                show.sim.set_cut_for_datagrams(from, to, cut);
            }
        };
        set_cut(&mut show, true);
        let took = show.hears(4 * SECOND, |event| matches!(event, Event::RelayDown { .. }));
        assert!(took <= 3 * SECOND + 200 * MS, "seed {seed}: {took:?}");
        // Longer than a try takes: none of those that fail may cost a viewer.
        show.pass(30 * SECOND);
        set_cut(&mut show, false);
        show.hears(17 * SECOND, |event| matches!(event, Event::RelayUp { .. }));
        show.sees(3 * SECOND);
        show.in_order();
        let downs = show.sim.events(show.origin);
        let is_down = |event: &Event| matches!(event, Event::LinkDown { .. });
        assert!(!downs.iter().any(is_down), "seed {seed}: only the media were cut");
    }
}

#[test]
fn an_edge_that_moves_is_found_as_soon_as_its_name_leads_there() {
    for seed in 350..353 {
        let mut show = Show::new(seed);
        let edge = show.edge;
        show.sim.darken_node(edge.0);
        show.hears(4 * SECOND, |event| matches!(event, Event::LinkDown { .. }));
        show.sim.move_node(edge.0);
        show.sim.start_node(edge.0);
        show.pass(20 * SECOND);
        assert_eq!(show.sim.statistic(edge.0, "connections_link"), Some(0), "seed {seed}");
        show.sim.refresh_name("edge.example");
        // The dial under way may wait in vain for whoever had the address before.
        let limits = Limits::default();
        let dialed_again = limits.link_connect_timeout + limits.link_backoff_max;
        show.hears(dialed_again + 2 * SECOND, |event| matches!(event, Event::RelayUp { .. }));
        show.viewer = show.sim.play(edge, "ab12", Shape::audio_video());
        show.sees(SECOND);
        show.in_order();
    }
}

#[test]
fn a_clock_that_jumps_costs_no_session() {
    for (seed, jump) in (400..).zip([100 * MS, SECOND, 2 * SECOND]) {
        let mut show = Show::new(seed);
        for node in [show.origin, show.edge] {
            show.sim.jump_clock(node.0, jump);
            show.sees(3 * SECOND);
        }
        show.in_order();
    }
}

/// Plays on a page of its own with a token that is good for ten minutes from now.
fn plays_with_token(sim: &mut Sim, node: NodeId, now: Duration) -> Party {
    let page = sim.add_browser(node.0);
    let token = token::sign(KEY, now + 600 * SECOND, json!({ "role": "play" }));
    sim.with_page(page, |_, page, _| page.browser.token = Some(token));
    sim.play_on(page, "ab12", Shape::audio_video())
}

/// A node has a key that it shares with the other, and lets nobody play without a token.
fn strict(name: &str) -> Plan {
    let plan = Plan::new(name).with("cdn_auth_key=fedcba9876543210fedcba9876543210");
    plan.with("auth.play=jwt").with(&format!("auth.jwt.key={KEY}"))
}

/// A node reads its calendar at its start, and goes on from there.
#[test]
fn a_calendar_that_is_set_while_nodes_run_costs_no_session_and_no_link() {
    for (seed, jump) in (600..).zip([10 * SECOND, 3_600 * SECOND]) {
        let mut sim = Sim::new(seed);
        let edge = NodeId(sim.add_node(strict("edge.example")));
        let origin = NodeId(sim.add_node(strict("origin.example").edges(&["edge.example"])));
        let publisher = published(&mut sim, origin, "ab12", small());
        let now = sim.unix();
        let viewer = plays_with_token(&mut sim, edge, now);
        let mut show = Show { sim, origin, edge, publisher, viewer };
        show.sees(5 * SECOND);
        for node in [origin, edge] {
            show.sim.set_calendar(node.0, jump);
        }
        show.pass(5 * SECOND);
        show.sees(SECOND);
        show.sim.sever(origin, edge);
        show.hears(2 * SECOND, |event| matches!(event, Event::LinkUp { .. }));
        show.sees(2 * SECOND);
        show.in_order();
        // Whoever signs tokens goes by the new date.
        let now = show.sim.unix() + jump;
        show.viewer = plays_with_token(&mut show.sim, edge, now);
        show.sees(2 * SECOND);
        show.in_order();
        // The edge has read the new date, and its origin has not: that is fine for a minute.
        show.sim.kill(edge);
        show.sim.restart(edge);
        if jump > Limits::default().token_skew_max {
            let refused = |event: &Event| {
                let Event::LinkDown { why, .. } = event else { return false };
                why.contains("behind this node's")
            };
            show.hears(2 * SECOND, refused);
            show.sim.kill(origin);
            show.sim.restart(origin);
            show.publisher = published(&mut show.sim, origin, "ab12", small());
        }
        show.hears(2 * SECOND, |event| matches!(event, Event::RelayUp { .. }));
        show.viewer = plays_with_token(&mut show.sim, edge, now);
        show.sees(SECOND);
        show.in_order();
    }
}

#[test]
fn a_link_that_breaks_again_and_again_is_back_at_once_each_time() {
    let mut show = Show::new(500);
    for _ in 0..10 {
        show.sim.sever(show.origin, show.edge);
        show.hears(2 * SECOND, |event| matches!(event, Event::LinkUp { .. }));
        show.sees(2 * SECOND);
    }
    show.in_order();
}
