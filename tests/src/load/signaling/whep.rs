//! WHEP (draft-ietf-wish-whep), and WHIP (RFC 9725), which differs in the direction of media only:
//! one request brings the answer, another one leaves.

use super::Said;
use super::http::Http;

const SDP: &str = "application/sdp";

#[derive(Debug)]
pub(in crate::load) struct Whep {
    http: Http,
    host: String,
    path: String,
    stage: Stage,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    Fresh,
    Ready,
    Asked,
    /// The path of what the server made for us, if it said.
    Answered(Option<String>),
    Leaving,
    Left,
}

impl Whep {
    pub(super) fn new(host: &str, path: &str) -> Self {
        let (host, path) = (host.to_owned(), path.to_owned());
        Self { http: Http::new(&host), host, path, stage: Stage::Fresh }
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.http.receive(bytes);
    }

    pub(super) fn ask(&mut self, offer: &str) {
        self.http.request("POST", &self.path, Some((SDP, offer)));
        self.stage = Stage::Asked;
    }

    pub(super) fn poll(&mut self) -> Option<Said> {
        if self.stage == Stage::Fresh {
            self.stage = Stage::Ready;
            return Some(Said::Ready);
        }
        let answer = match self.http.poll()? {
            Ok(answer) => answer,
            Err(why) => {
                self.stage = Stage::Left;
                return Some(Said::Over(why));
            }
        };
        if self.stage != Stage::Asked {
            self.stage = Stage::Left;
            return None;
        }
        if answer.status != 201 {
            self.stage = Stage::Left;
            return Some(Said::Ended(answer.complaint()));
        }
        let resource = answer.location.and_then(|it| resolve(&self.host, &self.path, &it));
        self.stage = Stage::Answered(resource);
        Some(Said::Answer(answer.body))
    }

    pub(super) fn leave(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Left);
        if let Stage::Answered(Some(resource)) = stage {
            self.http.request("DELETE", &resource, None);
            self.stage = Stage::Leaving;
        }
    }

    pub(super) fn has_left(&self) -> bool {
        self.stage == Stage::Left
    }

    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        self.http.take_outgoing()
    }
}

/// The path that a `Location` names (RFC 9110, section 10.2.2); `None` if it is another host's.
fn resolve(host: &str, path: &str, location: &str) -> Option<String> {
    let rest = match location.split_once("://") {
        Some((_, rest)) => Some(rest),
        None => location.strip_prefix("//"),
    };
    if let Some(rest) = rest {
        let (there, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        return (there == host).then(|| if path.is_empty() { "/" } else { path }.to_owned());
    }
    if location.starts_with('/') {
        return Some(location.to_owned());
    }
    let path = path.split('?').next().unwrap_or_default();
    let (folder, _) = path.rsplit_once('/')?;
    Some(format!("{folder}/{location}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Whep {
        let mut whep = Whep::new("example.com:80", "/live/whep?x");
        assert_eq!(whep.poll(), Some(Said::Ready));
        assert_eq!(whep.poll(), None);
        whep.ask("v=0\r\n");
        whep
    }

    #[test]
    fn an_offer_is_posted_and_what_came_of_it_deleted() {
        let mut whep = asked();
        let sent = String::from_utf8(whep.take_outgoing()).unwrap();
        assert!(sent.starts_with("POST /live/whep?x HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("Content-Type: application/sdp\r\n"), "{sent}");
        assert!(sent.ends_with("\r\n\r\nv=0\r\n"), "{sent}");
        whep.receive(b"HTTP/1.1 201 Created\r\nLocation: id/7\r\nContent-Length: 3\r\n\r\nsdp");
        assert_eq!(whep.poll(), Some(Said::Answer("sdp".to_owned())));
        // Nobody speaks for long.
        whep.receive(&[]);
        assert_eq!(whep.poll(), None);
        whep.leave();
        assert!(!whep.has_left());
        let sent = String::from_utf8(whep.take_outgoing()).unwrap();
        assert!(sent.starts_with("DELETE /live/id/7 HTTP/1.1\r\n"), "{sent}");
        whep.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(whep.poll(), None);
        assert!(whep.has_left());
    }

    #[test]
    fn whoever_got_nothing_has_nothing_to_delete() {
        let mut whep = asked();
        whep.take_outgoing();
        whep.receive(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nno stream");
        let said = Said::Ended("the server answered 404 no stream".to_owned());
        assert_eq!(whep.poll(), Some(said));
        whep.leave();
        assert!(whep.has_left());
        assert_eq!(whep.take_outgoing(), b"");

        let mut whep = asked();
        whep.receive(&[]);
        assert_eq!(whep.poll(), Some(Said::Over("the server hung up".to_owned())));
        assert!(whep.has_left());
    }

    #[test]
    fn locations_are_resolved() {
        for (location, resource) in [
            ("/r/1", Some("/r/1")),
            ("r/1", Some("/live/r/1")),
            ("http://example.com:80/r/1", Some("/r/1")),
            ("//example.com:80", Some("/")),
            ("https://elsewhere.example/r/1", None),
        ] {
            let found = resolve("example.com:80", "/live/whep?x", location);
            assert_eq!(found.as_deref(), resource, "{location}");
        }
    }
}
