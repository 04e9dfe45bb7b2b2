//! Janus's HTTP API: a session, in it a handle of the Streaming plugin, and on that an offer to
//! answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Said;
use super::http::Http;

/// Well within the minute after which Janus gives a session up.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const PLUGIN: &str = "janus.plugin.streaming";

#[derive(Debug)]
pub(in crate::load) struct Janus {
    http: Http,
    /// Where the API is, and what is watched.
    path: String,
    mountpoint: String,
    stage: Stage,
    session: u64,
    handle: u64,
    keep_alive_at: Option<Instant>,
}

/// What was asked for last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Fresh,
    Session,
    Handle,
    Watch,
    /// Events, of which one will be the offer.
    Events,
    Start,
    Playing,
    Leaving,
    Left,
}

impl Janus {
    pub(super) fn new(host: &str, path: &str, mountpoint: &str) -> Self {
        Self {
            http: Http::new(host),
            path: path.trim_end_matches('/').to_owned(),
            mountpoint: mountpoint.to_owned(),
            stage: Stage::Fresh,
            session: 0,
            handle: 0,
            keep_alive_at: None,
        }
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.http.receive(bytes);
    }

    pub(super) fn poll(&mut self) -> Option<Said> {
        if self.stage == Stage::Fresh {
            self.stage = Stage::Session;
            self.say(&self.path.clone(), "create", json!({}));
        }
        loop {
            let said = match self.http.poll()? {
                Ok(answer) if answer.is_success() => match serde_json::from_str(&answer.body) {
                    Ok(message) => self.hear(&message),
                    Err(_) => Err(format!("no JSON: {}", answer.complaint())),
                },
                Ok(answer) => Err(answer.complaint()),
                Err(why) => Err(why),
            };
            match said {
                Ok(None) => {}
                Ok(Some(said)) => return Some(said),
                Err(_) if matches!(self.stage, Stage::Leaving | Stage::Left) => {
                    self.stage = Stage::Left;
                }
                Err(why) => {
                    self.stage = Stage::Left;
                    return Some(Said::Over(why));
                }
            }
        }
    }

    pub(super) fn ask(&mut self) {
        self.stage = Stage::Watch;
        let id = match self.mountpoint.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) => json!(self.mountpoint),
        };
        let body = json!({"request": "watch", "id": id});
        self.say(&self.at_handle(), "message", json!({"body": body}));
    }

    pub(super) fn accept(&mut self, answer: &str) {
        self.stage = Stage::Start;
        let answer = json!({"type": "answer", "sdp": answer});
        let message = json!({"body": {"request": "start"}, "jsep": answer});
        self.say(&self.at_handle(), "message", message);
    }

    pub(super) fn keep_alive(&mut self, now: Instant) {
        if self.stage == Stage::Playing {
            let due = *self.keep_alive_at.get_or_insert(now + KEEP_ALIVE);
            if due <= now {
                self.keep_alive_at = Some(now + KEEP_ALIVE);
                self.say(&self.at_session(), "keepalive", json!({}));
            }
        }
    }

    pub(super) fn leave(&mut self) {
        if self.session == 0 || self.stage == Stage::Left {
            self.stage = Stage::Left;
        } else {
            self.stage = Stage::Leaving;
            self.say(&self.at_session(), "destroy", json!({}));
        }
    }

    pub(super) fn has_left(&self) -> bool {
        self.stage == Stage::Left
    }

    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        self.http.take_outgoing()
    }

    fn at_session(&self) -> String {
        format!("{}/{}", self.path, self.session)
    }

    fn at_handle(&self) -> String {
        format!("{}/{}", self.at_session(), self.handle)
    }

    fn say(&mut self, path: &str, verb: &str, mut message: Value) {
        if let Some(message) = message.as_object_mut() {
            let transaction: String =
                std::iter::repeat_with(fastrand::alphanumeric).take(12).collect();
            message.insert("janus".to_owned(), json!(verb));
            message.insert("transaction".to_owned(), json!(transaction));
            if verb == "attach" {
                message.insert("plugin".to_owned(), json!(PLUGIN));
            }
        }
        self.http.request("POST", path, Some(("application/json", &message.to_string())));
    }

    fn listen(&mut self) {
        self.http.request("GET", &format!("{}?maxev=1", self.at_session()), None);
    }

    fn hear(&mut self, message: &Value) -> Result<Option<Said>, String> {
        // Events may come one by one or in a list.
        if let Value::Array(events) = message {
            for event in events {
                let said = self.hear(event)?;
                if said.is_some() {
                    return Ok(said);
                }
            }
            return Ok(None);
        }
        let text = |path: &str| message.pointer(path).and_then(Value::as_str);
        if let Some(why) = text("/error/reason").or(text("/plugindata/data/error")) {
            self.stage = if self.stage == Stage::Leaving { Stage::Left } else { self.stage };
            return Ok(Some(Said::Ended(format!("Janus: {why}"))));
        }
        let verb = text("/janus").unwrap_or_default();
        let id = message.pointer("/data/id").and_then(Value::as_u64);
        match (self.stage, verb) {
            (Stage::Session, "success") => {
                self.session = id.ok_or("a session without a number")?;
                self.stage = Stage::Handle;
                self.say(&self.at_session(), "attach", json!({}));
            }
            (Stage::Handle, "success") => {
                self.handle = id.ok_or("a handle without a number")?;
                return Ok(Some(Said::Ready));
            }
            (Stage::Watch, "ack") => {
                self.stage = Stage::Events;
                self.listen();
            }
            (Stage::Events, _) => match (text("/jsep/type"), text("/jsep/sdp")) {
                (Some("offer"), Some(sdp)) => return Ok(Some(Said::Offer(sdp.to_owned()))),
                _ => self.listen(),
            },
            (Stage::Start, "ack") => self.stage = Stage::Playing,
            (Stage::Leaving, "success") => self.stage = Stage::Left,
            // Something that was under way when it was left, or that a session lives on.
            (Stage::Leaving | Stage::Left | Stage::Playing, _) => {}
            (Stage::Fresh | Stage::Session | Stage::Handle | Stage::Watch | Stage::Start, _) => {
                return Err(format!("Janus said {verb:?} out of turn"));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was said last: the request's first line, and its body.
    fn said(janus: &mut Janus) -> (String, Value) {
        let sent = String::from_utf8(janus.take_outgoing()).unwrap();
        let (head, body) = sent.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{sent:?}"));
        let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        (line, serde_json::from_str(body).unwrap_or_default())
    }

    fn answer(janus: &mut Janus, body: &Value) -> Option<Said> {
        let body = body.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        janus.receive(head.as_bytes());
        janus.receive(body.as_bytes());
        janus.poll()
    }

    fn watching() -> Janus {
        let mut janus = Janus::new("example.com:8088", "/janus/", "42");
        assert_eq!(janus.poll(), None);
        let (line, message) = said(&mut janus);
        assert_eq!((line.as_str(), &message["janus"]), ("POST /janus", &json!("create")));
        assert_eq!(answer(&mut janus, &json!({"janus": "success", "data": {"id": 7}})), None);
        let (line, message) = said(&mut janus);
        assert_eq!((line.as_str(), &message["janus"]), ("POST /janus/7", &json!("attach")));
        assert_eq!(message["plugin"], PLUGIN);
        let ready = answer(&mut janus, &json!({"janus": "success", "data": {"id": 9}}));
        assert_eq!(ready, Some(Said::Ready));
        janus.ask();
        let (line, message) = said(&mut janus);
        assert_eq!(line, "POST /janus/7/9");
        assert_eq!(message["body"], json!({"request": "watch", "id": 42}));
        assert_eq!(answer(&mut janus, &json!({"janus": "ack"})), None);
        assert_eq!(said(&mut janus).0, "GET /janus/7?maxev=1");
        janus
    }

    #[test]
    fn an_offer_is_watched_for_answered_and_left() {
        let mut janus = watching();
        // What is not the offer is passed over.
        assert_eq!(answer(&mut janus, &json!({"janus": "keepalive"})), None);
        assert_eq!(said(&mut janus).0, "GET /janus/7?maxev=1");
        let jsep = json!({"type": "offer", "sdp": "v=0"});
        let event = json!([{"janus": "event", "plugindata": {"data": {}}, "jsep": jsep}]);
        assert_eq!(answer(&mut janus, &event), Some(Said::Offer("v=0".to_owned())));
        janus.accept("v=1");
        let (line, message) = said(&mut janus);
        assert_eq!(line, "POST /janus/7/9");
        assert_eq!(message["body"], json!({"request": "start"}));
        assert_eq!(message["jsep"], json!({"type": "answer", "sdp": "v=1"}));
        assert_eq!(answer(&mut janus, &json!({"janus": "ack"})), None);

        let now = Instant::now();
        janus.keep_alive(now);
        assert_eq!(janus.take_outgoing(), b"");
        janus.keep_alive(now + KEEP_ALIVE);
        let (line, message) = said(&mut janus);
        assert_eq!((line.as_str(), &message["janus"]), ("POST /janus/7", &json!("keepalive")));
        assert_eq!(answer(&mut janus, &json!({"janus": "ack"})), None);

        janus.leave();
        let (line, message) = said(&mut janus);
        assert_eq!((line.as_str(), &message["janus"]), ("POST /janus/7", &json!("destroy")));
        assert!(!janus.has_left());
        assert_eq!(answer(&mut janus, &json!({"janus": "success"})), None);
        assert!(janus.has_left());
    }

    #[test]
    fn what_janus_refuses_is_told() {
        let mut janus = watching();
        let data = json!({"streaming": "event", "error_code": 455, "error": "No such mountpoint"});
        let event = json!({"janus": "event", "plugindata": {"data": data}});
        let ended = Said::Ended("Janus: No such mountpoint".to_owned());
        assert_eq!(answer(&mut janus, &event), Some(ended));

        let mut janus = Janus::new("example.com:8088", "/janus", "42");
        assert_eq!(janus.poll(), None);
        let refusal = json!({"janus": "error", "error": {"code": 403, "reason": "Unauthorized"}});
        let ended = Said::Ended("Janus: Unauthorized".to_owned());
        assert_eq!(answer(&mut janus, &refusal), Some(ended));
        // Without a session there is nothing to leave.
        janus.take_outgoing();
        janus.leave();
        assert!(janus.has_left());

        let mut janus = Janus::new("example.com:8088", "/janus", "42");
        assert_eq!(janus.poll(), None);
        let over = Said::Over("Janus said \"ack\" out of turn".to_owned());
        assert_eq!(answer(&mut janus, &json!({"janus": "ack"})), Some(over));
    }
}
