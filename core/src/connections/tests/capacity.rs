//! Who gets past the door.

use super::*;
use crate::message::Door;

const PLAY: &str = r#"{"message":"playStream","data":[{"mediaSessionId":"m","name":"a",
    "published":false,"hasVideo":true,"hasAudio":true,"mediaProvider":"WebRTC","sdp":"v=0"}]}"#;

#[test]
fn an_address_with_too_many_connections_is_refused_before_anything_is_read() {
    let mut server = Server::with("address.connections=2\n", |_| {});
    let [one, _, three] = [server.connect(), server.connect(), server.connect()];
    assert_eq!(server.closed, [(three, Linger::Abort)]);
    assert_eq!(server.refusals(), ["too many connections of one address (address.connections)"]);
    server.hear(Input::Closed { conn: one, cause: crate::Hangup::Eof });
    let four = server.connect();
    assert_eq!(server.is_closed(four), None);
}

#[test]
fn addresses_beyond_those_that_are_counted_share_what_one_may_have() {
    let limits = Limits { addresses_max: 1, ..Limits::default() };
    let mut server = Server::with("address.connections=2\n", |config| config.limits = limits);
    let [_, two, three, four] = [1, 2, 3, 4].map(|n| server.connect_from([10, 0, 0, n]));
    assert_eq!(server.closed, [(four, Linger::Abort)]);
    assert_eq!((server.is_closed(two), server.is_closed(three)), (None, None));
    let again = server.connect_from([10, 0, 0, 1]);
    assert_eq!(server.is_closed(again), None);
}

#[test]
fn streams_are_asked_for_at_a_bounded_rate_and_the_session_goes_on() {
    let mut server = Server::with("address.joins_per_second=1\n", |_| {});
    let conn = server.page();
    let mut refused = 0;
    for _ in 0..7 {
        let told = server.say(conn, PLAY);
        let text = told.join(" ");
        refused += usize::from(text.contains("Too many requests from this address"));
    }
    assert_eq!(refused, 2);
    server.wait(SECOND);
    let told = server.say(conn, PLAY).join(" ");
    assert!(!told.contains("Too many requests"), "{told}");
    assert_eq!(server.is_closed(conn), None);
}

#[test]
fn whoever_only_says_that_it_is_a_link_may_ask_for_no_more_than_others() {
    for wanted in [PLAY.to_owned(), PLAY.replace("playStream", "publishStream")] {
        let mut server = Server::with("address.joins_per_second=1\n", |_| {});
        let link = server.upgrade();
        server.say(link, &crate::signal::connection("origin"));
        let told: Vec<String> = (0..7).map(|_| server.say(link, &wanted).join(" ")).collect();
        let refused = |told: &&String| told.contains("Too many requests from this address");
        assert_eq!(told.iter().filter(refused).count(), 2, "{told:?}");
    }
}

#[test]
fn a_node_out_of_service_says_so_and_takes_links_all_the_same() {
    let mut server = Server::new();
    let before = server.page();
    let request = "POST /rest-api/cdn/enforce_node_state HTTP/1.1\r\nHost: localhost\r\n\
                   Content-Length: 19\r\n\r\n{\"state\":\"PASSIVE\"}";
    let conn = server.connect();
    assert!(server.ask(conn, request).starts_with("HTTP/1.1 200 "));
    let page = server.upgrade();
    let told = server.say(page, r#"{"message":"connection","data":[{}]}"#);
    assert!(told[1].starts_with("1013 This server is out of service"), "{told:?}");
    let link = server.upgrade();
    let told = server.say(link, &crate::signal::connection("origin"));
    assert_eq!(json(&told[0])["message"], "getUserData", "{told:?}");
    assert_eq!(server.is_closed(before), None);
}

#[test]
fn a_full_node_says_so_and_takes_links_all_the_same() {
    let mut server = Server::with("limit.sessions=1\n", |_| {});
    let first = server.page();
    let second = server.upgrade();
    let told = server.say(second, r#"{"message":"connection","data":[{}]}"#);
    assert_eq!(json(&told[0])["message"], "fail");
    assert!(told[1].starts_with("1013 This server is full"), "{told:?}");
    let link = server.upgrade();
    let told = server.say(link, &crate::signal::connection("origin"));
    assert_eq!(json(&told[0])["message"], "getUserData", "{told:?}");
    server.hear(Input::Closed { conn: first, cause: crate::Hangup::Eof });
    let third = server.page();
    assert_eq!(server.is_closed(third), None);
}

#[test]
fn a_draining_node_waits_for_its_viewers_and_lets_nobody_in() {
    let mut server = Server::with("drain.timeout=4000\nplay.wait=60000\n", |_| {});
    let viewer = server.page();
    // It waits for a name, and counts.
    server.say(viewer, PLAY);
    server.hear(Input::Command(Command::Drain));
    assert_eq!(server.told(viewer), [] as [String; 0]);
    let conn = server.connect();
    let answer = server.ask(conn, &format!("{UPGRADE}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("Retry-After: 30\r\n"), "{answer}");
    assert!(server.get("/?action=stat").contains("core_accepting=0"));
    server.wait(3 * SECOND);
    assert_eq!(server.told(viewer), [] as [String; 0]);
    server.wait(SECOND);
    assert_eq!(server.told(viewer), ["1001 the server is shutting down"]);
}

#[test]
fn whoever_upgraded_before_the_drain_and_says_so_after_it_comes_too_late() {
    let mut server = Server::with("drain.timeout=4000\nplay.wait=60000\n", |_| {});
    let viewer = server.page();
    server.say(viewer, PLAY);
    let (page, link) = (server.upgrade(), server.upgrade());
    server.hear(Input::Command(Command::Drain));
    let greetings = [(page, r#"{"message":"connection","data":[{}]}"#.to_owned())];
    for (conn, greeting) in
        greetings.into_iter().chain([(link, crate::signal::connection("origin"))])
    {
        let told = server.say(conn, &greeting);
        assert_eq!(told[1], "1013 This server is shutting down", "{told:?}");
    }
}

#[test]
fn a_draining_node_ends_with_its_last_viewer() {
    let mut server = Server::with("drain.timeout=60000\nplay.wait=60000\n", |_| {});
    let (viewer, idle) = (server.page(), server.page());
    server.say(viewer, PLAY);
    server.hear(Input::Command(Command::Drain));
    server.wait(SECOND);
    assert_eq!(server.told(idle), [] as [String; 0]);
    server.hear(Input::Closed { conn: viewer, cause: crate::Hangup::Eof });
    assert_eq!(server.told(idle), ["1001 the server is shutting down"]);
}

#[test]
fn a_shard_without_the_node_goes_by_its_word() {
    let mut server = Server::shard(ShardId(1), "drain.timeout=60000\n", |_| {});
    let page = server.page();
    server.hear(Input::Command(Command::Drain));
    server.wait(SECOND);
    assert_eq!(server.told(page), [] as [String; 0]);
    let leave = crate::ShardMessage(Message::Leave);
    server.hear(Input::Message { from: ShardId::NODE, message: leave });
    assert_eq!(server.told(page), ["1001 the server is shutting down"]);
    let mut server = Server::shard(ShardId(1), "", |_| {});
    let full = crate::ShardMessage(Message::Door(Door::Full));
    server.hear(Input::Message { from: ShardId::NODE, message: full });
    let conn = server.upgrade();
    let told = server.say(conn, r#"{"message":"connection","data":[{}]}"#);
    assert!(told[1].starts_with("1013 "), "{told:?}");
    assert!(server.posted.iter().all(|word| !matches!(word, Message::Node(_))));
}
