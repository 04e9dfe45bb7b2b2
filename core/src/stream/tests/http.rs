use super::super::http::Method;
use super::*;
use crate::config::Secret;
use crate::pages::Pages;

fn request(head: bool, if_none_match: Option<&str>) -> Request {
    Request {
        method: Method::Get,
        head,
        path: "/".to_owned(),
        query_text: String::new(),
        query: Vec::new(),
        headers: if_none_match
            .map(|tags| ("if-none-match".to_owned(), tags.to_owned()))
            .into_iter()
            .collect(),
        body: Vec::new(),
    }
}

/// What a fresh connection answers, and what it calls the fault.
fn refusal(bytes: &[u8]) -> (String, StreamFault) {
    let mut connection = server();
    let fault = connection.receive(bytes, &mut VecDeque::new()).unwrap_err();
    assert!(connection.is_closing());
    (utf8(sent(&mut connection)), fault)
}

#[test]
fn a_request_is_answered() {
    let mut connection = server();
    let mut owner = Owner::default();
    owner.receive(&mut connection, b"GET /a%20b?c=d+e&f HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let [Incoming::Request(request)] = &owner.heard[..] else { panic!("{:?}", owner.heard) };
    assert_eq!((request.method, request.head), (Method::Get, false));
    assert_eq!(request.path, "/a b");
    assert_eq!(request.query_text, "c=d+e&f");
    assert_eq!(request.query("c"), Some("d e"));
    assert_eq!(request.query("f"), Some(""));
    assert_eq!(request.query("g"), None);
    assert_eq!(request.header("host"), Some("x"));
    assert_eq!(
        utf8(sent(&mut connection)),
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Length: 9\r\nConnection: keep-alive\r\n\r\n\
         Get /a b "
    );
    assert!(!connection.is_closing());
}

#[test]
fn requests_mean_the_same_however_they_arrive() {
    let bytes = b"\r\nGET /1 HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
        POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        HEAD /4 HTTP/1.1\nHost: x\n\n\
        OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n\
        GET /5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n\
        GET /never HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut seen: Option<(Vec<Incoming>, String)> = None;
    for step in 1..=bytes.len() {
        let (mut connection, mut owner) = (server(), Owner::default());
        for bytes in bytes.chunks(step) {
            owner.receive(&mut connection, bytes).unwrap();
        }
        assert!(connection.is_closing());
        let now = (owner.heard, utf8(sent(&mut connection)));
        let first = seen.get_or_insert_with(|| now.clone());
        assert_eq!(*first, now, "in steps of {step}");
    }
    let (heard, answer) = seen.unwrap();
    let bodies: Vec<_> = heard
        .iter()
        .map(|incoming| match incoming {
            Incoming::Request(request) => (request.path.as_str(), request.body.as_slice()),
            Incoming::Closed => ("closed", &b""[..]),
            Incoming::Upgrade(_)
            | Incoming::Opened
            | Incoming::Text(_)
            | Incoming::Response { .. } => panic!("{incoming:?}"),
        })
        .collect();
    let expected = [
        ("/1", ""),
        ("/2", "hello"),
        ("/3", "abc"),
        ("/4", ""),
        ("*", ""),
        ("/5", ""),
        ("closed", ""),
    ];
    assert_eq!(bodies, expected.map(|(path, body)| (path, body.as_bytes())));
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 6);
    assert_eq!(answer.matches("Connection: close\r\n").count(), 1);
    // HEAD: the length of the body, but not the body.
    assert_eq!(answer.matches("Content-Length: 7\r\n").count(), 3);
    assert_eq!(answer.matches("Get /4").count(), 0);
}

#[test]
fn what_breaks_the_rules_is_refused_in_words() {
    let long = "a".repeat(1024);
    for (bytes, status, fault) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 431, StreamFault::HeadTooLarge),
        (format!("GET /{long}"), 431, StreamFault::HeadTooLarge),
        (format!("GET / HTTP/1.1\r\n{}", "a:\r\n".repeat(110)), 0, StreamFault::HeadTooLarge),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2001\r\n\r\n".to_owned(),
            413,
            StreamFault::BodyTooLarge,
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d1\r\n".to_owned(),
            413,
            StreamFault::BodyTooLarge,
        ),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 405, StreamFault::MethodNotAllowed),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n".to_owned(), 505, StreamFault::Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505, StreamFault::Version),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
            501,
            StreamFault::TransferCoding,
        ),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, StreamFault::Malformed("no Host")),
        ("\u{16}\u{3}\u{1}".to_owned(), 400, StreamFault::Malformed("what came is not HTTP")),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                .to_owned(),
            426,
            StreamFault::UpgradeVersion,
        ),
    ] {
        // Without its empty line the head with too many fields is only unfinished.
        let bytes = if status == 0 { format!("{bytes}\r\n") } else { bytes };
        let status = if status == 0 { 431 } else { status };
        let (answer, actual) = refusal(bytes.as_bytes());
        assert_eq!(actual, fault, "{bytes}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes}: {answer}");
        assert!(answer.contains("close\r\n"), "{answer}");
        assert_eq!(answer.contains("\r\nAllow: GET, HEAD, POST, OPTIONS\r\n"), status == 405);
        assert_eq!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), status == 426);
    }
}

#[test]
fn a_page_is_sent_once_and_then_known() {
    let pages = Pages::from_files([("a.html".to_owned(), b"<p>".to_vec())]);
    let page = pages.get("a.html").unwrap();
    let fresh = Response::page(page, &request(false, None));
    assert!(fresh.head(true, UNIX).starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(fresh.head(true, UNIX).contains("\r\nCache-Control: no-cache\r\n"));
    assert!(fresh.head(true, UNIX).contains(&format!("\r\nETag: {}\r\n", page.etag)));
    assert_eq!(&*fresh.into_body(), b"<p>");
    let etag = &page.etag;
    for tags in [etag.clone(), "*".to_owned(), format!("\"x\", W/{etag}")] {
        let known = Response::page(page, &request(false, Some(&tags)));
        assert!(known.head(true, UNIX).starts_with("HTTP/1.1 304 Not Modified\r\n"), "{tags}");
        assert!(!known.head(true, UNIX).contains("Content-Length"), "{tags}");
        assert_eq!(&*known.into_body(), b"");
    }
    let changed = Response::page(page, &request(false, Some("\"x\"")));
    assert!(changed.head(true, UNIX).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn nothing_slips_into_a_header_field() {
    let head = Response::redirect("/a\r\nSet-Cookie: b\0\u{e4}?c=d").head(true, UNIX);
    assert!(head.starts_with("HTTP/1.1 302 Found\r\n"));
    assert!(head.contains("\r\nLocation: /aSet-Cookie: b?c=d\r\n"), "{head}");
}

#[test]
fn a_page_of_any_size_costs_a_bounded_buffer() {
    let (mut connection, mut incoming) = (server(), VecDeque::new());
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let get = b"GET / HTTP/1.0\r\n\r\n";
    connection.receive(get, &mut incoming).unwrap();
    connection.respond(Response::ok("text/plain", body.clone()));
    let mut received = Vec::new();
    while !connection.is_drained() {
        let outgoing = connection.outgoing();
        assert!(!outgoing.is_empty() && outgoing.len() <= FILL_BYTES);
        let n = outgoing.len().min(1 + received.len() % 7000);
        received.extend_from_slice(&outgoing[..n]);
        connection.wrote(n);
    }
    assert!(received.ends_with(&[b"\r\n\r\n", body.as_slice()].concat()));
    connection.receive(&[], &mut incoming).unwrap();
    assert_eq!(incoming.pop_back(), Some(Incoming::Closed));
}

#[test]
fn requests_wait_for_the_answer_before_them_but_not_without_end() {
    let (mut connection, mut incoming) = (server(), VecDeque::new());
    let get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10);
    connection.receive(&get, &mut incoming).unwrap();
    assert_eq!(incoming.len(), 1);
    connection.respond(Response::not_found());
    connection.receive(&[], &mut incoming).unwrap();
    assert_eq!(incoming.len(), 2);
    let fault = (0..100).find_map(|_| connection.receive(&get, &mut incoming).err());
    assert_eq!(fault, Some(StreamFault::Backlog));
    assert_eq!(incoming.len(), 2);
    assert_eq!(utf8(sent(&mut connection)).matches("HTTP/1.1").count(), 1);
}

#[test]
fn a_request_waits_for_the_end_of_the_page_before_it() {
    let limits = Limits { outgoing_bytes_max: 1000, ..limits() };
    let mut connection = Connection::accept(None, clock(), &limits).unwrap();
    let mut incoming = VecDeque::new();
    let get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
    connection.receive(&get, &mut incoming).unwrap();
    connection.respond(Response::ok("text/plain", vec![b'x'; 2000]));
    let mut written = 0;
    while written < 1500 {
        connection.receive(&[], &mut incoming).unwrap();
        assert_eq!(incoming.len(), 1, "after {written}");
        assert!(connection.outgoing().len() <= 500);
        connection.wrote(100);
        written += 100;
    }
    sent(&mut connection);
    connection.receive(&[], &mut incoming).unwrap();
    assert_eq!(incoming.len(), 2);
}

#[test]
fn a_far_side_that_asks_first_is_told_to_go_on() {
    let (mut connection, mut owner) = (server(), Owner::default());
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    owner.receive(&mut connection, head).unwrap();
    assert_eq!(sent(&mut connection), b"HTTP/1.1 100 Continue\r\n\r\n");
    owner.receive(&mut connection, b"ok").unwrap();
    assert_eq!(owner.heard.len(), 1);
    let answer = utf8(sent(&mut connection));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("Post / ok"), "{answer}");
}

fn answered(answer: &[u8], then_eof: bool) -> (Vec<Incoming>, Result<(), StreamFault>) {
    let mut connection = Connection::dial_request(
        None,
        "edge:8080",
        &Outbound::get("/?action=stat"),
        clock(),
        &limits(),
    )
    .unwrap();
    assert_eq!(
        utf8(sent(&mut connection)),
        "GET /?action=stat HTTP/1.1\r\nHost: edge:8080\r\nConnection: close\r\n\r\n"
    );
    let mut incoming = VecDeque::new();
    let mut result = answer.iter().try_for_each(|byte| connection.receive(&[*byte], &mut incoming));
    if then_eof && result.is_ok() {
        result = connection.eof(&mut incoming);
    }
    (incoming.into(), result)
}

#[test]
fn a_document_is_fetched() {
    let fetched =
        |status, body: &[u8]| (vec![Incoming::Response { status, body: body.to_vec() }], Ok(()));
    let length = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na=b";
    assert_eq!(answered(length, false), fetched(200, b"a=b"));
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n";
    assert_eq!(answered(chunked, false), fetched(200, b"a=b"));
    assert_eq!(answered(b"HTTP/1.0 503 No\r\n\r\nwhy", true), fetched(503, b"why"));
    assert_eq!(answered(b"HTTP/1.1 204 No\r\n\r\n", false), fetched(204, b""));
    let truncated = (Vec::new(), Err(StreamFault::Truncated));
    for end in [0, 10, length.len() - 1] {
        assert_eq!(answered(&length[..end], true), truncated);
    }
    assert_eq!(answered(&chunked[..chunked.len() - 1], true), truncated);
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &[b'x'; 2001]].concat();
    assert_eq!(answered(&endless, false), (Vec::new(), Err(StreamFault::BodyTooLarge)));
}

#[test]
fn only_what_can_stand_in_a_request_is_dialed() {
    for (host, path) in [("", "/"), ("a b", "/"), ("a\r\nb", "/"), ("a", "x"), ("a", "/\r\n")] {
        let refused =
            Connection::dial_request(None, host, &Outbound::get(path), clock(), &limits()).err();
        assert_eq!(refused, Some(StreamFault::Destination), "{host} {path}");
    }
}

#[test]
fn a_document_is_posted_and_read_at_the_other_end() {
    let posted = Outbound::post("/publishStream", r#"{"name":"ä"}"#.to_owned());
    let posted = posted.with_bearer(Some(Secret::new("abc.def")));
    assert!(!format!("{posted:?}").contains("abc") && !format!("{posted:?}").contains('ä'));
    let mut near = Connection::dial_request(None, "backend", &posted, clock(), &limits()).unwrap();
    let mut incoming = VecDeque::new();
    server().receive(&sent(&mut near), &mut incoming).unwrap();
    let Some(Incoming::Request(request)) = incoming.pop_front() else { panic!("{incoming:?}") };
    assert_eq!((request.method, &*request.path), (Method::Post, "/publishStream"));
    assert_eq!(request.header("authorization"), Some("Bearer abc.def"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.body, r#"{"name":"ä"}"#.as_bytes());
    let forged = Outbound::get("/").with_bearer(Some(Secret::new("a\r\nHost: b")));
    let refused = Connection::dial_request(None, "backend", &forged, clock(), &limits()).err();
    assert_eq!(refused, Some(StreamFault::Destination));
}
