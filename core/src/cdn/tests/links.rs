//! Links to edges, and streams on their way there.

use super::*;

fn waits(site: &Site, n: u8) -> Vec<Duration> {
    let dials: Vec<Instant> =
        site.dialed.iter().filter(|(_, ip)| *ip == edge(n)).map(|(at, _)| *at).collect();
    dials.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// One edge, which is up; it is not polled while a test looks at its link.
fn linked() -> Site {
    let limits = Limits { poll_interval: Duration::from_secs(100_000), ..Limits::default() };
    let mut site = Site::of_edges(1, "", limits);
    site.edge(1).up = true;
    site.wait_ms(0);
    assert_eq!(site.events, [Event::LinkUp { node: 1 }]);
    site
}

/// Offers the edge the stream that was dialed last; the peer, and the edge's id of it.
fn offered(site: &mut Site) -> (PeerId, String) {
    let peer = site.peer();
    site.hear(ToNode::Offered { peer, outcome: Ok("v=0 offer".to_owned()) });
    let offer = site.heard(1, "publishStream").pop().unwrap();
    (peer, offer["mediaSessionId"].as_str().unwrap().to_owned())
}

#[test]
fn a_link_introduces_itself_and_pings() {
    let mut site = linked();
    let greeting = site.heard(1, "connection").remove(0);
    assert_eq!(greeting["custom"]["distributaryLink"]["node"], "bench");
    let start = site.now();
    site.wait_ms(10_000);
    let pings: Vec<Duration> = site.edges[&edge(1)]
        .heard
        .iter()
        .filter(|(_, message)| message["message"] == "ping")
        .map(|(at, _)| *at - start)
        .collect();
    let interval = Limits::default().link_ping_interval;
    assert_eq!(pings, (1..=10).map(|n| interval * n).collect::<Vec<_>>());
    site.edge_says(1, &signal::ping());
    assert_eq!(site.heard(1, "pong").len(), 1);
    assert_eq!(site.events.len(), 1);
}

#[test]
fn a_silent_link_is_dead_after_its_timeout() {
    let mut site = linked();
    site.edge(1).silent = true;
    site.wait_ms(2999);
    assert_eq!(site.events.len(), 1);
    site.wait_ms(1);
    let down = Event::LinkDown { node: 1, why: "it went silent".into() };
    assert_eq!(site.events[1..], [down], "{:?}", Limits::default().link_silence_timeout);
}

#[test]
fn silence_is_counted_from_the_last_word_not_from_a_ping() {
    let mut site = linked();
    let silence = Limits::default().link_silence_timeout;
    site.wait_ms(300);
    site.edge(1).silent = true;
    site.edge_says(1, &signal::ping());
    site.wait(silence - Duration::from_millis(1));
    assert_eq!(site.events.len(), 1);
    site.wait_ms(1);
    let down = Event::LinkDown { node: 1, why: "it went silent".into() };
    assert_eq!(site.events[1..], [down]);
}

#[test]
fn a_broken_link_is_dialed_after_a_wait_that_doubles_up_to_a_bound() {
    let mut site = linked();
    site.edge(1).up = false;
    site.cut(1);
    site.wait_ms(20_000);
    let Limits { link_backoff_min, link_backoff_max, link_settle_time, .. } = Limits::default();
    let mut longest = link_backoff_min;
    let waits = waits(&site, 1);
    // The first two dials are the link's and the poll's at the start.
    for wait in &waits[2..] {
        longest = (longest * 2).min(link_backoff_max);
        assert!((longest / 2..=longest).contains(wait), "{wait:?} of {longest:?}");
    }
    assert!(waits.len() > 20, "{waits:?}");
    let distinct: std::collections::BTreeSet<_> = waits[8..].iter().collect();
    assert!(distinct.len() > 5, "there is jitter: {waits:?}");
    let downs = site.events.iter().filter(|event| matches!(event, Event::LinkDown { .. }));
    assert_eq!(downs.count(), 1, "an edge that stays down is one line in the log");
    site.edge(1).up = true;
    site.wait_ms(1000);
    assert_eq!(site.events.last(), Some(&Event::LinkUp { node: 1 }));
    let redialed = |site: &mut Site| {
        let before = site.dialed.len();
        site.cut(1);
        site.wait(link_backoff_min);
        site.dialed.len() - before
    };
    assert_eq!(redialed(&mut site), 0, "one that breaks at once is no success");
    site.wait(link_settle_time + link_backoff_max);
    assert_eq!(redialed(&mut site), 1, "after success the waits begin anew");
}

#[test]
fn an_edge_that_does_not_say_hello_is_given_up() {
    let limits = Limits {
        link_connect_timeout: Duration::from_secs(2),
        poll_interval: Duration::from_secs(100_000),
        ..Limits::default()
    };
    let mut site = Site::of_edges(1, "", limits);
    *site.edge(1) = Edge { up: true, silent: true, ..Edge::default() };
    site.wait_ms(1999);
    assert_eq!(site.events, []);
    site.wait_ms(1);
    let down = Event::LinkDown { node: 1, why: "it did not answer in time".into() };
    assert_eq!(site.events, [down]);
    site.edge(1).silent = false;
    site.wait_ms(200);
    assert_eq!(site.events[1..], [Event::LinkUp { node: 1 }]);
}

#[test]
fn a_stream_goes_to_every_edge_that_is_there_and_to_those_that_come() {
    let mut site = Site::of_edges(3, "", Limits::default());
    site.edge(1).up = true;
    site.edge(2).up = true;
    site.wait_ms(0);
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let nodes = |site: &Site| -> Vec<u32> {
        let dial =
            |word: &ToMedia| if let ToMedia::Dial { node, .. } = word { Some(*node) } else { None };
        site.media.iter().filter_map(dial).collect()
    };
    assert_eq!(nodes(&site), [1, 2]);
    site.edge(3).up = true;
    site.wait_ms(1000);
    assert_eq!(nodes(&site), [1, 2, 3]);
}

#[test]
fn an_edge_owes_so_many_answers_at_once_and_no_more() {
    let limits = Limits {
        relays_offering_max: 2,
        poll_interval: Duration::from_secs(100_000),
        ..Limits::default()
    };
    let mut site = Site::of_edges(1, "", limits);
    site.edge(1).up = true;
    site.wait_ms(0);
    let page = site.join("10.0.0.1");
    let dial =
        |word: &ToMedia| if let ToMedia::Dial { peer, .. } = word { Some(*peer) } else { None };
    let dials = |site: &Site| site.media.iter().filter_map(dial).collect::<Vec<_>>();
    for (name, dialed) in [("a", 1), ("b", 2), ("c", 2)] {
        site.live(page, name, name);
        assert_eq!(dials(&site).len(), dialed, "{name}");
    }
    let first = dials(&site)[0];
    site.relay_of(first, 1);
    site.wait(Limits::default().relay_retry_interval);
    assert_eq!(dials(&site).len(), 3, "there is room for one more");
}

#[test]
fn what_came_over_a_link_is_not_pushed_on() {
    let mut site = linked();
    let link = site.link("10.0.0.1", "origin");
    site.live(link, "P", "cam");
    assert!(!site.media.iter().any(|word| matches!(word, ToMedia::Dial { .. })));
}

#[test]
fn a_relay_is_offered_answered_up_and_over() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    let ingest = site.live(page, "P", "cam");
    let (peer, id) = site.relay(1);
    assert_ne!(peer, ingest);
    let offer = site.heard(1, "publishStream").remove(0);
    assert_eq!((&offer["name"], &offer["sdp"]), (&json!("cam"), &json!("v=0 offer")));
    assert_eq!((&offer["hasAudio"], &offer["hasVideo"]), (&json!(true), &json!(true)));
    let taken = |word: &ToMedia| match word {
        ToMedia::TakeAnswer { peer: of, sdp } => *of == peer && sdp == "v=0 answer",
        ToMedia::AcceptIngest { .. }
        | ToMedia::AcceptEgress { .. }
        | ToMedia::Dial { .. }
        | ToMedia::Drop { .. }
        | ToMedia::Subscribe { .. }
        | ToMedia::Unsubscribe { .. }
        | ToMedia::WantKeyframe { .. } => false,
    };
    assert!(site.media.iter().any(taken));
    assert_eq!(site.events.last(), Some(&Event::RelayUp { node: 1, name: "cam".into() }));
    site.stop(page, "P");
    assert_eq!(site.heard(1, "unPublishStream")[0]["mediaSessionId"], id);
    assert!(site.dropped(peer));
    assert!(site.events.iter().any(|event| matches!(event, Event::RelayDown { node: 1, .. })));
    site.wait_ms(20_000);
    assert_eq!(site.heard(1, "publishStream").len(), 1);
}

#[test]
fn an_edge_that_refuses_is_asked_again() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    for tries in 1..=4 {
        let peer = site.peer();
        site.hear(ToNode::Offered { peer, outcome: Ok("v=0 offer".to_owned()) });
        let offers = site.heard(1, "publishStream");
        assert_eq!(offers.len(), tries);
        let id = offers.last().unwrap()["mediaSessionId"].as_str().unwrap().to_owned();
        site.edge_says(1, &status_of(&id, "FAILED"));
        assert!(site.dropped(peer));
        site.wait(Limits::default().relay_retry_interval);
    }
    let (_, id) = site.relay(1);
    assert_eq!(site.events.last(), Some(&Event::RelayUp { node: 1, name: "cam".into() }));
    site.edge_says(1, &status_of(&id, "UNPUBLISHED"));
    let down = Event::RelayDown { node: 1, name: "cam".into(), why: "because".into() };
    assert_eq!(site.events.last(), Some(&down));
}

#[test]
fn an_edge_that_does_not_answer_an_offer_is_asked_again() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let peer = site.peer();
    site.hear(ToNode::Offered { peer, outcome: Ok("v=0 offer".to_owned()) });
    site.wait(Limits::default().relay_answer_timeout);
    assert!(site.dropped(peer));
    site.wait(Limits::default().relay_retry_interval);
    assert_ne!(site.peer(), peer);
}

#[test]
fn an_edge_whose_media_path_does_not_come_up_is_asked_again() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let (peer, id) = offered(&mut site);
    site.edge_says(1, &signal::remote_sdp(&id, "v=0 answer"));
    site.wait(Limits::default().peer_connect_timeout - Duration::from_millis(1));
    assert!(!site.dropped(peer));
    site.wait_ms(1);
    assert!(site.dropped(peer));
    site.wait(Limits::default().relay_retry_interval);
    assert_ne!(site.peer(), peer);
    assert_eq!(site.heard(1, "unPublishStream").len(), 0, "it would end what it keeps");
}

#[test]
fn what_an_edge_still_says_of_a_try_that_failed_changes_nothing() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let (peer, id) = offered(&mut site);
    site.edge_says(1, &status_of(&id, "FAILED"));
    let retry = Limits::default().relay_retry_interval;
    site.wait(retry / 2);
    site.edge_says(1, &status_of(&id, "UNPUBLISHED"));
    site.wait(retry / 2);
    assert_ne!(site.peer(), peer, "the next try is no later");
}

#[test]
fn a_peer_that_was_given_up_says_nothing_of_the_new_one() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let (old, id) = site.relay(1);
    site.edge_says(1, &status_of(&id, "FAILED"));
    site.fail(old, PeerFault::ConsentLost);
    site.wait(Limits::default().relay_retry_interval);
    let (new, _) = site.relay(1);
    site.fail(old, PeerFault::ConsentLost);
    let late = ToNode::Offered { peer: old, outcome: Err(PeerFault::Exhausted("late")) };
    site.hear(late);
    assert!(!site.dropped(new));
    assert_eq!(site.events.last(), Some(&Event::RelayUp { node: 1, name: "cam".into() }));
}

#[test]
fn a_peer_that_cannot_be_had_is_tried_again_and_a_lost_one_too() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let peer = site.peer();
    site.hear(ToNode::Offered { peer, outcome: Err(PeerFault::Exhausted("no socket")) });
    site.wait_ms(1000);
    let second = site.peer();
    assert_ne!(second, peer);
    site.relay(1);
    site.fail(second, PeerFault::ConsentLost);
    let down = Event::RelayDown { node: 1, name: "cam".into(), why: "ICE went silent".into() };
    assert_eq!(site.events.last(), Some(&down));
    site.wait_ms(1000);
    assert_ne!(site.peer(), second);
}

/// What an edge still has of a stream, and for whom, it keeps until the next try.
#[test]
fn a_try_that_fails_is_not_taken_back() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    site.relay(1);
    site.cut(1);
    site.wait_ms(200);
    let peer = site.peer();
    site.hear(ToNode::Offered { peer, outcome: Err(PeerFault::Exhausted("no socket")) });
    assert_eq!(site.heard(1, "unPublishStream").len(), 0);
}

#[test]
fn a_broken_link_takes_its_relays_and_a_new_one_brings_them_back() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let (peer, _) = site.relay(1);
    site.cut(1);
    assert!(site.dropped(peer));
    site.wait_ms(200);
    assert_ne!(site.peer(), peer);
    site.relay(1);
    assert_eq!(site.events.last(), Some(&Event::RelayUp { node: 1, name: "cam".into() }));
}

#[test]
fn what_ended_while_a_link_was_down_is_taken_back_by_its_name() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    for name in ["gone", "here"] {
        site.live(page, name, name);
        site.relay(1);
    }
    site.live(page, "unknown", "unknown");
    site.edge(1).up = false;
    site.cut(1);
    site.stop(page, "gone");
    site.live(page, "late", "late");
    site.stop(page, "late");
    assert_eq!(site.heard(1, "unPublishStream").len(), 0, "there is no link");
    site.edge(1).up = true;
    site.wait_ms(1000);
    let names = |site: &Site| {
        let said = site.heard(1, "unPublishStream");
        said.iter().map(|data| data["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&site), ["gone"], "what goes on, and what it never had, is left alone");
    site.cut(1);
    site.wait_ms(2000);
    assert_eq!(names(&site), ["gone"], "it is said once");
}

#[test]
fn what_ends_between_two_tries_is_taken_back_by_its_name() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let (_, id) = offered(&mut site);
    site.edge_says(1, &status_of(&id, "FAILED"));
    site.stop(page, "P");
    let said = site.heard(1, "unPublishStream");
    assert_eq!(said.len(), 1, "when it ended, and not when it failed");
    assert_eq!((&said[0]["mediaSessionId"], &said[0]["name"]), (&json!(id), &json!("cam")));
    site.wait_ms(20_000);
    assert_eq!(site.heard(1, "publishStream").len(), 1);
}

/// Where many failed at once, some wait for more than one turn.
#[test]
fn what_ends_before_its_turn_to_be_tried_again_is_taken_back_by_what_the_edge_knows() {
    let mut site = linked();
    site.bench.config.limits.relays_offering_max = 1;
    let page = site.join("10.0.0.1");
    let relays = ["a", "b"].map(|name| {
        site.live(page, name, name);
        site.relay(1)
    });
    for (peer, _) in &relays {
        site.fail(*peer, PeerFault::ConsentLost);
    }
    site.wait(Limits::default().relay_retry_interval);
    assert_eq!(site.heard(1, "publishStream").len(), 2);
    site.stop(page, "b");
    let said = site.heard(1, "unPublishStream");
    assert_eq!(said[0]["mediaSessionId"], relays[1].1);
}

/// Between its decision to offer a stream anew and the offer, an origin has a name that the edge
/// has not heard of.
#[test]
fn a_link_ends_its_own_stream_by_its_name() {
    let mut site = Site::of_edges(0, "", Limits::default());
    let [link, other] = [0, 0].map(|_| site.link("10.0.0.9", "origin"));
    site.live(link, "L", "cam");
    let unheard = || Request::Unpublish { media_session: "unheard".into(), name: "cam".into() };
    site.ask(other, unheard());
    assert_eq!(site.status(link, "L").0, "PUBLISHING", "another session brings it now");
    site.ask(link, unheard());
    assert_eq!(site.status(link, "L").0, "UNPUBLISHED");
    assert!(site.node.streams.is_empty());
}

#[test]
fn events_are_left_out_for_an_edge_that_reads_slowly() {
    let mut site = linked();
    let Limits { outgoing_bytes_max, event_bytes_max, .. } = Limits::default();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let (_, id) = site.relay(1);
    site.edge(1).slow = true;
    let events = 2 * outgoing_bytes_max / event_bytes_max;
    for _ in 0..events {
        let payload = Some(json!("x".repeat(event_bytes_max - 2)));
        let (media_session, kind) = ("P".to_owned(), "data".to_owned());
        site.ask(page, Request::StreamEvent { media_session, kind, payload });
    }
    // There is room for what may not be left out.
    site.live(page, "P2", "other");
    site.hear(ToNode::Offered { peer: site.peer(), outcome: Ok("v=0 offer".to_owned()) });
    site.stop(page, "P");
    site.catch_up(1);
    let heard = site.heard(1, "sendStreamEvent").len();
    assert!((events / 4..events / 2).contains(&heard), "{heard} of {events}");
    assert_eq!(site.heard(1, "unPublishStream")[0]["mediaSessionId"], id);
    assert_eq!(site.heard(1, "publishStream").len(), 2);
    assert!(!site.events.iter().any(|event| matches!(event, Event::LinkDown { .. })));
}

#[test]
fn events_and_mute_state_go_along() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let event = |kind: &str| Request::StreamEvent {
        media_session: "P".into(),
        kind: kind.into(),
        payload: (kind == "data").then(|| json!(7)),
    };
    site.ask(page, event("videoMuted"));
    assert_eq!(site.heard(1, "sendStreamEvent").len(), 0, "the edge has no such stream yet");
    let (_, id) = site.relay(1);
    site.ask(page, event("data"));
    let expected = [
        json!({ "mediaSessionId": id, "type": "videoMuted" }),
        json!({ "mediaSessionId": id, "type": "data", "payload": 7 }),
    ];
    assert_eq!(site.heard(1, "sendStreamEvent"), expected);
}

#[test]
fn another_codec_is_pushed_anew() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let (peer, id) = site.relay(1);
    site.leave(page);
    let back = site.join("10.0.0.1");
    site.publish(back, "P", "cam");
    site.finish(video("h264"));
    assert!(site.dropped(peer));
    assert_eq!(site.heard(1, "unPublishStream")[0]["mediaSessionId"], id);
    assert!(matches!(
        site.media.last(),
        Some(ToMedia::Dial { formats, .. }) if *formats == video("h264")
    ));
}

#[test]
fn nonsense_of_an_edge_breaks_its_link_only() {
    let mut site = linked();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    site.edge_says(1, &signal::remote_sdp("nobody's", "x"));
    site.edge_says(1, &status_of("nobody's", "FAILED"));
    site.edge_says(1, &signal::fail("x", "y"));
    site.edge_says(1, r#"{"message":"getUserData","data":[]}"#);
    assert!(!site.events.iter().any(|event| matches!(event, Event::LinkDown { .. })));
    site.edge_says(1, "hello");
    let why = "it does not speak our protocol".to_owned();
    assert_eq!(site.events.last(), Some(&Event::LinkDown { node: 1, why }));
    assert_eq!(site.status(page, "P").0, "PUBLISHING");
}
