//! Playing, waiting to play, and being told that there is nothing to play.

use super::*;

#[test]
fn playing_is_answered_then_up_then_over() {
    let mut site = Site::new();
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    site.play(page, "Q", "cam");
    let peer = site.peer();
    assert!(matches!(
        site.media.last(),
        Some(ToMedia::AcceptEgress { formats, .. }) if *formats == video("vp8")
    ));
    site.told(page);
    site.answer(peer, Formats::default());
    assert_eq!(site.told(page)[0]["data"], json!(["Q", "v=0 answer", true]));
    site.up(peer);
    let playing = site.told(page)[0]["data"][0].clone();
    assert_eq!((&playing["status"], &playing["published"]), (&json!("PLAYING"), &json!(false)));
    assert_eq!(playing["audioState"], json!({ "muted": false }));
    site.stop(page, "Q");
    assert_eq!(site.status(page, "Q"), said("STOPPED", "Stopped by user"));
    assert!(site.dropped(peer));
    let left = Event::ViewerLeft { name: "cam".into(), info: "Stopped by user".into() };
    assert_eq!(site.events[1..], [Event::ViewerJoined { name: "cam".into() }, left]);
}

#[test]
fn an_unknown_name_is_waited_for() {
    let mut site = Site::with("play.wait=700\n", None, Limits::default());
    let page = site.join("10.0.0.1");
    site.play(page, "Q", "cam");
    site.wait_ms(699);
    assert_eq!(site.status(page, "Q").0, "");
    site.wait_ms(1);
    assert_eq!(site.status(page, "Q"), said("FAILED", "Stream not found"));
    assert_eq!(site.node.next_timeout(&site.bench.config.limits), None);
    site.play(page, "Q", "cam");
    site.publish(page, "P", "cam");
    site.wait_ms(700);
    assert_eq!(site.status(page, "Q"), said("FAILED", "Publish stream is not ready"));
}

#[test]
fn everybody_who_waits_is_woken() {
    let mut site = Site::new();
    let page = site.join("10.0.0.1");
    let viewers = [site.join("10.0.0.2"), site.join("10.0.0.3"), page];
    for viewer in viewers {
        site.play(viewer, "Q", "cam");
    }
    let gone = site.join("10.0.0.4");
    site.play(gone, "Q", "cam");
    site.leave(gone);
    let stopped = site.join("10.0.0.5");
    site.play(stopped, "Q", "cam");
    site.stop(stopped, "Q");
    assert_eq!(site.status(stopped, "Q"), said("STOPPED", "Stopped by user"));
    site.wait_ms(900);
    site.live(page, "P", "cam");
    let woken: Vec<PeerId> =
        site.media
            .iter()
            .filter_map(|word| {
                if let ToMedia::AcceptEgress { peer, .. } = word { Some(*peer) } else { None }
            })
            .collect();
    assert_eq!(woken.len(), 3);
    for peer in woken {
        site.answer(peer, video("vp8"));
        site.up(peer);
    }
    site.wait_ms(10_000);
    for viewer in viewers {
        assert_eq!(site.status(viewer, "Q"), said("PLAYING", ""));
    }
}

#[test]
fn stops_of_what_is_not_there_are_ignored() {
    let mut site = Site::new();
    let (page, other) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
    site.live(page, "P", "cam");
    site.watch(page, "Q", "cam");
    site.told(page);
    for id in ["P", "Q", "X", ""] {
        site.stop(other, id);
    }
    assert_eq!(site.told(other), [] as [Value; 0], "other sessions' ids are unknown");
    site.stop(page, "Q");
    site.told(page);
    site.stop(page, "Q");
    site.ask(page, Request::Unpublish { media_session: "Q".into(), name: String::new() });
    assert_eq!(site.told(page), [] as [Value; 0]);
    assert_eq!(site.status(page, "P"), said("", ""));
}

#[test]
fn the_publishers_end_is_the_viewers_failure() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
    site.live(page, "P", "cam");
    let playing = site.watch(viewer, "Q", "cam");
    site.play(viewer, "R", "cam");
    let connecting = site.peer();
    site.ask(page, Request::Unpublish { media_session: "P".into(), name: String::new() });
    for id in ["Q", "R"] {
        assert_eq!(site.status(viewer, id), said("FAILED", "Stopped by publisher stop"));
    }
    assert!(site.dropped(playing) && site.dropped(connecting));
    site.told(viewer);
    site.stop(viewer, "Q");
    site.fail(playing, PeerFault::Gone);
    assert_eq!(site.told(viewer), [] as [Value; 0], "the end is told once");
}

#[test]
fn a_session_that_is_gone_leaves_nothing() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
    let ingest = site.live(page, "P", "cam");
    let egress = site.watch(viewer, "Q", "cam");
    site.play(viewer, "W", "other");
    site.leave(viewer);
    assert!(site.dropped(egress));
    assert!(site.node.streams.values().all(|stream| stream.viewers.is_empty()));
    site.leave(page);
    assert!(site.dropped(ingest));
    site.wait_ms(10_000);
    assert_eq!(site.node.next_timeout(&site.bench.config.limits), None);
    let node = &site.node;
    assert!(node.sessions.is_empty() && node.streams.is_empty() && node.names.is_empty());
    assert!(node.plays.is_empty() && node.waiting.is_empty() && node.peers.is_empty());
    assert_eq!(node.placed, [0]);
}

#[test]
fn availability_is_what_can_be_played_now() {
    let mut site = Site::new();
    let page = site.join("10.0.0.1");
    let asked = |site: &mut Site| {
        site.told(page);
        let ask = Request::Available { media_session: "A".into(), name: "cam".into() };
        site.ask(page, ask);
        let told = site.told(page).pop().unwrap()["data"][0].clone();
        (told["status"].clone(), told["info"].clone())
    };
    let (yes, no) = ((json!("true"), json!("")), (json!("false"), json!("Stream not found")));
    assert_eq!(asked(&mut site), no);
    site.publish(page, "P", "cam");
    assert_eq!(asked(&mut site), no, "nothing can be seen yet");
    site.finish(video("vp8"));
    assert_eq!(asked(&mut site), yes);
    site.stop(page, "P");
    assert_eq!(asked(&mut site), no);
}

#[test]
fn what_this_server_has_not_is_refused_in_its_own_words() {
    let mut site = Site::new();
    let page = site.join("10.0.0.1");
    site.ask(page, Request::Snapshot { media_session: "X".into() });
    assert_eq!(site.told(page)[0]["data"][0]["type"], "snapshotFailed");
    site.ask(page, Request::Data { operation: json!("op") });
    assert_eq!(site.told(page)[0]["data"][0]["operationId"], "op");
}

#[test]
fn the_statistics_count_who_is_there() {
    let mut site = Site::new();
    let (page, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
    site.live(page, "P", "cam");
    site.watch(viewer, "Q", "cam");
    site.play(viewer, "R", "cam");
    site.node.set_cpu_load(200);
    let (shard, conn) = (ShardId::NODE, ConnId::accepted(99));
    site.hear(ToNode::Asked { shard, conn, question: Question::Stat });
    let text = String::from_utf8(site.responses[0].body().to_vec()).unwrap();
    for line in [
        "connections=2",
        "streams_webrtc_in=1",
        "streams_webrtc_out=1",
        "calls=1",
        "systemCpuLoad=100",
        "core_peers=3",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
}

/// Shard 0 decides, the publisher's peer is there too, the viewer's on shard 1, their session's
/// connection on shard 2.
#[test]
fn words_go_to_the_shards_that_they_are_for() {
    let mut bench = Bench::new();
    bench.config.media = vec![([0; 4], 31001).into(); 3];
    let mut node = Node::new(&bench.ctx());
    let session = SessionId { shard: ShardId(2), conn: ConnId::accepted(1) };
    let remote = ([10, 0, 0, 1], 40_000).into();
    let Ok(signal::Step::Establish { greeting, .. }) =
        signal::Session::new(bench.now, &bench.config.limits).handle(
            bench.now,
            r#"{"message":"connection","data":[{}]}"#,
            "",
            None,
            &bench.config.limits,
        )
    else {
        panic!("a greeting")
    };
    node.handle(&mut bench.ctx(), ToNode::Established { session, remote, greeting });
    let requested = |request| ToNode::Requested { session, request: Box::new(request) };
    let ctx = &mut bench.ctx();
    node.handle(ctx, requested(Request::Publish(wish("P", "cam"))));
    node.handle(ctx, ToNode::Up { peer: PeerId(1) });
    node.handle(ctx, requested(Request::Play(wish("Q", "cam"))));
    node.handle(ctx, ToNode::Up { peer: PeerId(2) });
    node.handle(ctx, requested(Request::Stop { media_session: "Q".into() }));
    let posts = bench.outputs().into_iter().filter_map(|output| {
        if let Output::Post { to, message } = output { Some((to, message.0)) } else { None }
    });
    let (said, done): (Vec<_>, Vec<_>) =
        posts.partition(|(_, message)| matches!(message, Message::Connection { .. }));
    assert!(said.len() == 3 && said.iter().all(|(to, _)| *to == ShardId(2)), "{said:?}");
    let [(accepts, accepted), (drops, dropped)] = &done[..] else { panic!("{done:?}") };
    assert_eq!((*accepts, *drops), (ShardId(1), ShardId(1)));
    assert!(matches!(accepted, Message::Media(ToMedia::AcceptEgress { home: ShardId(0), .. })));
    assert!(matches!(dropped, Message::Media(ToMedia::Drop { peer: PeerId(2) })));
}

#[test]
fn a_viewer_is_told_that_its_bandwidth_is_short_as_long_as_it_plays() {
    let mut site = Site::new();
    let page = site.join("10.0.0.1");
    let publisher = site.live(page, "P", "cam");
    let peer = site.watch(page, "Q", "cam");
    site.told(page);
    let shortage = Shortage { stream: 2_000_000, available: 900_000 };
    site.hear(ToNode::Short { peer, shortage });
    let told = site.told(page);
    assert_eq!(told.len(), 1);
    let event = &told[0]["data"][0];
    assert_eq!(
        (&event["mediaSessionId"], &event["type"]),
        (&json!("Q"), &json!("notEnoughBandwidth"))
    );
    assert_eq!(event["payload"], json!({ "info": "2000000/900000" }));
    site.hear(ToNode::Short { peer: publisher, shortage });
    site.stop(page, "Q");
    site.told(page);
    site.hear(ToNode::Short { peer, shortage });
    assert_eq!(site.told(page), [] as [Value; 0]);
}

#[test]
fn rates_go_to_pages_of_either_kind_and_not_to_origins() {
    let mut site = Site::new();
    let page = site.join("10.0.0.1");
    let publisher = site.live(page, "P", "cam");
    let viewer = site.watch(page, "Q", "cam");
    let origin = site.link("10.0.0.9", "origin");
    let pushed = site.live(origin, "R", "pushed");
    site.told(page);
    site.told(origin);
    for (peer, bits) in [(publisher, 11), (viewer, 22), (pushed, 33)] {
        site.hear(ToNode::VideoRate { peer, bits });
    }
    let rate = |name, id, bits| {
        let data = json!([{ "mediaSessionId": id, "videoRate": bits }]);
        json!({ "message": name, "data": data })
    };
    let expected = [rate("inboundVideoRate", "P", 11), rate("outboundVideoRate", "Q", 22)];
    assert_eq!(site.told(page), expected);
    assert_eq!(site.told(origin), [] as [Value; 0]);
}
