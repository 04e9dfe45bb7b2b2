//! Scenarios in the simulation.

use std::time::Duration;

use distributary_core::{Event, Limits, ShardId};
use distributary_tests::browser::{Codec, Session, Shape};
use distributary_tests::sim::crypto::Srtp;
use distributary_tests::sim::{Network, Plan, Sim, scenario};
use distributary_tests::world::{NodeId, Partition, Party, Seen, World};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(5);

/// One test for each scenario of the table.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                for seed in scenario::seeds(stringify!($name), 0) {
                    scenario::run(seed, false);
                }
            }
        )*

        #[test]
        fn every_scenario_is_a_test() {
            assert_eq!(scenario::names(), [$(stringify!($name)),*]);
        }
    };
}

scenarios! {
    one_node two_edges late_viewer viewer_first publisher_returns publisher_stays_away
    two_of_one_name codec_changes edge_comes_late edge_restarts link_breaks
    edge_stands_still unpublish_crosses_answer
    mute mute_before_edge data slow_names drain session_limit
    origin_restarts origin_stays_away nodes_push_to_each_other no_socket_at_first anything
    patient_drain full_edge out_of_service
    links_with_keys wrong_keys key_comes tokens tokens_end backend backend_hangs
    edges_change
    link_parted drain_runs_out publisher_starts_again origin_stands_still
}

fn world(seed: u64, shards: u16) -> (Sim, NodeId, NodeId) {
    let mut sim = Sim::new(seed);
    let edge = NodeId(sim.add_node(Plan::new("edge.example").shards(shards)));
    let origin = Plan::new("origin.example").shards(shards).edges(&["edge.example"]);
    let origin = NodeId(sim.add_node(origin));
    (sim, origin, edge)
}

fn reaches(sim: &mut Sim, party: &Party, status: &str) {
    let there = sim.wait(SOON, |sim| sim.seen(party).status() == status);
    let seen = sim.seen(party);
    assert!(there, "{status} never came: {:?} {:?}", seen.statuses, seen.faults);
}

/// What came to a viewer of one whole stream must be all of it from some key frame on.
fn whole(seen: &Seen, publisher: u32) {
    assert_eq!(seen.faults, [] as [&str; 0]);
    assert_eq!(seen.gaps, 0);
    assert_eq!(seen.publishers, [publisher]);
    assert!(seen.key_frame, "no key frame among {} packets", seen.video);
}

#[test]
fn a_page_establishes_its_session() {
    let (mut sim, origin, _) = world(1, 1);
    let page = sim.add_browser(origin.0);
    let done = |sim: &Sim| sim.page(page).browser.session() == Session::Established;
    assert!(sim.wait(SOON, done));
}

#[test]
fn a_stream_plays_where_it_is_published_in_every_shape() {
    for (seed, shape) in
        (1..).zip([Shape::audio_video(), Shape::video_audio(), Shape::audio(), Shape::video()])
    {
        for shards in [1, 3] {
            let (mut sim, origin, _) = world(seed, shards);
            let publisher = sim.publish(origin, "ab12", shape.clone());
            reaches(&mut sim, &publisher, "PUBLISHING");
            let viewer = sim.play(origin, "ab12", Shape::audio_video());
            reaches(&mut sim, &viewer, "PLAYING");
            World::advance(&mut sim, Duration::from_secs(3));
            let seen = sim.seen(&viewer);
            assert_eq!(seen.audio > 100, shape.has_video(false), "{} audio", seen.audio);
            assert_eq!(seen.video > 200, shape.has_video(true), "{} video", seen.video);
            assert_eq!(seen.faults, [] as [&str; 0]);
            assert_eq!(seen.publishers, [1]);
        }
    }
}

#[test]
fn an_edge_plays_what_its_origin_publishes() {
    for srtp in [Srtp::Null, Srtp::Real] {
        let mut sim = Sim::new(3);
        sim.set_srtp(srtp);
        let plan = |name: &str| Plan { srtp, ..Plan::new(name) };
        let edge = NodeId(sim.add_node(plan("edge.example")));
        let origin = NodeId(sim.add_node(plan("origin.example").edges(&["edge.example"])));
        for codec in [Codec::Vp8, Codec::H264] {
            let name = format!("{codec:?}");
            let publisher = sim.publish(origin, &name, Shape::audio_video().only(codec));
            reaches(&mut sim, &publisher, "PUBLISHING");
            let viewer = sim.play(edge, &name, Shape::audio_video());
            reaches(&mut sim, &viewer, "PLAYING");
            World::advance(&mut sim, Duration::from_secs(3));
            let number = sim.browser(&publisher).number();
            whole(&sim.seen(&viewer), number);
        }
    }
}

#[test]
fn the_end_of_a_publisher_reaches_its_viewers_in_the_words_they_expect() {
    let (mut sim, origin, edge) = world(4, 2);
    let publisher = sim.publish(origin, "ab12", Shape::audio_video());
    reaches(&mut sim, &publisher, "PUBLISHING");
    let here = sim.play(origin, "ab12", Shape::audio_video());
    let there = sim.play(edge, "ab12", Shape::audio_video());
    reaches(&mut sim, &here, "PLAYING");
    reaches(&mut sim, &there, "PLAYING");
    sim.unpublish(&publisher);
    reaches(&mut sim, &publisher, "UNPUBLISHED");
    assert_eq!(sim.seen(&publisher).info(), "Stopped by user");
    for viewer in [here, there] {
        reaches(&mut sim, &viewer, "FAILED");
        assert_eq!(sim.seen(&viewer).info(), "Stopped by publisher stop");
    }
}

#[test]
fn a_stopped_viewer_hears_so_and_the_others_see_on() {
    let (mut sim, origin, edge) = world(5, 2);
    let publisher = sim.publish(origin, "ab12", Shape::audio_video());
    reaches(&mut sim, &publisher, "PUBLISHING");
    let one = sim.play(edge, "ab12", Shape::audio_video());
    let other = sim.play(edge, "ab12", Shape::audio_video());
    reaches(&mut sim, &one, "PLAYING");
    reaches(&mut sim, &other, "PLAYING");
    sim.stop(&one);
    reaches(&mut sim, &one, "STOPPED");
    assert_eq!(sim.seen(&one).info(), "Stopped by user");
    let before = sim.seen(&other).video;
    World::advance(&mut sim, Duration::from_secs(2));
    let seen = sim.seen(&other);
    assert!(seen.video > before + 100, "{before} then {}", seen.video);
    whole(&seen, 1);
}

#[test]
fn an_unknown_name_and_a_taken_name_fail_with_their_reasons() {
    let (mut sim, origin, _) = world(6, 1);
    let lost = sim.play(origin, "nobody", Shape::audio_video());
    reaches(&mut sim, &lost, "FAILED");
    assert_eq!(sim.seen(&lost).info(), "Stream not found");
    let first = sim.publish(origin, "ab12", Shape::audio_video());
    reaches(&mut sim, &first, "PUBLISHING");
    let second = sim.publish(origin, "ab12", Shape::audio_video());
    reaches(&mut sim, &second, "FAILED");
    assert_eq!(sim.seen(&second).info(), "Stream name is already in use");
    assert_eq!(sim.seen(&first).status(), "PUBLISHING");
}

#[test]
fn a_rough_network_costs_packets_but_never_their_order() {
    for seed in 10..14 {
        let (mut sim, origin, edge) = world(seed, 2);
        sim.network = Network::rough();
        let publisher = sim.publish(origin, "ab12", Shape::audio_video());
        reaches(&mut sim, &publisher, "PUBLISHING");
        let viewer = sim.play(edge, "ab12", Shape::audio_video());
        reaches(&mut sim, &viewer, "PLAYING");
        World::advance(&mut sim, Duration::from_secs(10));
        let seen = sim.seen(&viewer);
        assert!(seen.video > 600, "seed {seed}: {} video", seen.video);
        assert_eq!(seen.faults, [] as [&str; 0], "seed {seed}");
    }
}

#[test]
fn an_edge_that_restarts_gets_its_streams_back() {
    let (mut sim, origin, edge) = world(7, 1);
    let publisher = sim.publish(origin, "ab12", Shape::audio_video());
    reaches(&mut sim, &publisher, "PUBLISHING");
    sim.kill(edge);
    World::advance(&mut sim, Duration::from_secs(5));
    sim.restart(edge);
    World::advance(&mut sim, Duration::from_secs(3));
    let viewer = sim.play(edge, "ab12", Shape::audio_video());
    reaches(&mut sim, &viewer, "PLAYING");
    World::advance(&mut sim, Duration::from_secs(2));
    whole(&sim.seen(&viewer), 1);
}

#[test]
fn viewers_of_an_edge_sit_out_a_parted_link() {
    let (mut sim, origin, edge) = world(8, 1);
    let publisher = sim.publish(origin, "ab12", Shape::audio_video());
    reaches(&mut sim, &publisher, "PUBLISHING");
    let viewer = sim.play(edge, "ab12", Shape::audio_video());
    reaches(&mut sim, &viewer, "PLAYING");
    sim.partition(origin, edge);
    World::advance(&mut sim, Duration::from_secs(20));
    assert_eq!(sim.seen(&viewer).status(), "PLAYING");
    sim.heal(origin, edge);
    let before = sim.seen(&viewer).video;
    World::advance(&mut sim, Duration::from_secs(10));
    let seen = sim.seen(&viewer);
    assert!(seen.video > before + 300, "{before} then {}", seen.video);
    assert_eq!(seen.status(), "PLAYING");
    assert_eq!(seen.faults, [] as [&str; 0]);
}

#[test]
fn what_a_viewer_misses_is_sent_again_as_long_as_it_is_kept() {
    let gaps = |age| {
        let mut sim = Sim::new(11);
        let mut plan = Plan::new("origin.example");
        plan.limits.retransmission_age_max = age;
        let node = NodeId(sim.add_node(plan));
        let publisher = sim.publish(node, "ab12", Shape::video());
        reaches(&mut sim, &publisher, "PUBLISHING");
        let viewer = sim.play(node, "ab12", Shape::video());
        reaches(&mut sim, &viewer, "PLAYING");
        World::advance(&mut sim, Duration::from_secs(1));
        sim.network.loss_per_mille = 30;
        World::advance(&mut sim, Duration::from_secs(10));
        sim.network.loss_per_mille = 0;
        World::advance(&mut sim, Duration::from_secs(1));
        sim.seen(&viewer).gaps
    };
    let (kept, not_kept) = (gaps(Limits::default().retransmission_age_max), gaps(Duration::ZERO));
    assert!(not_kept >= 10, "{not_kept} gaps without any retransmission");
    assert!(kept * 5 <= not_kept, "{kept} gaps, {not_kept} without any retransmission");
}

/// An origin pushes all that it has as soon as its link is up.
#[test]
fn an_origin_without_a_key_gets_all_its_streams_through_though_its_address_may_not_ask_so_fast() {
    let mut sim = Sim::new(12);
    let few = "address.joins_per_second=1\n";
    let edge = NodeId(sim.add_node(Plan::new("edge.example").with(few)));
    let origin = NodeId(sim.add_node(Plan::new("origin.example").edges(&["edge.example"])));
    sim.kill(edge);
    for n in 0..9 {
        let publisher = sim.publish(origin, &format!("cam-{n}"), Shape::audio());
        reaches(&mut sim, &publisher, "PUBLISHING");
    }
    sim.restart(edge);
    let all = |sim: &mut Sim, within: u32| {
        for _ in 0..within * 10 {
            World::advance(sim, Duration::from_millis(100));
            if sim.statistic(edge.0, "streams_webrtc_in") == Some(9) {
                return true;
            }
        }
        false
    };
    assert!(!all(&mut sim, 3), "five at once, and one a second");
    assert!(all(&mut sim, 5), "the other four");
    World::advance(&mut sim, Duration::from_secs(3));
    assert_eq!(sim.statistic(edge.0, "streams_webrtc_in"), Some(9));
    let too_fast = "streams are asked for too fast (address.joins_per_second)";
    let refused = |event: &Event| matches!(event, Event::Refused { why, .. } if why == too_fast);
    assert!(sim.events(edge).iter().any(refused));
}

/// The texts of the events that told a viewer that its bandwidth is short, with what was in them.
fn shortages(sim: &Sim, viewer: &Party) -> Vec<(f64, f64)> {
    let stream = sim.browser(viewer).stream(&viewer.id).expect("it plays");
    let events = stream.events.iter().filter(|(kind, _)| kind == "notEnoughBandwidth");
    let rates = |payload: &Value| {
        let (stream, available) = payload.get("info")?.as_str()?.split_once('/')?;
        Some((stream.parse().ok()?, available.parse().ok()?))
    };
    events.map(|(_, payload)| rates(payload).expect("two rates")).collect()
}

#[test]
fn a_viewer_whose_bandwidth_is_short_is_told_so_and_no_other() {
    for (seed, shards) in [(40, 1), (41, 3)] {
        let (mut sim, origin, edge) = world(seed, shards);
        let publisher = sim.publish(origin, "ab12", Shape::audio_video());
        reaches(&mut sim, &publisher, "PUBLISHING");
        World::advance(&mut sim, Duration::from_secs(1));
        let [short, near, far] = [edge, origin, edge].map(|node| {
            let viewer = sim.play(node, "ab12", Shape::audio_video());
            reaches(&mut sim, &viewer, "PLAYING");
            viewer
        });
        let sound = sim.play(edge, "ab12", Shape::audio());
        reaches(&mut sim, &sound, "PLAYING");
        World::advance(&mut sim, Duration::from_secs(8));
        assert_eq!(shortages(&sim, &short), []);
        let way = (sim.node_ip(edge.0), sim.page_ip(short.page));
        let sounds = (sim.node_ip(edge.0), sim.page_ip(sound.page));
        let took = sim.seen(&short).video;
        sim.set_bandwidth(way.0, way.1, Some(40_000));
        sim.set_bandwidth(sounds.0, sounds.1, Some(2_000));
        World::advance(&mut sim, Duration::from_secs(21));
        let told = shortages(&sim, &short);
        assert!((3..=4).contains(&told.len()), "{told:?} after {took} packets");
        for (stream, available) in &told {
            assert!(*available < 320_000.0 && *stream > *available / 0.95, "{told:?}");
        }
        sim.set_bandwidth(way.0, way.1, None);
        World::advance(&mut sim, Duration::from_secs(10));
        assert_eq!(shortages(&sim, &short), told, "it has enough again");
        for other in [near, far, sound] {
            assert_eq!(shortages(&sim, &other), []);
        }
    }
}

#[test]
fn pages_are_told_the_rate_of_their_picture_if_the_settings_say_so() {
    let mut sim = Sim::new(42);
    let rates = "inbound_video_rate_stat_send_interval=1\noutbound_video_rate_stat_send_interval=1";
    let edge = NodeId(sim.add_node(Plan::new("edge.example").with(rates)));
    let origin = Plan::new("origin.example").edges(&["edge.example"]).shards(2).with(rates);
    let origin = NodeId(sim.add_node(origin));
    let publisher = sim.publish(origin, "ab12", Shape::audio_video());
    reaches(&mut sim, &publisher, "PUBLISHING");
    let viewer = sim.play(edge, "ab12", Shape::audio_video());
    reaches(&mut sim, &viewer, "PLAYING");
    World::advance(&mut sim, Duration::from_secs(10));
    let mut means = Vec::new();
    for (party, name) in [(&publisher, "inboundVideoRate"), (&viewer, "outboundVideoRate")] {
        let messages = sim.browser(party).messages().iter();
        let its = messages.filter(|message| message.name.ends_with("VideoRate"));
        let rates: Vec<f64> = its
            .map(|message| {
                assert_eq!(message.name, name);
                assert_eq!(message.data[0]["mediaSessionId"], party.id);
                message.data[0]["videoRate"].as_f64().expect("a number")
            })
            .collect();
        assert!((9..=12).contains(&rates.len()), "{name}: {rates:?}");
        means.push(rates[2..].iter().sum::<f64>() / (rates.len() - 2) as f64);
    }
    assert!((means[0] / means[1] - 1.0).abs() < 0.05, "{means:?}");
}

#[test]
fn a_node_of_several_shards_reports_everybody_before_it_is_done() {
    for seed in 20..24 {
        let (mut sim, origin, edge) = world(seed, 4);
        let publisher = sim.publish(origin, "ab12", Shape::audio_video());
        reaches(&mut sim, &publisher, "PUBLISHING");
        for _ in 0..4 {
            let viewer = sim.play(edge, "ab12", Shape::audio_video());
            reaches(&mut sim, &viewer, "PLAYING");
        }
        sim.drain(edge);
        World::advance(&mut sim, Duration::from_secs(6));
        let mut facts = sim.facts(edge.0).iter();
        let left = |event: &Event| matches!(event, Event::ViewerLeft { .. });
        let done = facts.clone().position(|(_, shard, event)| {
            // The runtime may end a shard that is done, and this one keeps the node's tables.
            *shard == ShardId(0) && matches!(event, Event::Drained)
        });
        let last = facts.by_ref().rposition(|(_, _, event)| left(event));
        assert!(last.is_some() && last < done, "seed {seed}: {:?}", sim.facts(edge.0));
    }
}
