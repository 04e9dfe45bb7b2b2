//! What is said over a WebSocket, and how it ends.

use super::*;
use crate::config::TlsIdentity;
use crate::message::{ShardMessage, ToNode};
use crate::signal::StreamEvent;

#[test]
fn a_session_begins_with_connection_and_one_answer() {
    let mut server = Server::new();
    let conn = server.upgrade();
    let told = server.say(conn, r#"{"message":"connection","data":[{"appKey":"a"}]}"#);
    assert_eq!(told.len(), 1);
    let told = json(&told[0]);
    assert_eq!(told["data"][0]["appKey"], "a");
    let token = told["data"][0]["authToken"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 32);
    let other = server.upgrade();
    let told = server.say(other, r#"{"message":"connection","data":[{}]}"#);
    assert_ne!(json(&told[0])["data"][0]["authToken"], token);
}

#[test]
fn requests_are_answered_in_the_dialogue() {
    let mut server = Server::new();
    let conn = server.page();
    let ask = r#"{"message":"availableStream","data":[{"mediaSessionId":"A","name":"x"}]}"#;
    let told = server.say(conn, ask);
    assert_eq!(json(&told[0])["data"][0]["status"], "false");
    let long = "n".repeat(5000);
    let play =
        format!(r#"{{"message":"playStream","data":[{{"mediaSessionId":"Q","name":"{long}"}}]}}"#);
    let told = server.say(conn, &play);
    assert_eq!(json(&told[0])["data"][0]["info"], "Stream name is empty or too long");
}

#[test]
fn the_end_of_a_dialogue_is_said_twice() {
    for (text, reason) in [
        (r#"{"message":"connection","data":[{}]}"#, "connection came twice"),
        ("hello", "not a JSON message"),
    ] {
        let mut server = Server::new();
        let conn = server.page();
        let told = server.say(conn, text);
        assert_eq!(json(&told[0])["message"], "fail");
        assert_eq!(json(&told[0])["data"][0]["info"], reason);
        assert_eq!(told[1], format!("1008 {reason}"));
        assert_eq!(server.refusals(), [reason]);
        server.receive(conn, &frame(0x88, &1008u16.to_be_bytes()));
        assert_eq!(server.is_closed(conn), Some(Linger::Flush));
    }
}

#[test]
fn who_does_not_say_connection_is_given_up() {
    let limits = Limits { session_timeout: 4 * SECOND, drain_timeout: SECOND, ..Limits::default() };
    let mut server = Server::bounded(limits);
    let conn = server.upgrade();
    server.wait(4 * SECOND - Duration::from_millis(50));
    assert_eq!(server.told(conn), [] as [String; 0]);
    server.wait(Duration::from_millis(50));
    assert_eq!(server.told(conn)[1], "1008 no connection message came in time");
    assert_eq!(server.is_closed(conn), Some(Linger::Flush));
    let slow = server.upgrade();
    server.wait(5 * SECOND - Duration::from_millis(50));
    assert_eq!(server.is_closed(slow), None, "it may still read the goodbye");
    server.wait(Duration::from_millis(50));
    assert_eq!(server.is_closed(slow), Some(Linger::Abort));
}

#[test]
fn pings_go_unanswered_so_often_and_no_more() {
    let mut server = Server::with("", |config| {
        config.settings.keep_alive = Some(KeepAlive { interval: 2 * SECOND, probes: 3 });
    });
    let conn = server.page();
    for _ in 0..3 {
        server.wait(2 * SECOND);
        assert_eq!(json(&server.told(conn)[0])["message"], "ping");
    }
    server.wait(2 * SECOND);
    assert_eq!(server.told(conn)[1], "1008 pings stay unanswered");
    let lively = server.page();
    for _ in 0..10 {
        server.wait(2 * SECOND);
        server.say(lively, r#"{"message":"pong","data":[null]}"#);
    }
    assert_eq!(server.is_closed(lively), None);
}

#[test]
fn a_slow_reader_is_given_up() {
    let limits = Limits { outgoing_bytes_max: 2000, ..Limits::default() };
    let mut server = Server::bounded(limits);
    let conn = server.page();
    for _ in 0..100 {
        server.receive(conn, &frame(0x81, br#"{"message":"ping","data":[null]}"#));
    }
    assert_eq!(server.is_closed(conn), Some(Linger::Abort));
    assert_eq!(server.refusals().len(), 1);
}

#[test]
fn a_page_that_says_too_much_at_once_is_sent_away_and_a_link_is_not() {
    let limits = Limits { session_messages_per_second: 2, ..Limits::default() };
    let mut server = Server::bounded(limits);
    let ping = r#"{"message":"ping","data":[null]}"#;
    let page = server.page();
    // Ten at once, of which `connection` was one, and then two each second.
    for _ in 0..9 {
        assert_eq!(server.say(page, ping).len(), 1);
    }
    server.wait(SECOND);
    for _ in 0..2 {
        assert_eq!(server.say(page, ping).len(), 1);
    }
    let told = server.say(page, ping);
    assert!(told.last().unwrap().starts_with("1008 messages come too fast"), "{told:?}");
    assert_eq!(server.refusals(), ["messages come too fast"]);

    let link = server.upgrade();
    server.say(link, &crate::signal::connection("origin"));
    for _ in 0..100 {
        assert_eq!(server.say(link, ping).len(), 1);
    }
}

#[test]
fn requests_do_not_pile_up_before_a_node_that_is_slow() {
    let limits = Limits { requests_waiting_max: 3, ..Limits::default() };
    let mut server = Server::shard(ShardId(1), "", |config| config.limits = limits);
    let ask = r#"{"message":"unPublishStream","data":[{"mediaSessionId":"P","name":"x"}]}"#;
    let ask_once = |server: &mut Server| {
        let page = server.page();
        server.say(page, ask)
    };
    for _ in 0..3 {
        assert_eq!(ask_once(&mut server), [""; 0]);
    }
    let told = ask_once(&mut server);
    let goodbye = "1013 This server is overloaded, try again in a moment";
    assert_eq!(told.last().map(String::as_str), Some(goodbye));
    let message = ShardMessage(Message::TookUp(2));
    server.hear(Input::Message { from: ShardId::NODE, message });
    for _ in 0..2 {
        assert_eq!(ask_once(&mut server), [""; 0]);
    }
    assert_eq!(ask_once(&mut server).len(), 2);
    let asked = |message: &&Message| matches!(message, Message::Node(ToNode::Requested { .. }));
    assert_eq!(server.posted.iter().filter(asked).count(), 5);
}

#[test]
fn a_node_says_what_it_took_up() {
    let mut server = Server::new();
    let ask = r#"{"message":"unPublishStream","data":[{"mediaSessionId":"P","name":"x"}]}"#;
    let limits = Limits { requests_waiting_max: 64, ..Limits::default() };
    server.hear(Input::Command(Command::Reload(Arc::new(Config {
        limits,
        ..server.bench.config.clone()
    }))));
    let page = server.page();
    for _ in 0..500 {
        assert_eq!(server.say(page, ask), [""; 0]);
    }
}

#[test]
fn whoever_reads_slowly_does_without_events_of_the_stream() {
    let limits = Limits { outgoing_bytes_max: 2_000, ..Limits::default() };
    let mut server = Server::shard(ShardId(1), "", |config| config.limits = limits);
    let (slow, quick) = (server.page(), server.page());
    let payload = Some(Value::from("x".repeat(300)));
    for _ in 0..20 {
        let event = Arc::new(StreamEvent { kind: "data".to_owned(), payload: payload.clone() });
        let to = [slow, quick].map(|conn| (conn, "Q".to_owned())).to_vec();
        let message = ShardMessage(Message::Happened { event, to });
        server.hear(Input::Message { from: ShardId::NODE, message });
        assert_eq!(server.told(quick).len(), 1);
    }
    assert_eq!(server.is_closed(slow), None);
    assert_eq!(server.told(slow).len(), 3, "as many as half of the bound takes");
}

/// A server that says nothing by itself.
fn unpinged(limits: Limits) -> Server {
    Server::with("keep_alive.algorithm=NONE\n", |config| config.limits = limits)
}

#[test]
fn who_reads_nothing_is_given_up_though_it_goes_on_speaking() {
    let mut server = unpinged(Limits { write_stall_timeout: 4 * SECOND, ..Limits::default() });
    let (conn, reader) = (server.page(), server.page());
    let ping = frame(0x81, br#"{"message":"ping","data":[null]}"#);
    for _ in 0..3 {
        server.receive(conn, &ping);
        server.wait(4 * SECOND - Duration::from_millis(50));
        assert_eq!(server.is_closed(conn), None);
        // Any of it will do.
        server.shard.wrote(conn, 1);
    }
    server.receive(conn, &ping);
    server.wait(4 * SECOND - Duration::from_millis(50));
    assert_eq!(server.is_closed(conn), None);
    server.wait(Duration::from_millis(50));
    assert_eq!(server.is_closed(conn), Some(Linger::Abort));
    assert_eq!(server.refusals(), ["it does not read what it is sent"]);
    assert_eq!(server.is_closed(reader), None, "there was nothing for it to read");
}

#[test]
fn who_has_read_everything_has_its_time_anew() {
    let mut server = unpinged(Limits { write_stall_timeout: 4 * SECOND, ..Limits::default() });
    let conn = server.page();
    for _ in 0..3 {
        server.receive(conn, &frame(0x81, br#"{"message":"ping","data":[null]}"#));
        server.wait(3 * SECOND);
        assert!(!server.told(conn).is_empty());
        server.wait(3 * SECOND);
    }
    assert_eq!(server.is_closed(conn), None);
}

#[test]
fn pages_of_other_domains_are_turned_away() {
    let mut server = Server::with("allow_domains=*.example.com\n", |_| {});
    for (origin, status) in
        [("Origin: https://live.example.com\r\n", "101"), ("Origin: https://evil.test\r\n", "403")]
    {
        let conn = server.connect();
        let answer = server.ask(conn, &format!("{UPGRADE}{origin}\r\n"));
        assert_eq!(&answer[9..12], status, "{origin}: {answer}");
    }
}

#[test]
fn a_node_notices_a_link_to_itself() {
    let mut server = Server::new();
    let conn = server.upgrade();
    let greeting = crate::signal::connection("bench");
    let told = server.say(conn, &greeting);
    let info = json(&told[0])["data"][0]["info"].as_str().unwrap().to_owned();
    assert!(info.contains("its own edge"), "{info}");
    assert!(told[1].starts_with("1008 "), "{told:?}");
}

#[test]
fn what_came_together_with_a_goodbye_was_said_before_it() {
    let mut server = Server::shard(ShardId(1), "", |_| {});
    let conn = server.page();
    let ask = r#"{"message":"unPublishStream","data":[{"mediaSessionId":"P","name":"x"}]}"#;
    let goodbye = frame(0x88, &1000u16.to_be_bytes());
    server.receive(conn, &[frame(0x81, ask.as_bytes()), goodbye].concat());
    let asked = |message: &&Message| matches!(message, Message::Node(ToNode::Requested { .. }));
    assert_eq!(server.posted.iter().filter(asked).count(), 1);
}

#[test]
fn a_goodbye_is_returned() {
    let mut server = Server::new();
    let conn = server.page();
    server.receive(conn, &frame(0x88, &1001u16.to_be_bytes()));
    assert_eq!(server.told(conn).len(), 1);
    assert_eq!(server.is_closed(conn), Some(Linger::Flush));
}

#[test]
fn a_drain_says_goodbye_and_ends_when_all_are_gone() {
    let mut server = Server::new();
    let (page, other, idle) = (server.page(), server.page(), server.connect());
    server.hear(Input::Command(Command::Drain));
    for conn in [page, other] {
        assert!(!server.events.contains(&Event::Drained));
        assert_eq!(server.told(conn), ["1001 the server is shutting down"]);
        assert_eq!(server.is_closed(conn), Some(Linger::Flush));
    }
    assert!(server.is_closed(idle).is_some());
    assert_eq!(server.events.iter().filter(|event| **event == Event::Drained).count(), 1);
    let late = server.connect();
    assert_eq!(server.is_closed(late), Some(Linger::Abort));
    server.hear(Input::Command(Command::Drain));
    server.wait(20 * SECOND);
    assert_eq!(server.events.iter().filter(|event| **event == Event::Drained).count(), 1);
}

#[test]
fn a_drain_does_not_wait_for_ever() {
    let mut server = Server::bounded(Limits { drain_timeout: 2 * SECOND, ..Limits::default() });
    server.page();
    server.hear(Input::Command(Command::Drain));
    server.wait(2 * SECOND - Duration::from_millis(50));
    assert!(!server.events.contains(&Event::Drained));
    server.wait(Duration::from_millis(50));
    assert!(server.events.contains(&Event::Drained));
}

#[test]
fn new_settings_are_for_those_who_come_from_now() {
    let mut server = Server::new();
    let page = server.page();
    let mut config = Bench::with("allow_domains=*.example.com\n", None).config;
    config.pages = Pages::from_files([("client2/index.html".to_owned(), b"<p>new".to_vec())]);
    server.hear(Input::Command(Command::Reload(Arc::new(config))));
    let told = server.say(page, r#"{"message":"ping","data":[null]}"#);
    assert_eq!(json(&told[0])["message"], "pong");
    let late = server.connect();
    let answer = server.ask(late, &format!("{UPGRADE}Origin: https://evil.test\r\n\r\n"));
    assert_eq!(&answer[9..12], "403");
    assert!(server.get("/client2/").ends_with("<p>new"));
}

#[test]
fn a_new_certificate_is_for_those_who_come_from_now() {
    let mut server = Server::new();
    let flow = Flow { local: ([127, 0, 0, 1], 8443).into(), remote: ([10, 0, 0, 1], 999).into() };
    let accept = |server: &mut Server, n: u64| {
        let conn = ConnId::accepted(n);
        server.hear(Input::Accepted { conn, service: Service::Wss, flow });
        server.is_closed(conn)
    };
    assert_eq!(accept(&mut server, 101), Some(Linger::Abort), "there is no certificate");
    let mut config = server.bench.config.clone();
    let made = rcgen::generate_simple_self_signed(vec!["edge.example".to_owned()]).unwrap();
    let chain = vec![made.cert.der().to_vec()];
    config.tls = TlsIdentity { chain, key: made.signing_key.serialize_der() };
    server.hear(Input::Command(Command::Reload(Arc::new(config.clone()))));
    assert_eq!(accept(&mut server, 102), None);
    config.tls = server.bench.config.tls.clone();
    server.hear(Input::Command(Command::Reload(Arc::new(config))));
    assert_eq!(accept(&mut server, 103), Some(Linger::Abort));
    assert_eq!(server.is_closed(ConnId::accepted(102)), None);
}
