//! The documented call flow, step by step and message by message, against both servers: publish on
//! an origin, play on its edge, stop, stop publishing.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use distributary_tests::browser::{Session, Shape};
use distributary_tests::client::Pages;
use distributary_tests::http;
use distributary_tests::process::{Runtime, Server};
use distributary_tests::world::{Party, Seen};
use serde_json::{Value, json};

/// What is published.
const NAME: &str = "3244";

const SOON: Duration = Duration::from_secs(10);

#[test]
fn call_flow_on_mio() {
    call_flow(Runtime::Mio, Shape::audio_video());
}

#[test]
fn call_flow_on_tokio() {
    call_flow(Runtime::Tokio, Shape::audio_video());
}

#[test]
fn call_flow_on_mio_with_video_first() {
    call_flow(Runtime::Mio, Shape::video_audio());
}

#[test]
fn call_flow_on_tokio_with_video_first() {
    call_flow(Runtime::Tokio, Shape::video_audio());
}

/// An edge, and an origin that pushes to it.
struct Cdn {
    edge: Server,
    origin: Server,
    pages: Pages,
}

impl Cdn {
    fn start(runtime: Runtime) -> Self {
        let edge = Server::start(runtime, "", None).unwrap();
        let balancing = format!(
            "<loadbalancer stream_distribution=\"webrtc\"><node id=\"1\"><ip>127.0.0.1</ip>\
             <ws>{}</ws></node></loadbalancer>",
            edge.addr("ws").port()
        );
        let origin = Server::start(runtime, "", Some(&balancing)).unwrap();
        Self { edge, origin, pages: Pages::default() }
    }

    fn until(&mut self, what: &str, done: impl FnMut(&Pages) -> bool) {
        let came = self.pages.run_until(SOON, done);
        let logs = || format!("{}\n{}", self.origin.log(), self.edge.log());
        assert!(came, "{what} did not come\n{}", logs());
    }

    fn reaches(&mut self, party: &Party, status: &str) {
        self.until(status, |pages| pages.seen(party).status() == status);
    }

    /// The message that follows the `nth` of a page, pings and rates left out, in full.
    fn expect(&self, page: usize, nth: usize, name: &str, data: &Value) {
        let messages = self.told(page);
        let (got, arguments) = &messages.get(nth).unwrap_or_else(|| {
            panic!("message {nth} should be {name} {data}, but there are only {messages:?}")
        });
        assert_eq!(got, name, "message {nth} of {messages:?}");
        assert!(includes(arguments, data), "{arguments} lacks some of {data}");
    }

    fn told(&self, page: usize) -> Vec<(String, Value)> {
        let rates = ["ping", "getVersion", "inboundVideoRate", "outboundVideoRate"];
        let messages = self.pages.page(page).browser.messages().iter();
        messages
            .filter(|message| !rates.contains(&message.name.as_str()))
            .map(|message| (message.name.clone(), Value::Array(message.data.clone())))
            .collect()
    }
}

/// Whether everything of `wanted` is in `got`; `null` stands for anything.
fn includes(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (_, Value::Null) => true,
        (Value::Object(got), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| got.get(key).is_some_and(|got| includes(got, wanted)))
        }
        (Value::Array(got), Value::Array(wanted)) => {
            got.len() == wanted.len() && got.iter().zip(wanted).all(|(g, w)| includes(g, w))
        }
        _ => got == wanted,
    }
}

fn status(id: &str, name: &str, published: bool, status: &str) -> Value {
    json!([{"mediaSessionId": id, "name": name, "published": published, "status": status}])
}

fn ended(id: &str, status: &str, info: &str) -> Value {
    json!([{"mediaSessionId": id, "status": status, "info": info}])
}

fn call_flow(runtime: Runtime, shape: Shape) {
    let mut cdn = Cdn::start(runtime);
    let name = NAME;

    // 1, 2: createSession() is followed by ESTABLISHED.
    let home = cdn.pages.open(cdn.origin.addr("ws")).unwrap();
    established(&mut cdn, home);

    // 3, 4, 5: publish() is followed by PUBLISHING, and media flows to the origin.
    let publisher = cdn.pages.publish(home, name, shape.clone()).unwrap();
    cdn.reaches(&publisher, "PUBLISHING");
    cdn.expect(home, 1, "setRemoteSDP", &json!([publisher.id, null, true]));
    cdn.expect(
        home,
        2,
        "notifyStreamStatusEvent",
        &status(&publisher.id, name, true, "PUBLISHING"),
    );
    assert_eq!(count(cdn.origin.addr("http"), "streams_webrtc_in"), 1);

    // 6, 7: the origin publishes it on the edge. The balancer sends viewers there.
    let away = cdn.pages.open(cdn.edge.addr("ws")).unwrap();
    established(&mut cdn, away);
    let asked = available(&mut cdn, away, name);
    let list = http::get(cdn.origin.addr("http"), "/?action=server_list").unwrap();
    let list: Value = serde_json::from_str(&list.body).unwrap();
    let edge = json!({
        "server": "127.0.0.1", "ws": cdn.edge.addr("ws").port(), "wss": null, "flash": null
    });
    assert!(includes(&list, &edge), "{list}");

    // 8 to 12: a second page connects to the edge, plays, and sees the publisher's media.
    let viewer = cdn.pages.play(away, name, shape.clone()).unwrap();
    cdn.reaches(&viewer, "PLAYING");
    cdn.expect(away, 1 + asked, "setRemoteSDP", &json!([viewer.id, null, true]));
    let mut playing = status(&viewer.id, name, false, "PLAYING");
    playing[0]["audioState"] = json!({"muted": false});
    playing[0]["videoState"] = json!({"muted": false});
    cdn.expect(away, 2 + asked, "notifyStreamStatusEvent", &playing);
    cdn.pages.run(Duration::from_secs(2));
    let seen = cdn.pages.seen(&viewer);
    plays_well(&seen, &cdn);

    // A word of the publisher reaches the viewer.
    cdn.pages.browser(home).send_event(&publisher.id, "data", Some(json!({"count": 23})));
    let word = json!([{"mediaSessionId": viewer.id, "type": "data", "payload": {"count": 23}}]);
    cdn.until("the event", |pages| {
        let stream = pages.page(away).browser.stream(&viewer.id).unwrap();
        stream.events.iter().any(|(kind, _)| kind == "data")
    });
    cdn.expect(away, 3 + asked, "notifyStreamEvent", &word);

    stopping(&mut cdn, &publisher, &viewer, asked, shape);
}

/// The rest of the flow; the viewer's page had so many replies to its questions.
fn stopping(cdn: &mut Cdn, publisher: &Party, viewer: &Party, asked: usize, shape: Shape) {
    let (home, away) = (publisher.page, viewer.page);

    // 13, 14: stop() is followed by STOPPED.
    cdn.pages.stop(viewer);
    cdn.reaches(viewer, "STOPPED");
    let stopped = ended(&viewer.id, "STOPPED", "Stopped by user");
    cdn.expect(away, 4 + asked, "notifyStreamStatusEvent", &stopped);

    // 15, 16: stop() of the publisher is followed by UNPUBLISHED; who still plays hears why.
    let last = cdn.pages.play(away, NAME, shape).unwrap();
    cdn.reaches(&last, "PLAYING");
    cdn.pages.stop(publisher);
    cdn.reaches(publisher, "UNPUBLISHED");
    let unpublished = ended(&publisher.id, "UNPUBLISHED", "Stopped by user");
    cdn.expect(home, 3, "notifyStreamStatusEvent", &unpublished);
    cdn.reaches(&last, "FAILED");
    let failed = ended(&last.id, "FAILED", "Stopped by publisher stop");
    cdn.expect(away, 7 + asked, "notifyStreamStatusEvent", &failed);
    assert_eq!(cdn.told(home).len(), 4, "{:?}", cdn.told(home));
    assert_eq!(cdn.told(away).len(), 8 + asked, "{:?}", cdn.told(away));

    for page in [home, away] {
        assert_eq!(cdn.pages.page(page).browser.complaints(), [] as [&str; 0]);
        assert!(cdn.pages.page(page).ending.is_none(), "the session outlives its streams");
    }
}

fn established(cdn: &mut Cdn, page: usize) {
    cdn.until("ESTABLISHED", |pages| pages.page(page).browser.session() == Session::Established);
    let (name, data) = cdn.told(page).swap_remove(0);
    assert_eq!(name, "getUserData");
    assert_eq!(data[0]["status"], "ESTABLISHED");
    assert!(data[0]["authToken"].as_str().is_some_and(|token| token.len() >= 16), "{data}");
}

/// Asks until the edge has the stream. Answers with the number of replies that took.
fn available(cdn: &mut Cdn, page: usize, name: &str) -> usize {
    let end = Instant::now() + SOON;
    for replies in 1.. {
        let id = cdn.pages.browser(page).ask_available(name);
        cdn.until("a reply", |pages| {
            let replied = |message: &&distributary_tests::browser::Message| {
                message.name == "availableStream" && message.data[0]["id"] == id.as_str()
            };
            pages.page(page).browser.messages().iter().find(replied).is_some()
        });
        let (_, reply) = cdn.told(page).pop().unwrap();
        if reply[0]["status"] == "true" {
            return replies;
        }
        assert!(Instant::now() < end, "the edge never got {name}: {reply}");
        cdn.pages.run(Duration::from_millis(50));
    }
    unreachable!("the loop has no end of its own")
}

fn plays_well(seen: &Seen, cdn: &Cdn) {
    let logs = || format!("{}\n{}", cdn.origin.log(), cdn.edge.log());
    assert!(seen.audio > 50, "{} of audio\n{}", seen.audio, logs());
    assert!(seen.video > 100, "{} of video\n{}", seen.video, logs());
    assert!(seen.key_frame);
    assert_eq!(seen.publishers, [1]);
    assert_eq!(seen.faults, [] as [&str; 0]);
}

fn count(server: SocketAddr, key: &str) -> u64 {
    http::figure(server, key).unwrap().unwrap_or_else(|| panic!("no {key} in the statistics"))
}
