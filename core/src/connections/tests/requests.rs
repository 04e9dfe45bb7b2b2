//! What is answered over HTTP.

use super::*;
use crate::ShardMessage;
use crate::message::{Door, ToConnection};
use crate::stream::http::Response;

fn status(response: &str) -> &str {
    response.get(9..12).unwrap_or(response)
}

fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let head = response.split("\r\n\r\n").next().unwrap();
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn paths_lead_where_the_pages_are() {
    let mut server = Server::new();
    let player = "/client2/examples/demo/streaming/embed_player/player.html";
    for (path, status_wanted, location) in [
        ("/", "302", Some("/client2/".to_owned())),
        ("/embed_player", "302", Some(player.to_owned())),
        (
            "/embed_player?urlServer=wss://e:8443&streamName=a%20b",
            "302",
            Some(format!("{player}?urlServer=wss://e:8443&streamName=a%20b")),
        ),
        ("/client2/", "200", None),
        ("/client2/missing.html", "404", None),
        ("/nothing", "404", None),
    ] {
        let response = server.get(path);
        assert_eq!(status(&response), status_wanted, "{path}: {response}");
        assert_eq!(header(&response, "location"), location.as_deref(), "{path}");
    }
    assert_eq!(body(&server.get("/client2/")), "<p>hello");
}

#[test]
fn only_get_and_head_are_answered() {
    let mut server = Server::new();
    for method in ["POST", "OPTIONS"] {
        let conn = server.connect();
        let request = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let response = server.ask(conn, &request);
        assert_eq!((status(&response), header(&response, "allow")), ("405", Some("GET, HEAD")));
    }
    let conn = server.connect();
    let response = server.ask(conn, "HEAD /client2/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((status(&response), body(&response)), ("200", ""));
    let conn = server.connect();
    let response = server.ask(conn, "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(["405", "501"].contains(&status(&response)), "{response}");
}

#[test]
fn a_folder_of_pages_is_found_without_its_slash() {
    let mut server = Server::new();
    for (path, location) in [("/", "/client2/"), ("/client2", "/client2/")] {
        let response = server.get(path);
        assert_eq!(header(&response, "location"), Some(location), "{path}: {response}");
    }
    assert_eq!(status(&server.get("/client2/")), "200");
}

#[test]
fn a_server_is_always_listed() {
    let mut server = Server::new();
    for path in ["/?action=server_list", "/client2/any?action=server_list&streamName=cam"] {
        let response = server.get(path);
        assert_eq!(status(&response), "200");
        assert_eq!(header(&response, "access-control-allow-origin"), Some("*"));
        let listed = json(body(&response));
        assert_eq!(listed["server"], "edge.example");
        assert_eq!((&listed["ws"], &listed["flash"]), (&8080.into(), &0.into()));
    }
    let conn = server.connect();
    let request = "GET /?action=server_list HTTP/1.1\r\nHost: [2001:db8::1]:8081\r\n\r\n";
    let response = server.ask(conn, request);
    assert_eq!(json(body(&response))["server"], "[2001:db8::1]");
}

#[test]
fn a_callback_must_be_the_name_of_a_function() {
    let mut server = Server::new();
    let response = server.get("/?action=server_list&callback=jQuery.cb_$1");
    assert!(body(&response).starts_with("jQuery.cb_$1({"), "{response}");
    assert!(header(&response, "content-type").unwrap().starts_with("text/javascript"));
    let long = "a".repeat(129);
    for bad in ["", "alert(1);x", "a-b", "%3Cscript%3E", &long] {
        let response = server.get(&format!("/?action=server_list&callback={bad}"));
        assert_eq!(status(&response), "400", "{bad}");
        assert!(!body(&response).contains("script>"), "{response}");
    }
}

#[test]
fn statistics_are_told() {
    let mut server = Server::new();
    server.hear(Input::Command(Command::CpuLoad(37)));
    server.page();
    let response = server.get("/?action=stat");
    assert_eq!(header(&response, "access-control-allow-origin"), Some("*"));
    for line in ["connections=1", "systemCpuLoad=37", "calls=0"] {
        assert!(body(&response).lines().any(|other| other == line), "{line}: {response}");
    }
}

#[test]
fn statistics_are_the_operators_where_there_is_a_token() {
    let mut server = Server::with("admin.token=0123456789abcdef", |_| {});
    for (target, fields, expected) in [
        ("/?action=stat", "", "401"),
        ("/?action=stat&token=0123456789abcdeF", "", "401"),
        ("/?action=stat&token=0123456789abcdef", "", "200"),
        ("/?action=stat", "Authorization: Bearer 0123456789abcdef\r\n", "200"),
        ("/?action=server_list", "", "200"),
    ] {
        let conn = server.connect_on([192, 0, 2, 1]);
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let response = server.ask(conn, &request);
        assert_eq!(status(&response), expected, "{target} {fields}");
        let challenge = (expected == "401").then_some("Bearer");
        assert_eq!(header(&response, "www-authenticate"), challenge, "{target} {fields}");
        assert!(!response.contains("0123456789abcdef"), "{response}");
    }
    for (host, fields, expected) in [
        ("localhost:8081", "", "200"),
        ("localhost:8081", "Origin: https://evil.example\r\n", "401"),
        ("evil.example:8081", "", "401"),
    ] {
        let conn = server.connect_on([127, 0, 0, 1]);
        let request = format!("GET /?action=stat HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        assert_eq!(status(&server.ask(conn, &request)), expected, "{host} {fields}");
    }
}

#[test]
fn a_guess_of_the_token_costs_a_connection() {
    let mut server = Server::with("admin.token=0123456789abcdef", |_| {});
    for target in ["GET /?action=stat&token=wrong", "POST /rest-api/cdn/enforce_node_state"] {
        let conn = server.connect_on(AFAR);
        let guess = format!("{target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let answers = server.ask(conn, &guess.repeat(3));
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        assert_eq!(header(&answers, "connection"), Some("close"), "{answers}");
        assert!(server.is_closed(conn).is_some());
    }
}

#[test]
fn pages_that_may_not_connect_may_not_read_either() {
    let asked = |properties: &str, origin: &str| {
        let mut server = Server::with(properties, |_| {});
        let conn = server.connect();
        let origin = format!("Host: x\r\n{origin}\r\n");
        let response = server.ask(conn, &format!("GET /?action=server_list HTTP/1.1\r\n{origin}"));
        assert_eq!(status(&response), "200", "the balancer is everybody's");
        let header = |name| header(&response, name).map(str::to_owned);
        (header("access-control-allow-origin"), header("vary"))
    };
    let (all, varies) = (Some("*".to_owned()), Some("Origin".to_owned()));
    assert_eq!(asked("", "Origin: https://any.org\r\n"), (all.clone(), None));
    assert_eq!(asked("allow_domains=", ""), (all, None));
    let some = "allow_domains=*.a.com";
    let own = Some("https://www.a.com:8888".to_owned());
    assert_eq!(asked(some, "Origin: https://www.a.com:8888\r\n"), (own, varies.clone()));
    for origin in ["Origin: https://evil.com\r\n", "Origin: null\r\n", ""] {
        assert_eq!(asked(some, origin), (None, varies.clone()), "{origin}");
    }
}

#[test]
fn pages_say_what_they_may_load_and_who_may_frame_them() {
    let mut server = Server::with("", |config| config.pages = Pages::built_in());
    let player = "/client2/examples/demo/streaming/embed_player/player.html";
    for (path, may_frame) in [("/client2/", "'self'"), (player, "*")] {
        let response = server.get(path);
        assert_eq!(status(&response), "200", "{path}");
        let policy = header(&response, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.ends_with(&format!("frame-ancestors {may_frame}")), "{policy}");
        assert_eq!(header(&response, "referrer-policy"), Some("no-referrer"));
        assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
    }
    let own = Server::new().get("/client2/");
    assert_eq!(header(&own, "content-security-policy"), None, "an operator's pages are its own");
}

#[test]
fn requests_sent_ahead_are_answered_in_turn() {
    let mut server = Server::new();
    let conn = server.connect();
    let one = "GET /?action=stat HTTP/1.1\r\nHost: x\r\n\r\n";
    let two = "GET /client2/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let answers = server.ask(conn, &[one, two, one].concat());
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3, "{answers}");
    assert!(answers.find("<p>hello") > answers.find("calls="), "{answers}");
}

#[test]
fn a_node_that_does_not_answer_its_shard_is_said_so() {
    let limits = Limits { answer_timeout: 3 * SECOND, ..Limits::default() };
    let mut server = Server::shard(ShardId(1), "", |config| config.limits = limits);
    let conn = server.connect();
    assert_eq!(server.ask(conn, "GET /?action=stat HTTP/1.1\r\nHost: x\r\n\r\n"), "");
    assert!(matches!(&server.posted[..], [Message::Node(_)]));
    server.wait(3 * SECOND - Duration::from_millis(50));
    assert_eq!(server.written(conn), b"");
    server.wait(Duration::from_millis(50));
    let response = String::from_utf8(server.written(conn)).unwrap();
    assert_eq!(status(&response), "503");
    assert_eq!(server.is_closed(conn), None);
}

const STAT: &str = "GET /?action=stat HTTP/1.1\r\nHost: x\r\n\r\n";

/// A shard whose question the node has not answered in time.
fn given_up() -> (Server, ConnId) {
    let limits = Limits { answer_timeout: SECOND, ..Limits::default() };
    let mut server = Server::shard(ShardId(1), "", |config| config.limits = limits);
    let conn = server.connect();
    assert_eq!(server.ask(conn, STAT), "");
    server.wait(SECOND);
    let response = String::from_utf8(server.written(conn)).unwrap();
    assert_eq!(status(&response), "503");
    (server, conn)
}

/// The node answers a question of the shard.
fn respond(server: &mut Server, conn: ConnId, text: &str) {
    let response = Response::ok("text/plain", text.as_bytes().to_vec());
    let word = ToConnection::Respond(Box::new(response));
    let message = ShardMessage(Message::Connection { conn, word });
    server.hear(Input::Message { from: ShardId::NODE, message });
}

#[test]
fn an_answer_that_comes_too_late_answers_nothing() {
    let (mut server, conn) = given_up();
    respond(&mut server, conn, "late");
    assert_eq!(server.written(conn), b"");
    let page = server.ask(conn, "GET /client2/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(body(&page), "<p>hello");
}

#[test]
fn an_answer_that_comes_too_late_is_not_the_next_ones() {
    let (mut server, conn) = given_up();
    assert_eq!(server.ask(conn, STAT), "");
    respond(&mut server, conn, "late");
    assert_eq!(server.written(conn), b"");
    respond(&mut server, conn, "in time");
    let response = String::from_utf8(server.written(conn)).unwrap();
    assert_eq!((status(&response), body(&response)), ("200", "in time"));
}

#[test]
fn an_answer_that_comes_too_late_leaves_a_dialogue_alone() {
    let (mut server, conn) = given_up();
    let answer = server.ask(conn, &format!("{UPGRADE}\r\n"));
    assert_eq!(status(&answer), "101");
    server.say(conn, r#"{"message":"connection","data":[{}]}"#);
    respond(&mut server, conn, "late");
    assert_eq!(server.written(conn), b"");
    let told = server.say(conn, r#"{"message":"ping","data":[null]}"#);
    assert_eq!(json(&told[0])["message"], "pong");
    assert_eq!(server.is_closed(conn), None);
}

#[test]
fn who_does_not_get_to_the_point_is_cut_off() {
    let limits = Limits { handshake_timeout: 2 * SECOND, ..Limits::default() };
    let mut server = Server::bounded(limits);
    let conn = server.connect();
    for _ in 0..19 {
        server.receive(conn, b"G");
        server.wait(Duration::from_millis(100));
    }
    assert_eq!(server.is_closed(conn), None);
    server.wait(Duration::from_millis(100));
    assert_eq!(server.is_closed(conn), Some(Linger::Abort), "trickling does not help");
}

/// What TLS says in its handshake is written too.
#[test]
fn what_is_said_before_the_first_answer_gives_nobody_more_time() {
    let limits = Limits { handshake_timeout: 2 * SECOND, ..Limits::default() };
    let mut server = Server::bounded(limits);
    let conn = server.connect();
    server.wait(SECOND);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(server.ask(conn, head), "HTTP/1.1 100 Continue\r\n\r\n");
    server.wait(SECOND - Duration::from_millis(50));
    assert_eq!(server.is_closed(conn), None);
    server.wait(Duration::from_millis(50));
    assert_eq!(server.is_closed(conn), Some(Linger::Abort));
}

#[test]
fn who_reads_a_page_slowly_does_not_idle() {
    let page = vec![b'x'; 100_000];
    let limits = Limits { http_idle_timeout: 2 * SECOND, ..Limits::default() };
    let mut server = Server::with("", |config| {
        config.limits = limits;
        config.pages = Pages::from_files([("client2/long.html".to_owned(), page.clone())]);
    });
    let conn = server.connect();
    server.receive(conn, b"GET /client2/long.html HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut read = 0;
    while !server.shard.outgoing(conn).is_empty() {
        let piece = server.shard.outgoing(conn).len().min(10_000);
        server.shard.wrote(conn, piece);
        read += piece;
        server.wait(SECOND);
    }
    assert!(read > page.len(), "{read}");
    server.wait(SECOND - Duration::from_millis(50));
    assert_eq!(server.is_closed(conn), None);
    server.wait(Duration::from_millis(50));
    assert_eq!(server.is_closed(conn), Some(Linger::Abort));
}

#[test]
fn who_idles_between_requests_is_cut_off() {
    let limits = Limits { http_idle_timeout: 5 * SECOND, ..Limits::default() };
    let mut server = Server::bounded(limits);
    let conn = server.connect();
    for _ in 0..4 {
        let response = server.ask(conn, "GET /client2/ HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(status(&response), "200");
        server.wait(4 * SECOND);
    }
    server.wait(SECOND);
    assert_eq!(server.is_closed(conn), Some(Linger::Abort));
}

#[test]
fn nonsense_is_answered_and_then_over() {
    let mut server = Server::new();
    let conn = server.connect();
    let response = server.ask(conn, "\x16\x03\x01 what\r\n\r\n");
    assert_eq!(status(&response), "400", "{response}");
    assert_eq!(server.is_closed(conn), Some(Linger::Flush));
    assert_eq!(server.refusals().len(), 1);
}

#[test]
fn connections_are_bounded() {
    let mut server = Server::bounded(Limits { connections_max: 2, ..Limits::default() });
    let [one, two, three] = [server.connect(), server.connect(), server.connect()];
    assert_eq!(server.closed, [(three, Linger::Abort)]);
    server.hear(Input::Closed { conn: one, cause: crate::Hangup::Eof });
    let four = server.connect();
    assert_eq!((server.is_closed(two), server.is_closed(four)), (None, None));
}

/// A request of the REST interface, from afar or over loopback.
fn rest(server: &mut Server, local: [u8; 4], method: &str, fields: &str, body: &str) -> String {
    let conn = server.connect_on(local);
    let length = body.len();
    let request = format!(
        "{method} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    );
    server.ask(conn, &request)
}

const AFAR: [u8; 4] = [192, 0, 2, 1];
const HERE: [u8; 4] = [127, 0, 0, 1];
const ENFORCE: &str = "POST /rest-api/cdn/enforce_node_state";
const RELOAD: &str = "POST /rest-api/cdn/reload_settings";

#[test]
fn a_node_is_taken_out_of_service_and_put_back() {
    let mut server = Server::with("admin.token=0123456789abcdef", |_| {});
    let bearer = "Authorization: Bearer 0123456789abcdef\r\n";
    for (body, state) in [
        (r#"{"state":"PASSIVE"}"#, "PASSIVE"),
        (r#"{"state":"ACTIVE"}"#, "ACTIVE"),
        (r#" {"state": "PASSIVE", "id": "edge1"}"#, "PASSIVE"),
        ("", "ACTIVE"),
    ] {
        for local in [AFAR, HERE] {
            let fields = if local == AFAR { bearer } else { "" };
            let response = rest(&mut server, local, ENFORCE, fields, body);
            assert_eq!(
                (status(&response), header(&response, "content-type")),
                ("200", Some("application/json"))
            );
            assert_eq!(json(self::body(&response)), serde_json::json!({ "state": state }));
            for shown in ["GET", "POST"] {
                let method = format!("{shown} /rest-api/cdn/show_node_state");
                let response = rest(&mut server, local, &method, fields, "");
                assert_eq!(json(self::body(&response))["state"], state);
            }
        }
    }
    let told = [false, true, false, true].map(Event::Accepting);
    assert_eq!(server.events, told);
}

#[test]
fn whoever_may_not_take_a_node_out_of_service_is_told_why() {
    let passive = r#"{"state":"PASSIVE"}"#;
    for properties in ["", "admin.token=0123456789abcdef"] {
        let mut server = Server::with(properties, |_| {});
        for (local, method, fields, body, expected) in [
            (AFAR, ENFORCE, "", passive, "401"),
            (AFAR, ENFORCE, "Authorization: Bearer 0123456789abcdeg\r\n", passive, "401"),
            (HERE, ENFORCE, "Origin: http://localhost\r\n", passive, "401"),
            (HERE, "GET /rest-api/cdn/enforce_node_state", "", "", "405"),
            (HERE, "OPTIONS /rest-api/cdn/enforce_node_state", "", "", "405"),
            (HERE, "OPTIONS /rest-api/cdn/show_node_state", "", "", "405"),
            (AFAR, RELOAD, "", "", "401"),
            (AFAR, RELOAD, "Authorization: Bearer 0123456789abcdeg\r\n", "", "401"),
            (HERE, RELOAD, "Origin: http://localhost\r\n", "", "401"),
            (HERE, "GET /rest-api/cdn/reload_settings", "", "", "405"),
            (HERE, ENFORCE, "", r#"{"state":"passive"}"#, "400"),
            (HERE, ENFORCE, "", "{}", "400"),
            (HERE, ENFORCE, "", "state=PASSIVE", "400"),
            (HERE, "POST /rest-api/cdn/show_nodes", "", "", "404"),
            (HERE, "GET /rest-api/", "", "", "404"),
        ] {
            let response = rest(&mut server, local, method, fields, body);
            assert_eq!(status(&response), expected, "{method} {fields:?} {body:?}: {response}");
            let told = json(self::body(&response));
            assert_eq!(told["code"], expected.parse::<u16>().unwrap());
            assert!(told["reason"].as_str().unwrap().ends_with('.'), "{told}");
        }
        let shown = rest(&mut server, HERE, "GET /rest-api/cdn/show_node_state", "", "");
        assert_eq!(json(body(&shown))["state"], "ACTIVE");
        assert_eq!(server.wishes, 0);
    }
}

#[test]
fn whoever_has_settings_read_again_is_told_what_came_of_it() {
    let mut server = Server::new();
    let request = format!("{RELOAD} HTTP/1.1\r\nHost: [::1]:8081\r\nContent-Length: 0\r\n\r\n");
    let asked = [server.connect(), server.connect()];
    let told = |server: &mut Server, wish, outcome| {
        server.hear(Input::Command(Command::Reloaded { wish, outcome }));
        asked.map(|conn| String::from_utf8(server.written(conn)).unwrap())
    };
    for (outcome, expected) in
        [(Ok(()), ("200", "NEW")), (Err("a.xml:3: not a number".into()), ("409", ""))]
    {
        let before = server.wishes;
        for conn in asked {
            assert_eq!(server.ask(conn, &request), "", "before anybody read them");
        }
        server.hear(Input::Command(Command::Reload(Arc::new(server.bench.config.clone()))));
        assert_eq!(told(&mut server, before, outcome.clone()), ["", ""], "of what was read before");
        let newest = server.wishes;
        for response in told(&mut server, newest, outcome.clone()) {
            let told = json(body(&response));
            let settings = told["settings"].as_str().unwrap_or_default();
            assert_eq!((status(&response), settings), expected);
            if expected.0 == "409" {
                assert_eq!(told["reason"], "The old settings stay: a.xml:3: not a number.");
            }
        }
    }
    assert_eq!(server.wishes, 4);
    // Not everybody who has them read again asked for it here.
    assert_eq!(told(&mut server, 4, Ok(())), ["", ""]);
}

#[test]
fn whoever_asks_while_settings_are_read_is_told_of_the_next_reading() {
    let mut server = Server::new();
    let request = format!("{RELOAD} HTTP/1.1\r\nHost: [::1]:8081\r\nContent-Length: 0\r\n\r\n");
    let [early, late] = [server.connect(), server.connect()];
    server.ask(early, &request);
    let wish = server.wishes;
    server.ask(late, &request);
    server.hear(Input::Command(Command::Reloaded { wish, outcome: Ok(()) }));
    let statuses = |server: &mut Server| {
        [early, late]
            .map(|conn| status(&String::from_utf8(server.written(conn)).unwrap()).to_owned())
    };
    assert_eq!(statuses(&mut server), ["200", ""]);
    let outcome = Err("x".into());
    server.hear(Input::Command(Command::Reloaded { wish: wish + 1, outcome }));
    assert_eq!(statuses(&mut server), ["", "409"]);
}

#[test]
fn a_node_that_is_about_to_end_reads_no_settings() {
    let mut server = Server::shard(ShardId(1), "", |_| {});
    let conn = server.connect();
    let message = ShardMessage(Message::Door(Door::Draining));
    server.hear(Input::Message { from: ShardId::NODE, message });
    let request = format!("{RELOAD} HTTP/1.1\r\nHost: [::1]:8081\r\nContent-Length: 0\r\n\r\n");
    let response = server.ask(conn, &request);
    assert_eq!(status(&response), "409", "{response}");
    assert_eq!(server.wishes, 0);
}

#[test]
fn settings_that_nobody_reads_are_not_waited_for() {
    let mut server = Server::new();
    let conn = server.connect();
    let request = format!("{RELOAD} HTTP/1.1\r\nHost: [::1]:8081\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(server.ask(conn, &request), "");
    server.bench.now += server.bench.config.limits.answer_timeout;
    server.hear(Input::Timeout);
    let response = String::from_utf8(server.written(conn)).unwrap();
    assert_eq!(status(&response), "503");
    // What comes of it later is no answer to what is asked since.
    let stat = server.ask(conn, "GET /?action=stat HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(&stat), "200");
    server.hear(Input::Command(Command::Reloaded { wish: 1, outcome: Ok(()) }));
    assert_eq!(server.written(conn), b"");
}
