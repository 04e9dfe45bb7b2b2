//! Who has a name, and what becomes of it.

use super::*;

const STOPPED: &str = "Stopped by publisher stop";

#[test]
fn publishing_is_answered_then_up_then_over() {
    let mut site = Site::new();
    let page = site.join("10.0.0.1");
    site.publish(page, "P", "cam");
    let peer = site.peer();
    let ToMedia::AcceptIngest { run: 1, offer, .. } = &site.media[0] else { panic!() };
    assert_eq!(offer, "v=0 offer");
    site.answer(peer, video("vp8"));
    assert_eq!(site.told(page)[0]["data"], json!(["P", "v=0 answer", true]));
    assert_eq!(site.events, []);
    site.up(peer);
    assert_eq!(site.status(page, "P"), said("PUBLISHING", ""));
    assert_eq!(site.events, [Event::StreamStarted { name: "cam".into(), link: false }]);
    site.ask(page, Request::Unpublish { media_session: "P".into(), name: String::new() });
    assert_eq!(site.status(page, "P"), said("UNPUBLISHED", "Stopped by user"));
    assert!(site.dropped(peer));
    let ended = Event::StreamEnded { name: "cam".into(), info: STOPPED.into() };
    assert_eq!(site.events[1..], [ended]);
    site.live(page, "P2", "cam");
    assert_eq!(site.status(page, "P2"), said("PUBLISHING", ""), "the name is free again");
}

#[test]
fn a_name_is_taken_once() {
    let mut site = Site::new();
    let (one, other) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
    let again = site.join("10.0.0.1");
    site.publish(one, "P", "cam");
    let peer = site.peer();
    for stage in ["offered", "answered", "up"] {
        for (session, id) in [(other, "Q"), (again, "R"), (one, "P2")] {
            site.publish(session, id, "cam");
            let expected = said("FAILED", "Stream name is already in use");
            assert_eq!(site.status(session, id), expected, "{stage}");
            site.told(session);
        }
        match stage {
            "offered" => site.answer(peer, video("vp8")),
            _ => site.up(peer),
        }
    }
    assert_eq!(site.media.len(), 1);
}

#[test]
fn within_the_grace_only_the_same_address_takes_over() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.9"));
    let peer = site.live(page, "P", "cam");
    site.watch(viewer, "Q", "cam");
    site.leave(page);
    assert!(site.dropped(peer));
    site.wait_ms(4000);
    assert_eq!(site.status(viewer, "Q"), said("PLAYING", ""), "its viewers wait");
    let stranger = site.join("10.0.0.2");
    site.publish(stranger, "S", "cam");
    assert_eq!(site.status(stranger, "S"), said("FAILED", "Stream name is already in use"));
    let back = site.join("10.0.0.1");
    site.live(back, "P", "cam");
    assert_eq!(site.status(back, "P"), said("PUBLISHING", ""));
    let run = site.media.iter().rev().find_map(|word| {
        if let ToMedia::AcceptIngest { run, .. } = word { Some(*run) } else { None }
    });
    assert_eq!(run, Some(2), "it is the stream's second publisher");
    site.wait_ms(60_000);
    assert_eq!(site.status(viewer, "Q"), said("PLAYING", ""));
    assert_eq!(site.events.len(), 2, "the stream never ended: {:?}", site.events);
}

#[test]
fn after_the_grace_viewers_are_told_and_the_name_is_free() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.9"));
    site.live(page, "P", "cam");
    let watching = site.watch(viewer, "Q", "cam");
    site.leave(page);
    site.wait_ms(4999);
    assert_eq!(site.status(viewer, "Q").0, "PLAYING");
    site.wait_ms(1);
    assert_eq!(site.status(viewer, "Q"), said("FAILED", STOPPED));
    assert!(site.dropped(watching));
    let other = site.join("10.0.0.2");
    site.live(other, "P", "cam");
    assert_eq!(site.status(other, "P"), said("PUBLISHING", ""));
}

#[test]
fn a_broken_media_path_fails_the_publisher_and_starts_the_grace() {
    for (fault, info) in [
        (PeerFault::IceTimeout, "Failed by ICE timeout"),
        (PeerFault::ConsentLost, "Failed by ICE keep alive"),
        (PeerFault::Gone, "Failed by ICE keep alive"),
        (PeerFault::Dtls, "Failed by DTLS error"),
        (PeerFault::Fingerprint, "Failed by DTLS fingerprint error"),
        (PeerFault::RtpSilence, "Failed by RTP activity"),
        (PeerFault::Internal("x".into()), "Failed by error"),
    ] {
        let mut site = Site::new();
        let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.9"));
        let peer = site.live(page, "P", "cam");
        site.watch(viewer, "Q", "cam");
        site.fail(peer, fault);
        assert_eq!(site.status(page, "P"), said("FAILED", info));
        assert_eq!(site.status(viewer, "Q").0, "PLAYING");
        site.live(page, "P2", "cam");
        assert_eq!(site.status(page, "P2").0, "PUBLISHING");
    }
}

#[test]
fn an_offer_that_cannot_be_answered_frees_the_name_at_once() {
    for (fault, info) in [
        (PeerFault::Sdp("x".into()), "Failed to add stream to proxy"),
        (PeerFault::NoCommonCodecs, "No common codecs"),
        (PeerFault::Exhausted("x"), "Too many streams"),
    ] {
        let mut site = Site::new();
        let (page, other) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
        site.publish(page, "P", "cam");
        let peer = site.peer();
        site.hear(ToNode::Answered { peer, outcome: Err(fault) });
        assert_eq!(site.status(page, "P"), said("FAILED", info));
        assert_eq!(site.events, [], "it never started");
        site.live(other, "P", "cam");
        assert_eq!(site.status(other, "P").0, "PUBLISHING");
        site.publish(page, "P", "other");
        assert_eq!(site.told(page).len(), 1, "the id is free too");
    }
}

#[test]
fn a_shard_that_does_not_answer_fails_the_wish() {
    let limits = Limits { answer_timeout: Duration::from_secs(2), ..Limits::default() };
    let mut site = Site::bounded(limits);
    let page = site.join("10.0.0.1");
    site.live(page, "A", "a");
    site.publish(page, "P", "cam");
    let publishing = site.peer();
    site.play(page, "Q", "a");
    let playing = site.peer();
    site.wait_ms(1999);
    assert_eq!(site.status(page, "P").0, "");
    site.wait_ms(1);
    assert_eq!(site.status(page, "P"), said("FAILED", "Failed by error"));
    assert_eq!(site.status(page, "Q"), said("FAILED", "Failed by error"));
    assert!(site.dropped(publishing) && site.dropped(playing));
    site.answer(publishing, video("vp8"));
    site.up(playing);
    assert_eq!(site.status(page, "Q").0, "FAILED", "what comes too late is nothing");
}

#[test]
fn another_codec_ends_the_viewers_with_a_reason() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.9"));
    site.live(page, "P", "cam");
    site.watch(viewer, "Q", "cam");
    site.leave(page);
    let back = site.join("10.0.0.1");
    site.publish(back, "P", "cam");
    site.finish(video("h264"));
    assert_eq!(site.status(back, "P").0, "PUBLISHING");
    let (status, info) = site.status(viewer, "Q");
    assert_eq!((&*status, &*info), ("FAILED", "The publisher came back with another codec"));
    site.play(viewer, "Q2", "cam");
    assert!(matches!(
        site.media.last(),
        Some(ToMedia::AcceptEgress { formats, .. }) if *formats == video("h264")
    ));
}

#[test]
fn who_takes_over_and_fails_leaves_the_grace_as_it_was() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.9"));
    site.live(page, "P", "cam");
    site.watch(viewer, "Q", "cam");
    site.leave(page);
    site.wait_ms(3000);
    let back = site.join("10.0.0.1");
    site.publish(back, "P", "cam");
    let peer = site.peer();
    site.hear(ToNode::Answered { peer, outcome: Err(PeerFault::NoCommonCodecs) });
    assert_eq!(site.status(viewer, "Q").0, "PLAYING");
    site.wait_ms(1999);
    assert_eq!(site.status(viewer, "Q").0, "PLAYING");
    site.wait_ms(1);
    assert_eq!(site.status(viewer, "Q"), said("FAILED", STOPPED));
}

#[test]
fn who_comes_back_too_late_begins_anew() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.9"));
    site.live(page, "P", "cam");
    site.watch(viewer, "Q", "cam");
    site.leave(page);
    site.wait_ms(4900);
    let back = site.join("10.0.0.1");
    site.publish(back, "P", "cam");
    let peer = site.peer();
    site.answer(peer, video("vp8"));
    site.wait_ms(200);
    assert_eq!(site.status(viewer, "Q"), said("FAILED", STOPPED));
    site.up(peer);
    assert_eq!(site.status(back, "P").0, "PUBLISHING");
    let streams =
        |event: &&Event| matches!(event, Event::StreamStarted { .. } | Event::StreamEnded { .. });
    let started = Event::StreamStarted { name: "cam".into(), link: false };
    let ended = Event::StreamEnded { name: "cam".into(), info: STOPPED.into() };
    let streams: Vec<&Event> = site.events.iter().filter(streams).collect();
    assert_eq!(streams, [&started, &ended, &started]);
}

#[test]
fn a_link_takes_over_from_itself_and_has_the_longer_grace() {
    let mut site = Site::with("link.grace=20000\n", None, Limits::default());
    let viewer = site.join("10.0.0.9");
    let link = site.link("10.0.0.1", "origin");
    let old = site.live(link, "P", "cam");
    assert_eq!(site.events, [Event::StreamStarted { name: "cam".into(), link: true }]);
    site.watch(viewer, "Q", "cam");
    let stranger = site.link("10.0.0.1", "another");
    let page = site.join("10.0.0.1");
    for (session, id) in [(stranger, "S"), (page, "T")] {
        site.publish(session, id, "cam");
        assert_eq!(site.status(session, id).0, "FAILED");
    }
    let redialed = site.link("10.0.0.1", "origin");
    site.live(redialed, "P2", "cam");
    assert!(site.dropped(old), "we had not noticed that the old link was dead");
    assert_eq!(site.status(viewer, "Q").0, "PLAYING");
    site.leave(link);
    site.leave(redialed);
    site.wait_ms(19_999);
    assert_eq!(site.status(viewer, "Q").0, "PLAYING");
    site.wait_ms(1);
    assert_eq!(site.status(viewer, "Q"), said("FAILED", STOPPED));
}

/// After it stood still, an edge reads what both links said in any order.
#[test]
fn a_link_takes_nothing_back_from_the_one_that_was_dialed_after_it() {
    let mut site = Site::new();
    let viewer = site.join("10.0.0.9");
    let old = site.link("10.0.0.1", "origin");
    let new = site.link("10.0.0.1", "origin");
    site.live(new, "P", "cam");
    site.watch(viewer, "Q", "cam");
    site.publish(old, "late", "cam");
    assert_eq!(site.status(old, "late"), said("FAILED", "Stream name is already in use"));
    site.leave(old);
    site.wait_ms(200_000);
    assert_eq!(site.status(viewer, "Q").0, "PLAYING");
}

#[test]
fn an_origin_under_another_name_takes_back_what_it_lost_here() {
    let mut site = Site::new();
    let viewer = site.join("10.0.0.9");
    let link = site.link("10.0.0.1", "origin");
    site.live(link, "P", "cam");
    site.watch(viewer, "Q", "cam");
    site.leave(link);
    let elsewhere = site.link("10.0.0.2", "origin");
    let page = site.join("10.0.0.1");
    for (session, id) in [(elsewhere, "S"), (page, "T")] {
        site.publish(session, id, "cam");
        let expected = said("FAILED", "Stream name is already in use");
        assert_eq!(site.status(session, id), expected, "{id}");
    }
    let restarted = site.link("10.0.0.1", "origin-after-restart");
    let old = site.live(restarted, "P", "cam");
    assert_eq!(site.status(restarted, "P").0, "PUBLISHING");
    assert_eq!(site.status(viewer, "Q").0, "PLAYING");
    // It dials anew under its new name, and is known by it.
    let redialed = site.link("10.0.0.1", "origin-after-restart");
    site.live(redialed, "P", "cam");
    assert!(site.dropped(old));
    assert_eq!(site.status(redialed, "P").0, "PUBLISHING");
}

#[test]
fn an_origin_ends_by_its_name_what_it_lost_here() {
    let mut site = Site::new();
    let viewer = site.join("10.0.0.9");
    let link = site.link("10.0.0.1", "origin");
    site.live(link, "P", "cam");
    site.watch(viewer, "Q", "cam");
    let end = |name: &str| Request::Unpublish { media_session: "new".into(), name: name.into() };
    let back = site.link("10.0.0.1", "restarted");
    site.ask(back, end("cam"));
    assert_eq!(site.status(viewer, "Q").0, "PLAYING", "somebody publishes it");
    site.leave(link);
    let elsewhere = site.link("10.0.0.2", "origin");
    let page = site.join("10.0.0.1");
    for session in [elsewhere, page] {
        site.ask(session, end("cam"));
        site.told(session);
        assert_eq!(site.status(viewer, "Q").0, "PLAYING", "it is not theirs to end");
    }
    site.ask(back, end("another"));
    assert_eq!(site.status(viewer, "Q").0, "PLAYING");
    site.ask(back, end("cam"));
    assert_eq!(site.status(viewer, "Q"), said("FAILED", STOPPED));
    let ended = Event::StreamEnded { name: "cam".into(), info: STOPPED.into() };
    assert!(site.events.contains(&ended), "{:?}", site.events);
    site.live(page, "P", "cam");
    assert_eq!(site.status(page, "P").0, "PUBLISHING", "the name is free at once");
}

#[test]
fn a_page_loses_nothing_to_a_link_that_names_its_stream() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.9"));
    site.live(page, "P", "cam");
    site.watch(viewer, "Q", "cam");
    site.leave(page);
    let link = site.link("10.0.0.1", "origin");
    site.ask(link, Request::Unpublish { media_session: "new".into(), name: "cam".into() });
    assert_eq!(site.status(viewer, "Q").0, "PLAYING");
}

#[test]
fn what_is_wrong_with_a_wish_is_said() {
    let limits = Limits { name_bytes_max: 8, sdp_bytes_max: 20, ..Limits::default() };
    let mut site = Site::bounded(limits);
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    site.told(page);
    let good = wish("X", "name");
    let (sdp, empty) = ("v=0".repeat(7), String::new());
    let mse = StreamRequest { provider: "MSE".into(), ..good.clone() };
    for (request, info) in [
        (wish("", "name"), "MediaSessionId is null"),
        (wish("P", "name"), "MediaSessionId is already in use"),
        (wish("X", ""), "Stream name is empty or too long"),
        (wish("X", "ninechars"), "Stream name is empty or too long"),
        (StreamRequest { sdp, ..good.clone() }, "Failed to add stream to proxy"),
        (StreamRequest { sdp: empty, ..good.clone() }, "Failed to add stream to proxy"),
        (mse, "Only WebRTC is offered by this server"),
    ] {
        let id = request.media_session.clone();
        for request in [Request::Publish(request.clone()), Request::Play(request)] {
            site.ask(page, request);
            assert_eq!(site.status(page, &id), said("FAILED", info));
            assert_eq!(site.told(page).len(), 1);
        }
    }
    site.play(page, "R", "a://b");
    assert_eq!(site.status(page, "R"), said("FAILED", "Failed to get agent storage"));
    site.publish(page, "S", "eight ch");
    assert_eq!(site.status(page, "S").0, "", "that long is fine");
}

#[test]
fn streams_of_a_session_and_of_the_node_are_bounded() {
    let limits = Limits { session_streams_max: 3, streams_max: 2, ..Limits::default() };
    let mut site = Site::bounded(limits);
    let (page, other) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
    site.live(page, "A", "a");
    site.live(page, "B", "b");
    let full = said("FAILED", "Too many streams");
    site.publish(other, "C", "c");
    assert_eq!(site.status(other, "C"), full, "the node has its two");
    site.watch(page, "Q", "a");
    site.play(page, "R", "a");
    assert_eq!(site.status(page, "R"), full, "the session has its three");
    site.stop(page, "Q");
    site.watch(page, "R", "a");
    assert_eq!(site.status(page, "R").0, "PLAYING");
    site.stop(page, "B");
    site.live(other, "C", "c");
    assert_eq!(site.status(other, "C").0, "PUBLISHING");
}

#[test]
fn an_origin_pushes_more_over_its_link_than_a_page_may_publish() {
    let limits = Limits { session_streams_max: 2, streams_max: 5, ..Limits::default() };
    let mut site = Site::bounded(limits);
    let (link, page) = (site.link("10.0.0.1", "origin"), site.join("10.0.0.2"));
    for id in ["A", "B", "C", "D"] {
        site.live(link, id, id);
        assert_eq!(site.status(link, id).0, "PUBLISHING");
    }
    site.live(page, "E", "E");
    site.watch(page, "Q", "A");
    site.play(page, "R", "B");
    assert_eq!(site.status(page, "R"), said("FAILED", "Too many streams"));
    site.publish(link, "F", "F");
    assert_eq!(site.status(link, "F"), said("FAILED", "Too many streams"), "the node is full");
}

#[test]
fn events_of_a_publisher_reach_its_viewers_and_late_ones_learn_the_state() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.9"));
    site.live(page, "P", "cam");
    site.watch(viewer, "Q", "cam");
    site.told(viewer);
    let event = |kind: &str, payload| Request::StreamEvent {
        media_session: "P".into(),
        kind: kind.into(),
        payload,
    };
    for kind in ["audioMuted", "videoMuted", "videoUnmuted"] {
        site.ask(page, event(kind, None));
        let told = site.told(viewer);
        assert_eq!(told[0]["message"], "notifyStreamEvent");
        assert_eq!(told[0]["data"], json!([{ "mediaSessionId": "Q", "type": kind }]));
        site.ask(page, event(kind, None));
        assert_eq!(site.told(viewer), [] as [Value; 0], "that is no news");
    }
    site.ask(page, event("data", Some(json!({ "count": 23 }))));
    assert_eq!(site.told(viewer)[0]["data"][0]["payload"], json!({ "count": 23 }));
    // Pages would stumble over these.
    for (kind, payload) in
        [("data", None), ("resize", Some(json!({}))), ("notEnoughBandwidth", None), ("x", None)]
    {
        site.ask(page, event(kind, payload));
        assert_eq!(site.told(viewer), [] as [Value; 0], "{kind}");
    }
    let bound = site.bench.config.limits.event_bytes_max;
    site.told(page);
    site.ask(page, event("data", Some(json!("x".repeat(bound - 2)))));
    assert_eq!(site.told(viewer).len(), 1);
    site.ask(page, event("data", Some(json!("x".repeat(bound - 1)))));
    assert_eq!(site.told(viewer), [] as [Value; 0]);
    assert_eq!(site.told(page)[0]["message"], "fail");
    let late = site.join("10.0.0.8");
    site.watch(late, "L", "cam");
    let playing = site.told(late).pop().unwrap()["data"][0].clone();
    assert_eq!(playing["audioState"], json!({ "muted": true }));
    assert_eq!(playing["videoState"], json!({ "muted": false }));
    // A viewer has no say in it.
    let forged = Request::StreamEvent {
        media_session: "L".into(),
        kind: "audioMuted".into(),
        payload: None,
    };
    site.ask(late, forged);
    assert_eq!(site.told(viewer), [] as [Value; 0]);
}
