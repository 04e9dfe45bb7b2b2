//! What a far side may do wrong, done wrong: each time the sender gets a clear answer, the people
//! beside it notice nothing, and in the end nothing is left over.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use distributary_tests::browser::{Session, Shape, publish_request};
use distributary_tests::client::Pages;
use distributary_tests::http;
use distributary_tests::process::{Runtime, Server};
use distributary_tests::websocket::Incoming;
use distributary_tests::world::Party;
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn bad_input_on_mio() {
    bad_input(Runtime::Mio);
}

#[test]
fn bad_input_on_tokio() {
    bad_input(Runtime::Tokio);
}

/// A server, somebody who publishes on it, and somebody who plays that.
struct Stage {
    server: Server,
    pages: Pages,
    publisher: Party,
    viewer: Party,
}

type Case = (&'static str, fn(&mut Stage));

const CASES: [Case; 13] = [
    ("not JSON", not_json),
    ("JSON without data", without_data),
    ("an unknown message", unknown_message),
    ("an unknown stream", unknown_stream),
    ("two publishers of one name", name_taken),
    ("one media session id twice", id_taken),
    ("offers that are none", bad_offers),
    ("a message over the limit", message_over_limit),
    ("stop of what never was", stop_unknown),
    ("half a handshake", half_a_handshake),
    ("noise at the media port", noise),
    ("a request head over the limit", head_over_limit),
    ("paths that lead out", paths_that_lead_out),
];

fn bad_input(runtime: Runtime) {
    let server = Server::start(runtime, "", None).unwrap();
    let mut pages = Pages::default();
    let publisher = {
        let page = pages.open(server.addr("ws")).unwrap();
        pages.publish(page, "ab12", Shape::audio_video()).unwrap()
    };
    reaches(&mut pages, &publisher, "PUBLISHING");
    let viewer = {
        let page = pages.open(server.addr("ws")).unwrap();
        pages.play(page, "ab12", Shape::audio_video()).unwrap()
    };
    reaches(&mut pages, &viewer, "PLAYING");
    let mut stage = Stage { server, pages, publisher, viewer };
    for (name, case) in CASES {
        let before = stage.pages.seen(&stage.viewer).video;
        case(&mut stage);
        stage.pages.run(Duration::from_millis(500));
        let seen = stage.pages.seen(&stage.viewer);
        assert!(seen.video > before + 20, "{name}: the viewer got {} more", seen.video - before);
        assert_eq!(seen.faults, [] as [&str; 0], "{name}");
        assert_eq!(seen.status(), "PLAYING", "{name}");
        assert!(stage.server.is_running(), "{name}: {}", stage.server.log());
    }
    stage.empties();
}

impl Stage {
    fn ws(&self) -> SocketAddr {
        self.server.addr("ws")
    }

    fn page(&mut self) -> usize {
        let page = self.pages.open(self.ws()).unwrap();
        let established =
            |pages: &Pages| pages.page(page).browser.session() == Session::Established;
        assert!(self.pages.run_until(SOON, established), "{}", self.server.log());
        page
    }

    /// Waits for a status event, by its media session's id.
    fn told(&mut self, page: usize, id: &str) -> (String, String) {
        let mut found = None;
        self.pages.run_until(SOON, |pages| {
            let messages = pages.page(page).browser.messages().iter();
            found = messages
                .filter(|message| message.name == "notifyStreamStatusEvent")
                .find(|message| message.data[0]["mediaSessionId"] == id)
                .map(|message| {
                    let text = |key: &str| message.data[0][key].as_str().unwrap_or("").to_owned();
                    (text("status"), text("info"))
                });
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("nothing was said about {id}: {}", self.server.log()))
    }

    fn closes(&mut self, page: usize) -> Incoming {
        let closed = self.pages.run_until(SOON, |pages| pages.page(page).ending.is_some());
        assert!(closed, "the session goes on");
        self.pages.page(page).ending.clone().unwrap()
    }

    /// The session still answers.
    fn lives(&mut self, page: usize) {
        let id = self.pages.browser(page).ask_available("ab12");
        let answered = self.pages.run_until(SOON, |pages| {
            let mut messages = pages.page(page).browser.messages().iter();
            messages.any(|message| {
                message.name == "availableStream" && message.data[0]["id"] == id.as_str()
            })
        });
        let ending = self.pages.page(page).ending.clone();
        assert!(answered, "the session is over ({ending:?})");
        self.pages.leave(page);
    }

    /// Everybody leaves, and the statistics say so.
    fn empties(mut self) {
        let (publisher, viewer) = (self.publisher.clone(), self.viewer.clone());
        self.pages.stop(&publisher);
        reaches(&mut self.pages, &publisher, "UNPUBLISHED");
        reaches(&mut self.pages, &viewer, "FAILED");
        for page in [publisher.page, viewer.page] {
            self.pages.leave(page);
        }
        let http = self.server.addr("http");
        let keys = ["connections_websocket", "streams_webrtc_in", "streams_webrtc_out"];
        let mut left = Vec::new();
        self.pages.run_until(SOON, |_| {
            left = keys.map(|key| (key, http::figure(http, key).unwrap())).to_vec();
            left.iter().all(|(_, value)| *value == Some(0))
        });
        assert!(left.iter().all(|(_, value)| *value == Some(0)), "{left:?}");
        // The question itself may count.
        let connections = http::figure(http, "connections").unwrap();
        assert!(connections.is_some_and(|open| open <= 1), "{connections:?}");
    }
}

fn reaches(pages: &mut Pages, party: &Party, status: &str) {
    let there = pages.run_until(SOON, |pages| pages.seen(party).status() == status);
    let seen = pages.seen(party);
    assert!(there, "{status} never came: {:?} {:?}", seen.statuses, seen.faults);
}

/// The session may go on or end, but it ends with a code if it does.
fn goes_on_or_says_why(stage: &mut Stage, page: usize) {
    stage.pages.run(Duration::from_millis(300));
    match stage.pages.page(page).ending.clone() {
        None => stage.lives(page),
        Some(ending) => assert!(
            matches!(ending, Incoming::Closed(Some(1002 | 1003 | 1007 | 1008))),
            "{ending:?}"
        ),
    }
}

fn not_json(stage: &mut Stage) {
    for text in ["hello", "{", "", "\u{0}", "[[[[[[[[", "\"message\""] {
        let page = stage.page();
        stage.pages.browser(page).say_text(text);
        goes_on_or_says_why(stage, page);
    }
}

fn without_data(stage: &mut Stage) {
    for message in ["publishStream", "playStream", "stopStream", "connection", "sendStreamEvent"] {
        for data in ["", r#","data":null"#, r#","data":[]"#, r#","data":[7]"#, r#","data":{}"#] {
            let page = stage.page();
            stage.pages.browser(page).say_text(format!(r#"{{"message":"{message}"{data}}}"#));
            goes_on_or_says_why(stage, page);
        }
    }
}

fn unknown_message(stage: &mut Stage) {
    let page = stage.page();
    stage.pages.browser(page).say("makeCoffee", json!({"sugar": true}));
    stage.lives(page);
}

fn unknown_stream(stage: &mut Stage) {
    let page = stage.page();
    let party = stage.pages.play(page, "nobody publishes this", Shape::audio_video()).unwrap();
    let outcome = stage.told(page, &party.id);
    assert_eq!(outcome, ("FAILED".to_owned(), "Stream not found".to_owned()));
    stage.lives(page);
}

fn name_taken(stage: &mut Stage) {
    // The same address might be the same publisher coming back, but this one never left.
    let page = stage.page();
    let party = stage.pages.publish(page, "ab12", Shape::audio_video()).unwrap();
    let outcome = stage.told(page, &party.id);
    assert_eq!(outcome, ("FAILED".to_owned(), "Stream name is already in use".to_owned()));
    stage.lives(page);
}

fn id_taken(stage: &mut Stage) {
    let page = stage.page();
    let first = stage.pages.publish(page, "first", Shape::audio()).unwrap();
    reaches(&mut stage.pages, &first, "PUBLISHING");
    let offer = good_offer();
    let again = publish_request(&first.id, "second", &Shape::audio(), &offer);
    stage.pages.browser(page).say("publishStream", again);
    let id = first.id.clone();
    let refused = stage.pages.run_until(SOON, |pages| {
        pages.page(page).browser.messages().iter().any(|message| {
            message.name == "notifyStreamStatusEvent"
                && message.data[0]["mediaSessionId"] == id.as_str()
                && message.data[0]["info"] == "MediaSessionId is already in use"
        })
    });
    assert!(refused, "{:?}", stage.pages.page(page).browser.messages());
    stage.lives(page);
}

fn bad_offers(stage: &mut Stage) {
    let good = good_offer();
    let without = |key: &str| -> String {
        let lines = good.lines().filter(|line| !line.starts_with(key));
        lines.map(|line| format!("{line}\r\n")).collect()
    };
    let offers = [
        String::new(),
        "v=0\r\n".to_owned(),
        "this is not SDP at all".to_owned(),
        "\u{1F4A9}".repeat(1000),
        without("a=ice-ufrag"),
        without("a=ice-pwd"),
        without("a=fingerprint"),
        without("m="),
        good.replace("opus", "nonesuch"),
        good.replace("a=sendonly", "a=recvonly"),
        format!("{good}{}", "a=x:y\r\n".repeat(20_000)),
    ];
    for (nth, offer) in offers.iter().enumerate() {
        let page = stage.page();
        let id = format!("bad-offer-{nth}");
        let request = publish_request(&id, &id, &Shape::audio(), offer);
        stage.pages.browser(page).say("publishStream", request);
        let (status, info) = stage.told(page, &id);
        assert_eq!(status, "FAILED", "offer {nth}");
        assert!(!info.is_empty(), "offer {nth} failed without a reason");
        stage.lives(page);
    }
}

fn message_over_limit(stage: &mut Stage) {
    for megabyte in [
        json!({"logs": "x".repeat(1 << 20)}),
        publish_request("big", "big", &Shape::audio(), &"a=x\r\n".repeat(1 << 18)),
    ] {
        let page = stage.page();
        stage.pages.browser(page).say("pushLogs", megabyte);
        let ending = stage.closes(page);
        // Who is still sending may lose the close frame to the reset (RFC 6455, section 7.1.7).
        assert!(matches!(ending, Incoming::Closed(Some(1009) | None)), "{ending:?}");
    }
}

fn stop_unknown(stage: &mut Stage) {
    let page = stage.page();
    for message in ["stopStream", "unPublishStream"] {
        let request = json!({
            "mediaSessionId": "never seen", "name": "nothing", "published": false,
            "hasVideo": true, "hasAudio": true, "status": "PLAYING", "record": false
        });
        stage.pages.browser(page).say(message, request);
    }
    stage.pages.run(Duration::from_millis(300));
    let spoke = stage.pages.page(page).browser.messages().iter();
    let spoke: Vec<_> = spoke.filter(|m| m.name != "ping" && m.name != "getUserData").collect();
    assert!(spoke.is_empty(), "{spoke:?}");
    stage.lives(page);
}

fn half_a_handshake(stage: &mut Stage) {
    for bytes in [
        &b""[..],
        b"G",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nHost: n\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let mut socket = TcpStream::connect(stage.ws()).unwrap();
        socket.write_all(bytes).unwrap();
        stage.pages.run(Duration::from_millis(20));
    }
}

fn noise(stage: &mut Stage) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = fastrand::Rng::with_seed(9);
    let media = stage.server.media();
    for nth in 0..10_000 {
        let mut bytes = vec![0; random.usize(1..1400)];
        random.fill(&mut bytes);
        // Every tenth looks like the beginning of something.
        match nth % 40 {
            0 => bytes[0] = 0,
            10 => bytes[0] = 22,
            20 => bytes[0] = 0x80,
            30 => bytes.truncate(1),
            _ => {}
        }
        socket.send_to(&bytes, media[nth % media.len()]).unwrap();
        if nth % 100 == 0 {
            stage.pages.run(Duration::from_millis(5));
        }
    }
}

fn head_over_limit(stage: &mut Stage) {
    let long = format!("GET /{} HTTP/1.1\r\nHost: n\r\n\r\n", "x".repeat(64 * 1024));
    let many = format!("GET / HTTP/1.1\r\nHost: n\r\n{}\r\n", "X-Y: z\r\n".repeat(10_000));
    for head in [long, many] {
        for listener in ["http", "ws"] {
            // The answer may be lost to the reset that answers the rest of the head.
            if let Ok(answer) = http::exchange(stage.server.addr(listener), head.as_bytes()) {
                assert!(matches!(answer.status, 431 | 414 | 0), "{}", answer.head);
            }
        }
    }
    let just_over = format!("GET / HTTP/1.1\r\nHost: n\r\nX: {}\r\n\r\n", "y".repeat(17 * 1024));
    let answer = http::exchange(stage.server.addr("http"), just_over.as_bytes()).unwrap();
    assert_eq!(answer.status, 431, "{}", answer.head);
}

fn paths_that_lead_out(stage: &mut Stage) {
    let up = ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..\\", "%252e%252e%252f", "..;/"];
    for step in up {
        for prefix in ["/client2/", "/", "//", "/client2/examples/", "/client2/%00/"] {
            let path = format!("{prefix}{}etc/passwd", step.repeat(8));
            let answer = http::get(stage.server.addr("http"), &path).unwrap();
            assert!((300..500).contains(&answer.status), "{path}: {}", answer.head);
            assert!(!answer.body.contains("root:"), "{path} leads out");
        }
    }
}

/// The offer of one who publishes sound.
fn good_offer() -> String {
    let crypto = std::sync::Arc::new(str0m::crypto::from_feature_flags());
    let now = std::time::Instant::now();
    let mut browser = distributary_tests::browser::Browser::new(now, 99, crypto);
    browser.opened();
    browser.text(now, r#"{"message":"getUserData","data":[{}]}"#);
    browser.publish(now, "n", Shape::audio(), "127.0.0.1:9".parse().unwrap());
    loop {
        let distributary_tests::browser::Output::Text(text) = browser.poll() else {
            panic!("no offer")
        };
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        if let Some(sdp) = message["data"][0]["sdp"].as_str() {
            return sdp.to_owned();
        }
    }
}
