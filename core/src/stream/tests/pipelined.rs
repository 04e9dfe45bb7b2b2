//! Requests in every form, sent ahead and cut anywhere, to a server that answers when it likes.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::http::Method;
use super::*;

/// A request, and with it what it has to be read as.
#[derive(Clone, Debug)]
struct Asked {
    verb: &'static str,
    segments: Vec<String>,
    /// Whether letters of the path are written by their numbers.
    encoded: bool,
    query: &'static str,
    http11: bool,
    connection: Option<&'static str>,
    body: Body,
    line_end: &'static str,
    /// Line ends before it, which mean nothing.
    blank: usize,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Whole(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
}

fn asked() -> impl Strategy<Value = Asked> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    let body = prop_oneof![
        2 => Just(Body::None),
        1 => bytes(300).prop_map(Body::Whole),
        1 => prop::collection::vec(bytes(80), 0..5).prop_map(Body::Chunks),
    ];
    let connections = vec![
        None,
        None,
        None,
        Some("keep-alive"),
        Some("x, Keep-Alive"),
        Some("close"),
        Some("a,Close"),
    ];
    let form = (any::<bool>(), prop::bool::weighted(0.8), select(vec!["\r\n", "\n"]), 0usize..3);
    (
        select(vec!["GET", "GET", "HEAD", "POST", "OPTIONS"]),
        prop::collection::vec("[a-zé %+&=;.]{0,5}x", 0..4),
        select(vec!["", "a=b", "a=%20+c&&d", "?/"]),
        select(connections),
        body,
        form,
    )
        .prop_map(|(verb, segments, query, connection, body, form)| {
            let (encoded, http11, line_end, blank) = form;
            // HTTP/1.0 has no chunks, and their own lines have no other end.
            let (http11, line_end) = match body {
                Body::Chunks(_) => (true, "\r\n"),
                Body::None | Body::Whole(_) => (http11, line_end),
            };
            Asked { verb, segments, encoded, query, http11, connection, body, line_end, blank }
        })
}

impl Asked {
    fn path(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    fn body(&self) -> Vec<u8> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Whole(bytes) => bytes.clone(),
            Body::Chunks(chunks) => chunks.concat(),
        }
    }

    fn keeps_alive(&self) -> bool {
        match self.connection {
            Some("close" | "a,Close") => false,
            Some(_) => true,
            None => self.http11,
        }
    }

    fn wire(&self) -> Vec<u8> {
        let path: String = self
            .path()
            .chars()
            .map(|c| match c {
                '/' => c.to_string(),
                'a'..='z' | '+' | '&' | '=' | ';' | '.' if !self.encoded => c.to_string(),
                _ => c.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect(),
            })
            .collect();
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let version = if self.http11 { "HTTP/1.1" } else { "HTTP/1.0" };
        let mut lines =
            vec![format!("{} {path}{query} {version}", self.verb), "hOST: x".to_owned()];
        lines.extend(self.connection.map(|tokens| format!("Connection: {tokens}")));
        let mut body = self.body();
        match &self.body {
            Body::None => {}
            Body::Whole(bytes) => lines.push(format!("content-length:{}", bytes.len())),
            Body::Chunks(chunks) => {
                lines.push("Transfer-Encoding: Chunked".to_owned());
                body = chunks.iter().filter(|chunk| !chunk.is_empty()).fold(
                    Vec::new(),
                    |body, chunk| {
                        [&body[..], format!("{:X};a=b\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"]
                            .concat()
                    },
                );
                body.extend_from_slice(b"0\r\nExpires: 0\r\n\r\n");
            }
        }
        let head: String = lines.iter().map(|line| format!("{line}{}", self.line_end)).collect();
        let blank = self.line_end.repeat(self.blank);
        [blank.as_bytes(), head.as_bytes(), self.line_end.as_bytes(), &body].concat()
    }

    fn is(&self, request: &Request) -> bool {
        let method = match self.verb {
            "POST" => Method::Post,
            "OPTIONS" => Method::Options,
            _ => Method::Get,
        };
        request.method == method
            && request.head == (self.verb == "HEAD")
            && request.path == self.path()
            && request.query_text == self.query
            && request.header("host") == Some("x")
            && request.header("connection") == self.connection
            && request.body == self.body()
    }
}

/// What happens next at the server.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many bytes come in.
    Arrive(usize),
    /// The owner answers, with a body of so many bytes.
    Answer(usize),
    /// The socket takes so many bytes.
    Write(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![0usize..60, 0usize..2_000].prop_map(Step::Arrive),
        3 => prop_oneof![4 => 0usize..300, 1 => 0usize..200_000].prop_map(Step::Answer),
        3 => prop_oneof![0usize..100, 0usize..70_000].prop_map(Step::Write),
    ]
}

/// The far side's and the owner's view of one connection.
struct Scene {
    connection: Connection,
    incoming: VecDeque<Incoming>,
    rest: Vec<u8>,
    heard: Vec<Incoming>,
    /// How long each body was.
    answered: Vec<usize>,
    received: Vec<u8>,
}

impl Scene {
    fn take(&mut self, step: Step) {
        match step {
            Step::Arrive(n) => {
                let bytes: Vec<u8> = self.rest.drain(..n.min(self.rest.len())).collect();
                self.connection.receive(&bytes, &mut self.incoming).unwrap();
            }
            Step::Answer(len) => {
                if self.answered.len() < self.requests() {
                    let body = vec![tag(self.answered.len()); len];
                    self.answered.push(len);
                    self.connection.respond(Response::ok("text/plain", body));
                }
            }
            Step::Write(n) => {
                let n = n.min(self.connection.outgoing().len());
                self.received.extend_from_slice(&self.connection.outgoing()[..n]);
                self.connection.wrote(n);
            }
        }
        self.connection.receive(&[], &mut self.incoming).unwrap();
        self.heard.extend(self.incoming.drain(..));
        assert!(self.requests() <= self.answered.len() + 1, "one after the other");
        assert!(self.connection.outgoing().len() <= FILL_BYTES + 1024, "a bounded buffer");
    }

    fn requests(&self) -> usize {
        self.heard.iter().filter(|heard| matches!(heard, Incoming::Request(_))).count()
    }
}

/// The byte that the nth answer consists of.
fn tag(nth: usize) -> u8 {
    b'a' + u8::try_from(nth % 26).unwrap()
}

/// Takes one response off the front of what was received.
fn response(received: &mut Vec<u8>, has_body: bool) -> (usize, bool, Vec<u8>) {
    let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    let head = utf8(received.drain(..end).collect());
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let field = |name: &str| {
        let mut values = head.lines().filter_map(|line| line.strip_prefix(name));
        let value = values.next().expect(name).to_owned();
        assert_eq!(values.next(), None, "{head}");
        value
    };
    let len = field("Content-Length: ").parse().unwrap();
    let keeps = field("Connection: ") == "keep-alive";
    let body = received.drain(..if has_body { len } else { 0 }).collect();
    (len, keeps, body)
}

proptest! {
    #[test]
    fn requests_sent_ahead_are_heard_and_answered_one_by_one(
        asked in prop::collection::vec(asked(), 1..8),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let limits = Limits { http_body_bytes_max: 64 * 1024, ..limits() };
        let mut scene = Scene {
            connection: Connection::accept(None, clock(), &limits).unwrap(),
            incoming: VecDeque::new(),
            rest: asked.iter().flat_map(Asked::wire).collect(),
            heard: Vec::new(),
            answered: Vec::new(),
            received: Vec::new(),
        };
        for step in steps {
            scene.take(step);
        }
        for _ in 0..=asked.len() {
            scene.take(Step::Arrive(usize::MAX));
            scene.take(Step::Answer(10));
            while !scene.connection.is_drained() {
                scene.take(Step::Write(usize::MAX));
            }
        }
        let last = asked.iter().position(|asked| !asked.keeps_alive());
        let served = last.map_or(asked.len(), |last| last + 1);
        let ends = !asked[served - 1].keeps_alive();
        prop_assert_eq!(scene.requests(), served);
        for (heard, asked) in scene.heard.iter().zip(&asked[..served]) {
            let Incoming::Request(request) = heard else { panic!("{heard:?}") };
            prop_assert!(asked.is(request), "{:?} is not {:?}", request, asked);
        }
        prop_assert_eq!(&scene.heard[served..], &[Incoming::Closed][..usize::from(ends)]);
        prop_assert_eq!(scene.connection.is_closing(), ends);
        for (nth, (asked, len)) in asked[..served].iter().zip(&scene.answered).enumerate() {
            let (told, keeps, body) = response(&mut scene.received, asked.verb != "HEAD");
            prop_assert_eq!((told, keeps), (*len, asked.keeps_alive()));
            let expected = if asked.verb == "HEAD" { 0 } else { *len };
            prop_assert_eq!(body, vec![tag(nth); expected]);
        }
        prop_assert_eq!(scene.answered.len(), served);
        prop_assert_eq!(utf8(scene.received), "");
    }
}
