//! Who may open a link: by a token where there is a key, and anybody elsewhere.

use super::*;
use crate::config::TokenKeys;
use crate::message::{ToConnection, ToNode};
use crate::token::LinkRefusal;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const NEXT: &str = "fedcba9876543210fedcba9876543210";
/// When it is at a [`Server`]'s start.
const UNIX: Duration = Duration::from_secs(784_111_777);

fn keyed() -> Server {
    Server::with(&format!("cdn_auth_key={KEY}\n"), |_| {})
}

/// A token as an origin makes it that has this key, and takes it to be then.
fn token(key: &str, nonce: &str, unix: Duration) -> String {
    let keys = TokenKeys::new(key.as_bytes(), None);
    keys.sign_link("origin", "x", nonce.to_owned(), unix, &Limits::default())
}

fn with_token(token: &str) -> String {
    format!("{UPGRADE}Authorization: Bearer {token}\r\n\r\n")
}

/// Asks for a link with this token; the connection, and the answer.
fn knock(server: &mut Server, token: &str) -> (ConnId, String) {
    let conn = server.connect();
    let answer = server.ask(conn, &with_token(token));
    (conn, answer)
}

fn hello() -> String {
    crate::signal::connection("claimed")
}

fn counts_links(server: &mut Server, wanted: usize) {
    let stat = server.get("/?action=stat");
    assert!(stat.contains(&format!("\nconnections_link={wanted}\n")), "{stat}");
}

#[test]
fn a_link_with_a_token_is_taken_once() {
    let mut server = keyed();
    let token = token(KEY, "n", UNIX);
    let (link, answer) = knock(&mut server, &token);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(server.say(link, &hello())[0].contains("getUserData"));
    counts_links(&mut server, 1);
    let (replay, answer) = knock(&mut server, &token);
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nthe token was used before\n"), "{answer}");
    let challenge = "WWW-Authenticate: Bearer error=\"invalid_token\", \
                     error_description=\"the token was used before\"\r\n";
    assert!(answer.contains(challenge), "{answer}");
    assert_eq!(server.link_refusals(), ["the token was used before"]);
    assert_eq!(server.is_closed(replay), None, "HTTP goes on");
    assert!(server.say(link, &crate::signal::ping())[0].contains("pong"), "and so does the link");
    assert!(!format!("{:?}", server.events).contains(&token));
}

#[test]
fn a_link_with_a_token_pushes_all_that_its_origin_has_at_once_and_plays_nothing() {
    let properties = format!("cdn_auth_key={KEY}\naddress.joins_per_second=1\n");
    let mut server = Server::with(&properties, |_| {});
    let (link, _) = knock(&mut server, &token(KEY, "n", UNIX));
    server.say(link, &hello());
    let mut ask = |message: &str, n: usize| {
        let stream = format!(r#"{{"mediaSessionId":"{n}","name":"s{n}","sdp":"v=0"}}"#);
        let wish = format!(r#"{{"message":"{message}","data":[{stream}]}}"#);
        server.say(link, &wish).join(" ")
    };
    for n in 0..20 {
        let told = ask("publishStream", n);
        assert!(!told.contains("Too many requests"), "{told}");
    }
    let told: Vec<String> = (100..107).map(|n| ask("playStream", n)).collect();
    for told in &told[..5] {
        assert!(told.contains("Links are for publishing only"), "{told}");
    }
    for told in &told[5..] {
        assert!(told.contains("Too many requests from this address"), "{told}");
    }
}

#[test]
fn a_bad_token_is_refused_with_its_reason_at_both_ends() {
    let minute = Duration::from_secs(60);
    let expired = "the token expired 60 s ago: unless it is an old one, the clock";
    for (token, reason) in [
        (token(NEXT, "n", UNIX), "the token was signed with another key: cdn_auth_key must be"),
        (token(KEY, "n", UNIX - 2 * minute), expired),
        (token(KEY, "n", UNIX + 2 * minute), "the clock of the origin is 120 s ahead of this"),
        ("x".to_owned(), "the token is of no use: it is no JSON Web Token signed with HS256"),
        ("y".repeat(4097), "the token is of no use: it is longer than a token may be"),
    ] {
        let mut server = keyed();
        let (_, answer) = knock(&mut server, &token);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains(&format!("error_description=\"{reason}")), "{answer}");
        let said = server.link_refusals()[0].to_owned();
        assert!(said.starts_with(reason), "{said}");
        assert_eq!(server.refusals(), [&said]);
        assert!(!said.contains(&token), "{said}");
        assert!(!answer.contains(KEY), "{answer}");
    }
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let minute = Duration::from_secs(60);
    let mut server = keyed();
    for unix in [UNIX - minute, UNIX + minute] {
        let (_, answer) = knock(&mut server, &token(KEY, &format!("{unix:?}"), unix));
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    }
}

#[test]
fn a_token_for_another_edge_is_refused() {
    let mut server = keyed();
    let conn = server.connect();
    let request = with_token(&token(KEY, "n", UNIX)).replace("Host: x", "Host: y");
    let answer = server.ask(conn, &request);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let why = server.link_refusals();
    assert!(why[0].starts_with("the token is for another node than Host names"), "{why:?}");
}

#[test]
fn a_link_without_a_token_is_told_what_it_lacks() {
    let mut server = keyed();
    let conn = server.upgrade();
    let told = server.say(conn, &hello());
    let reason = LinkRefusal::Missing.to_string();
    assert_eq!(json(&told[0])["message"], "fail");
    assert_eq!(json(&told[0])["data"][0]["info"], reason);
    assert_eq!(told[1], format!("1008 {reason}"));
    assert_eq!(told.len(), 2, "it is not established");
    assert_eq!(server.link_refusals(), [reason]);
    counts_links(&mut server, 0);
}

#[test]
fn what_came_together_with_a_link_that_is_refused_is_not_looked_at() {
    let properties = format!("cdn_auth_key={KEY}\n");
    let mut server = Server::shard(ShardId(1), &properties, |_| {});
    let conn = server.upgrade();
    let play = r#"{"message":"playStream","data":[{"mediaSessionId":"V","name":"x","sdp":"v=0"}]}"#;
    let both = [hello(), play.to_owned()].map(|text| frame(0x81, text.as_bytes())).concat();
    server.receive(conn, &both);
    let asked = |message: &Message| matches!(message, Message::Node(ToNode::Requested { .. }));
    assert!(!server.posted.iter().any(asked), "the node knows no such session");
    assert_eq!(server.told(conn).len(), 2);
}

#[test]
fn pages_need_no_token_and_may_have_passwords_of_others() {
    let mut server = keyed();
    server.page();
    let conn = server.connect();
    let answer = server.ask(conn, &format!("{UPGRADE}Authorization: Basic eDp5\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(server.refusals(), [] as [&str; 0]);
}

#[test]
fn a_node_without_a_key_takes_every_link() {
    let mut server = Server::new();
    let plain = server.upgrade();
    assert!(server.say(plain, &hello())[0].contains("getUserData"));
    let (link, answer) = knock(&mut server, &token(KEY, "n", UNIX));
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(server.say(link, &hello())[0].contains("getUserData"));
    counts_links(&mut server, 2);
}

#[test]
fn who_shows_a_token_and_is_a_page_is_no_link() {
    let mut server = keyed();
    let (conn, _) = knock(&mut server, &token(KEY, "n", UNIX));
    server.say(conn, r#"{"message":"connection","data":[{}]}"#);
    counts_links(&mut server, 0);
}

#[test]
fn a_node_that_proves_to_be_this_one_is_refused() {
    let mut server = keyed();
    let keys = TokenKeys::new(KEY.as_bytes(), None);
    let itself = keys.sign_link("bench", "x", "n".to_owned(), UNIX, &Limits::default());
    let (conn, _) = knock(&mut server, &itself);
    let told = server.say(conn, &hello());
    let reason = LinkRefusal::Itself.to_string();
    assert_eq!(json(&told[0])["data"][0]["info"], reason);
    assert_eq!(server.link_refusals(), [reason]);
}

#[test]
fn keys_are_changed_one_node_after_the_other() {
    let mut server = keyed();
    let answers = |server: &mut Server, nonce: &str| {
        [KEY, NEXT].map(|key| {
            let (_, answer) = knock(server, &token(key, &format!("{key}{nonce}"), UNIX));
            answer.starts_with("HTTP/1.1 101 ")
        })
    };
    let (link, _) = knock(&mut server, &token(KEY, "n", UNIX));
    server.say(link, &hello());
    assert_eq!(answers(&mut server, "a"), [true, false]);
    for (keys, nonce, expected) in [
        (format!("{KEY},{NEXT}"), "b", [true, true]),
        (format!("{NEXT},{KEY}"), "c", [true, true]),
        (NEXT.to_owned(), "d", [false, true]),
    ] {
        let config = Bench::with(&format!("cdn_auth_key={keys}\n"), None).config;
        server.hear(Input::Command(Command::Reload(Arc::new(config))));
        assert_eq!(answers(&mut server, nonce), expected, "{nonce}");
    }
    assert!(server.say(link, &crate::signal::ping())[0].contains("pong"), "what is up stays up");
}

#[test]
fn links_come_anew_when_there_is_a_key() {
    let mut server = Server::new();
    let page = server.page();
    let plain = server.upgrade();
    server.say(plain, &hello());
    let config = Bench::with(&format!("cdn_auth_key={KEY}\n"), None).config;
    server.hear(Input::Command(Command::Reload(Arc::new(config.clone()))));
    let reason = LinkRefusal::Missing.to_string();
    assert_eq!(server.told(plain)[1], format!("1008 {reason}"));
    assert_eq!(server.is_closed(plain), Some(Linger::Flush));
    assert_eq!(server.link_refusals(), [reason]);
    assert!(server.say(page, &crate::signal::ping())[0].contains("pong"));
    let (link, _) = knock(&mut server, &token(KEY, "n", UNIX));
    server.say(link, &hello());
    server.hear(Input::Command(Command::Reload(Arc::new(config))));
    assert!(server.say(link, &crate::signal::ping())[0].contains("pong"));
    counts_links(&mut server, 1);
}

#[test]
fn strangers_do_not_fill_the_log() {
    let limits = Limits { link_refusal_interval: 5 * SECOND, ..Limits::default() };
    let properties = format!("cdn_auth_key={KEY}\n");
    let mut server = Server::with(&properties, |config| config.limits = limits);
    for _ in 0..5 {
        knock(&mut server, "x");
    }
    assert_eq!((server.link_refusals().len(), server.refusals().len()), (1, 5));
    server.wait(5 * SECOND - Duration::from_millis(50));
    knock(&mut server, "x");
    assert_eq!(server.link_refusals().len(), 1);
    server.wait(Duration::from_millis(50));
    knock(&mut server, "x");
    assert_eq!((server.link_refusals().len(), server.refusals().len()), (2, 7));
}

#[test]
fn another_shard_asks_whether_a_token_was_used() {
    let properties = format!("cdn_auth_key={KEY}\n");
    let mut server = Server::shard(ShardId(1), &properties, |_| {});
    let presented = |server: &mut Server, nonce: &str| {
        let (conn, answer) = knock(server, &token(KEY, nonce, UNIX));
        assert_eq!(answer, "", "the node knows");
        let Some(Message::Node(ToNode::Presented { shard, conn: of, proof })) = server.posted.pop()
        else {
            panic!("nobody is asked")
        };
        assert_eq!((shard, of, proof.nonce.as_str()), (ShardId(1), conn, nonce));
        conn
    };
    let admit = |server: &mut Server, conn, outcome| {
        let word = Message::Connection { conn, word: ToConnection::Admit(outcome) };
        let message = crate::ShardMessage(word);
        server.hear(Input::Message { from: ShardId::NODE, message });
        String::from_utf8(server.written(conn)).unwrap()
    };
    let fresh = presented(&mut server, "a");
    assert!(admit(&mut server, fresh, Ok("origin".to_owned())).starts_with("HTTP/1.1 101 "));
    let used = presented(&mut server, "b");
    let answer = admit(&mut server, used, Err(LinkRefusal::Replayed));
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let late = presented(&mut server, "c");
    server.wait(Limits::default().answer_timeout);
    let answer = String::from_utf8(server.written(late)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(admit(&mut server, late, Ok("origin".to_owned())), "", "it was told already");
}

/// Native players have no other place for theirs than that of a node's.
#[test]
fn the_token_of_a_viewer_is_not_taken_for_a_node_s() {
    let viewer = token(NEXT, "n", UNIX);
    let properties = format!("cdn_auth_key={KEY}\nauth.play=jwt\nauth.jwt.key={NEXT}\n");
    let mut server = Server::with(&properties, |_| {});
    let (page, answer) = knock(&mut server, &viewer);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(server.say(page, r#"{"message":"connection","data":[{}]}"#)[0].contains("getUserData"));
    let ask = r#"{"message":"availableStream","data":[{"mediaSessionId":"A","name":"cam"}]}"#;
    let told = server.say(page, ask);
    assert!(told[0].contains("Stream not found"), "the token counts: {told:?}");
    // A node with another key is none, and is told so.
    let (link, _) = knock(&mut server, &viewer);
    let told = server.say(link, &hello());
    assert!(told[0].contains("the token was signed with another key"), "{told:?}");
    let (_, answer) = knock(&mut server, &"y".repeat(4097));
    assert!(answer.ends_with("The token is longer than 4096 bytes.\n"), "{answer}");
}
