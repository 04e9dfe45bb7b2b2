//! What the stand-in for browsers asks for, as text.

use std::sync::LazyLock;
use std::time::Instant;

use distributary_tests::browser::{Browser, Output, Shape, play_request, publish_request};
use distributary_tests::sim::crypto::{Srtp, provider};
use serde_json::{Value, json};

/// The SDP that a publisher or a viewer of this shape offers, always the same.
pub(crate) fn offer(video: bool, publishes: bool) -> &'static str {
    static OFFERS: LazyLock<[String; 4]> = LazyLock::new(|| {
        // Whoever asks first must not find another world afterwards: randomness is the thread's.
        let made = std::thread::spawn(|| {
            fastrand::seed(9);
            [(false, false), (false, true), (true, false), (true, true)].map(make)
        });
        made.join().expect("a browser makes an offer")
    });
    let [heard, spoken, seen, shown] = &*OFFERS;
    match (video, publishes) {
        (false, false) => heard,
        (false, true) => spoken,
        (true, false) => seen,
        (true, true) => shown,
    }
}

/// `publishStream`.
pub(crate) fn publish(id: &str, name: &str, video: bool) -> String {
    let request = publish_request(id, name, &shape(video), offer(video, true));
    json!({"message": "publishStream", "data": [request]}).to_string()
}

/// `playStream`.
pub(crate) fn play(id: &str, name: &str, video: bool) -> String {
    let request = play_request(id, name, offer(video, false));
    json!({"message": "playStream", "data": [request]}).to_string()
}

/// `unPublishStream` or `stopStream`.
pub(crate) fn stop(id: &str, name: &str, published: bool) -> String {
    let message = if published { "unPublishStream" } else { "stopStream" };
    let request = json!({"mediaSessionId": id, "name": name, "published": published});
    json!({"message": message, "data": [request]}).to_string()
}

fn shape(video: bool) -> Shape {
    if video { Shape::audio_video() } else { Shape::audio() }
}

fn make((video, publishes): (bool, bool)) -> String {
    let now = Instant::now();
    let mut browser = Browser::new(now, 9, provider(Srtp::Null));
    browser.opened();
    browser.text(now, r#"{"message":"getUserData","data":[{}]}"#);
    let local = ([10, 9, 9, 9], 40_001).into();
    if publishes {
        browser.publish(now, "n", shape(video), local);
    } else {
        browser.play(now, "n", shape(video), local);
    }
    loop {
        let Output::Text(text) = browser.poll() else { panic!("no offer") };
        let message: Value = serde_json::from_str(&text).expect("a browser says JSON");
        if let Some(sdp) = message.pointer("/data/0/sdp").and_then(Value::as_str) {
            return sdp.to_owned();
        }
    }
}
