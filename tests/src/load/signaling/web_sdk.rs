//! The WebSDK's JSON messages over a WebSocket.

use serde_json::{Value, json};

use super::{Errand, Said};
use crate::browser::{Shape, connection_request, play_request, publish_request};
use crate::websocket::{Incoming, Wire};

#[derive(Debug)]
pub(in crate::load) struct WebSdk {
    wire: Wire,
    /// Each has a session of its own, and in it one stream.
    media_session: String,
    stream: String,
    publishes: bool,
    over: bool,
}

impl WebSdk {
    /// Begins a dialogue with the server at `host`, as in a URL.
    pub(super) fn new(host: &str, path: &str, errand: Errand<'_>) -> Self {
        Self {
            wire: Wire::new(host, path),
            // As the SDK makes them up: no two are the same.
            media_session: format!("00000001-e705-11f1-810b-{:012x}", fastrand::u64(..1 << 48)),
            stream: errand.stream().to_owned(),
            publishes: matches!(errand, Errand::Publish(_)),
            over: false,
        }
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.wire.receive(bytes);
    }

    pub(super) fn ask(&mut self, offer: &str) {
        let (id, name) = (&self.media_session, &self.stream);
        if self.publishes {
            let request = publish_request(id, name, &Shape::audio_video(), offer);
            self.say("publishStream", request);
        } else {
            self.say("playStream", play_request(id, name, offer));
        }
    }

    pub(super) fn leave(&mut self) {
        self.wire.close();
    }

    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        self.wire.take_outgoing()
    }

    pub(super) fn poll(&mut self) -> Option<Said> {
        loop {
            match self.wire.poll()? {
                Incoming::Opened => self.say("connection", connection_request()),
                Incoming::Text(text) => {
                    if let Some(said) = self.hear(&text) {
                        return Some(said);
                    }
                }
                Incoming::Binary(_) => {}
                Incoming::Refused(status) => {
                    return self.end(format!("the WebSocket was refused with {status}"));
                }
                Incoming::Closed(Some(code)) => {
                    return self.end(format!("the server closed the WebSocket with {code}"));
                }
                Incoming::Closed(None) => return self.end("the server hung up".to_owned()),
            }
        }
    }

    fn end(&mut self, why: String) -> Option<Said> {
        // Only the first end counts.
        (!std::mem::replace(&mut self.over, true)).then_some(Said::Over(why))
    }

    fn hear(&mut self, text: &str) -> Option<Said> {
        let message: Value = serde_json::from_str(text).ok()?;
        let argument = |at: usize| message.get("data").and_then(|data| data.get(at));
        match message.get("message").and_then(Value::as_str)? {
            "ping" => {
                self.say("pong", Value::Null);
                None
            }
            "getUserData" => Some(Said::Ready),
            "setRemoteSDP" => Some(Said::Answer(argument(1)?.as_str()?.to_owned())),
            "notifyStreamStatusEvent" => {
                let event = argument(0)?;
                let text = |key| event.get(key).and_then(Value::as_str).unwrap_or_default();
                let status = text("status");
                matches!(status, "FAILED" | "STOPPED" | "UNPUBLISHED")
                    .then(|| Said::Ended(format!("{status}: {}", text("info"))))
            }
            _ => None,
        }
    }

    fn say(&mut self, message: &str, argument: Value) {
        self.wire.send(&json!({"message": message, "data": [argument]}).to_string());
    }
}
