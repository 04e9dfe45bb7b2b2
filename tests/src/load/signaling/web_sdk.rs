//! How a viewer comes to an answer for its offer.

use serde_json::{Value, json};

use crate::browser::{connection_request, play_request};
use crate::websocket::{Incoming, Wire};

/// A dialogue with a server, over a TCP connection that somebody else carries. Another protocol
/// would be another variant.
#[derive(Debug)]
pub(super) enum Signaling {
    /// The WebSDK's JSON messages over a WebSocket.
    WebSdk(WebSdk),
}

/// What the server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// Streams can be asked for.
    Ready,
    /// The answer to the offer.
    Answer(String),
    /// There is nothing to play, or not any more.
    Ended(String),
    /// The dialogue is over.
    Over(String),
}

impl Signaling {
    /// Begins a dialogue with the server at `host`, as in a URL.
    pub(super) fn web_sdk(host: &str, path: &str) -> Self {
        let wire = Wire::new(host, path);
        // As the SDK makes them up: no two viewers' are the same.
        let media_session = format!("00000001-e705-11f1-810b-{:012x}", fastrand::u64(..1 << 48));
        Self::WebSdk(WebSdk { wire, media_session, over: false })
    }

    /// Bytes came in; none: the connection ended.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let Self::WebSdk(dialogue) = self;
        dialogue.wire.receive(bytes);
    }

    /// The next thing that the server said.
    pub(super) fn poll(&mut self) -> Option<Said> {
        let Self::WebSdk(dialogue) = self;
        dialogue.poll()
    }

    /// Asks for a stream.
    pub(super) fn play(&mut self, name: &str, offer: &str) {
        let Self::WebSdk(dialogue) = self;
        dialogue.say("playStream", play_request(&dialogue.media_session, name, offer));
    }

    /// Leaves.
    pub(super) fn leave(&mut self) {
        let Self::WebSdk(dialogue) = self;
        dialogue.wire.close();
    }

    /// What is to be written.
    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        let Self::WebSdk(dialogue) = self;
        dialogue.wire.take_outgoing()
    }
}

#[derive(Debug)]
pub(super) struct WebSdk {
    wire: Wire,
    /// Each viewer has a session of its own, and in it one stream.
    media_session: String,
    over: bool,
}

impl WebSdk {
    fn poll(&mut self) -> Option<Said> {
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
                matches!(status, "FAILED" | "STOPPED")
                    .then(|| Said::Ended(format!("{status}: {}", text("info"))))
            }
            _ => None,
        }
    }

    fn say(&mut self, message: &str, argument: Value) {
        self.wire.send(&json!({"message": message, "data": [argument]}).to_string());
    }
}
