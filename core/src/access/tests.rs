//! What is decided, and by which token.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::limits::Limits;
use crate::signal::{Request as Wish, Session, Step};
use crate::stream::http::{Method, Request};
use crate::tests::Bench;
use crate::token::{NumericDate, Token, TokenKeys};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// A node with this rule for publishing and playing.
fn bench(rule: &str) -> Bench {
    let url = "auth.hook.url=http://127.0.0.1:9000";
    let keys = format!("auth.jwt.key={KEY},{OTHER}");
    Bench::with(&format!("auth.publish={rule}\nauth.play={rule}\n{keys}\n{url}"), None)
}

/// A token that ends so many seconds from now, or before.
fn token(bench: &Bench, key: &str, seconds: i64, claims: Value) -> Secret {
    let ms = Duration::from_secs(seconds.unsigned_abs());
    let now = bench.clock.unix();
    let end = if seconds < 0 { now - ms } else { now + ms };
    let token =
        Token { issued_at: None, not_before: None, expires_at: Some(NumericDate(end)), claims };
    Secret::new(TokenKeys::new(key.as_bytes(), None).sign(&token))
}

/// How it ends; a refusal by what the far side is told.
fn decided(
    bench: &mut Bench,
    act: Act,
    asker: Asker,
    token: Option<&Secret>,
) -> Result<Option<Duration>, String> {
    let now = bench.now;
    match decide(&bench.ctx(), act, asker, "cam", token) {
        Decision::Allow(grant) => Ok(grant.until.map(|until| until - now)),
        Decision::Refuse(refusal) => {
            let secret = token.map_or("nothing", Secret::reveal);
            assert!(!refusal.why.contains(secret) && !refusal.why.is_empty(), "{}", refusal.why);
            Err(refusal.info.text().to_owned())
        }
        Decision::Ask => Err("ask".to_owned()),
    }
}

#[test]
fn an_open_node_asks_nobody_for_anything() {
    let mut bench = Bench::new();
    for asker in [Asker::Page, Asker::Link { authenticated: false }] {
        for act in [Act::Publish, Act::Play] {
            let token = Secret::new("nonsense");
            assert_eq!(decided(&mut bench, act, asker, Some(&token)), Ok(None));
            assert_eq!(decided(&mut bench, act, asker, None), Ok(None));
        }
    }
}

#[test]
fn a_token_allows_what_it_says_for_as_long_as_it_says() {
    let mut bench = bench("jwt");
    let skew = bench.config.limits.token_skew_max;
    let minute = Duration::from_secs(60);
    let until = |claims: Value| (60, KEY, claims);
    let no = |text: &str| Err(text.to_owned());
    for ((seconds, key, claims), publish, play) in [
        (until(json!({})), Ok(Some(minute + skew)), Ok(Some(minute + skew))),
        ((60, OTHER, json!({})), Ok(Some(minute + skew)), Ok(Some(minute + skew))),
        (
            until(json!({ "role": "publish", "streams": ["c*"] })),
            Ok(Some(minute + skew)),
            no("Access token does not allow to play"),
        ),
        (
            until(json!({ "role": ["play"] })),
            no("Access token does not allow to publish"),
            Ok(Some(minute + skew)),
        ),
        (
            until(json!({ "streams": ["cam1", "CAM"] })),
            no("Access token is for other streams"),
            no("Access token is for other streams"),
        ),
        ((-60, KEY, json!({})), no("Access token has expired"), no("Access token has expired")),
        (
            until(json!({ "nbf": bench.clock.unix().as_secs() + 61 })),
            no("Access token is not valid yet"),
            no("Access token is not valid yet"),
        ),
        (
            (60, "another key, as long as the others", json!({})),
            no("Access token is not valid"),
            no("Access token is not valid"),
        ),
        (
            until(json!({ "role": "admin" })),
            no("Access token is not valid"),
            no("Access token is not valid"),
        ),
    ] {
        let token = token(&bench, key, seconds, claims.clone());
        for (act, expected) in [(Act::Publish, publish), (Act::Play, play)] {
            assert_eq!(decided(&mut bench, act, Asker::Page, Some(&token)), expected, "{claims}");
        }
    }
    let missing = decided(&mut bench, Act::Play, Asker::Page, None);
    assert_eq!(missing, no("Access token is missing"));
}

#[test]
fn a_token_whose_end_is_out_of_sight_has_none_here() {
    let mut bench = bench("jwt");
    let mut far = |seconds| {
        let token = token(&bench, KEY, seconds, json!({}));
        decided(&mut bench, Act::Play, Asker::Page, Some(&token))
    };
    assert!(far(10_000_000_000).is_ok());
    assert!(far(i64::MAX / 2).is_ok());
}

#[test]
fn a_backend_is_asked_about_pages() {
    let mut bench = bench("hook");
    for act in [Act::Publish, Act::Play] {
        assert_eq!(decided(&mut bench, act, Asker::Page, None), Err("ask".to_owned()));
    }
}

#[test]
fn links_publish_if_they_are_authenticated() {
    for rule in ["jwt", "hook"] {
        let mut bench = bench(rule);
        let good = token(&bench, KEY, 60, json!({}));
        let mut publish = |authenticated| {
            decided(&mut bench, Act::Publish, Asker::Link { authenticated }, Some(&good))
        };
        assert_eq!(publish(true), Ok(None), "{rule}");
        let refused = Err("Links must be authenticated to publish here".to_owned());
        assert_eq!(publish(false), refused, "{rule}");
    }
    // A link has nothing to play.
    let mut bench = bench("jwt");
    let play = decided(&mut bench, Act::Play, Asker::Link { authenticated: true }, None);
    assert_eq!(play, Err("Access token is missing".to_owned()));
}

#[test]
fn a_token_that_opens_a_websocket_is_not_longer_than_is_kept() {
    let limits = Limits { token_bytes_max: 4, ..Limits::default() };
    assert_eq!(of_upgrade(&upgrade(Some("1234"), None), &limits), Ok(Some(Secret::new("1234"))));
    let told = of_upgrade(&upgrade(None, Some("12345")), &limits);
    assert_eq!(told, Err("The token is longer than 4 bytes.".to_owned()));
    assert_eq!(of_upgrade(&upgrade(None, None), &limits), Ok(None));
}

fn upgrade(query: Option<&str>, bearer: Option<&str>) -> Request {
    let query = query.map(|token| ("token".to_owned(), token.to_owned()));
    let bearer = bearer.map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
    Request {
        method: Method::Get,
        head: false,
        path: "/".to_owned(),
        query_text: String::new(),
        query: query.into_iter().collect(),
        headers: bearer.into_iter().collect(),
        body: Vec::new(),
    }
}

fn step(session: &mut Session, bench: &Bench, message: &str, token: Option<&str>) -> Step {
    let custom = token.map_or(json!("none"), |token| json!({ "token": token }));
    let text = json!({ "message": message, "data": [{ "custom": custom }] }).to_string();
    session.handle(bench.now, &text, "", None, &bench.config.limits).unwrap()
}

proptest! {
    /// Each place has no token, an empty one, or one.
    #[test]
    fn the_most_specific_token_counts(
        places in prop::array::uniform4(prop::option::of("[a-zA-Z0-9._-]{0,12}")),
        publishing: bool,
    ) {
        let bench = Bench::new();
        let [message, connection, query, bearer] = places.each_ref().map(Option::as_deref);
        let mut session = Session::new(bench.now, &bench.config.limits);
        let Step::Establish { greeting, .. } = step(&mut session, &bench, "connection", connection)
        else {
            panic!("a greeting")
        };
        let opened = of_upgrade(&upgrade(query, bearer), &bench.config.limits).unwrap();
        let of_session = of_session(greeting.token, opened);
        let name = if publishing { "publishStream" } else { "playStream" };
        let step = step(&mut session, &bench, name, message);
        let Step::Request(Wish::Publish(request) | Wish::Play(request)) = step else {
            panic!("{step:?}")
        };
        let counts = of_stream(request.token.as_ref(), of_session.as_ref()).map(Secret::reveal);
        let written = places.iter().flatten().map(String::as_str);
        prop_assert_eq!(counts, written.into_iter().find(|token| !token.is_empty()));
    }
}
