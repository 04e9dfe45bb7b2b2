//! Who is let in: by a token, by a backend, or not at all.

use super::*;
use crate::config::Secret;
use crate::token::{NumericDate, Token, TokenKeys};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const JWT: &str =
    "auth.publish=jwt\nauth.play=jwt\nauth.jwt.key=0123456789abcdef0123456789abcdef\n";
/// A token that is good for so many seconds, beyond the skew.
fn token(site: &Site, seconds: u64, claims: Value) -> Option<Secret> {
    let skew = site.bench.config.limits.token_skew_max;
    let end = site.bench.clock.unix() + Duration::from_secs(seconds) - skew;
    let expires_at = Some(NumericDate(end));
    let token = Token { issued_at: None, not_before: None, expires_at, claims };
    Some(Secret::new(TokenKeys::new(KEY.as_bytes(), None).sign(&token)))
}

fn with(token: Option<Secret>, id: &str) -> StreamRequest {
    StreamRequest { token, ..wish(id, "cam") }
}

/// Nothing is kept of whom nobody let in.
pub(super) fn empty(site: &Site) {
    let node = &site.node;
    assert!(node.streams.is_empty() && node.names.is_empty() && node.plays.is_empty());
    assert!(node.held.is_empty());
    assert!(node.waiting.is_empty() && node.peers.is_empty() && node.asked.is_empty());
    assert!(node.sessions.values().all(|session| session.media.is_empty()));
    assert_eq!((node.questions(), node.timers.len()), (0, 0));
    assert!(site.media.is_empty(), "{:?}", site.media);
}

fn refused(event: &Event) -> Option<&str> {
    if let Event::Refused { why, .. } = event { Some(why) } else { None }
}

pub(super) fn denied(site: &Site) -> Vec<&str> {
    site.events.iter().filter_map(refused).collect()
}

#[test]
fn a_token_lets_a_publisher_and_a_viewer_in() {
    let mut site = Site::with(JWT, None, Limits::default());
    let (publisher, viewer) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
    let publishes = token(&site, 60, json!({ "role": "publish", "streams": ["cam"] }));
    site.ask(publisher, Request::Publish(with(publishes, "P")));
    site.finish(video("vp8"));
    assert_eq!(site.status(publisher, "P").0, "PUBLISHING");
    let plays = token(&site, 60, json!({ "role": "play" }));
    site.ask(viewer, Request::Play(with(plays, "V")));
    site.finish(video("vp8"));
    assert_eq!(site.status(viewer, "V").0, "PLAYING");
}

#[test]
fn a_lost_publisher_is_whom_its_token_names_wherever_it_comes_from() {
    let in_use = "Stream name is already in use";
    for (before, now, address, expected) in [
        (json!({ "sub": "ann" }), json!({ "sub": "ann" }), "10.9.9.9", ""),
        (json!({ "sub": "ann" }), json!({ "sub": "bob" }), "10.0.0.1", in_use),
        (json!({ "sub": "ann" }), json!({}), "10.0.0.1", in_use),
        (json!({}), json!({ "sub": "ann" }), "10.0.0.1", in_use),
        (json!({}), json!({}), "10.0.0.1", ""),
        (json!({}), json!({}), "10.9.9.9", in_use),
    ] {
        let mut site = Site::with(JWT, None, Limits::default());
        let publisher = site.join("10.0.0.1");
        let first = token(&site, 60, before.clone());
        site.ask(publisher, Request::Publish(with(first, "P")));
        site.finish(video("vp8"));
        site.leave(publisher);
        let again = site.join(address);
        let second = token(&site, 60, now.clone());
        site.ask(again, Request::Publish(with(second, "P")));
        assert_eq!(site.status(again, "P").1, expected, "{before} then {now} from {address}");
    }
}

#[test]
fn whoever_has_no_good_token_is_told_why_and_leaves_nothing() {
    let mut site = Site::with(JWT, None, Limits::default());
    let page = site.join("10.0.0.1");
    for (token, info) in [
        (None, "Access token is missing"),
        (token(&site, 0, json!({})), "Access token has expired"),
        (token(&site, 60, json!({ "role": [] })), "Access token does not allow to"),
        (token(&site, 60, json!({ "streams": ["cam2"] })), "Access token is for other streams"),
        (Some(Secret::new("nonsense")), "Access token is not valid"),
        (Some(Secret::new("x".repeat(1 << 16))), "Access token is not valid"),
    ] {
        for (id, request) in [
            ("P", Request::Publish(with(token.clone(), "P"))),
            ("V", Request::Play(with(token.clone(), "V"))),
        ] {
            site.ask(page, request);
            let (status, told) = site.status(page, id);
            assert_eq!(status, "FAILED");
            assert!(told.starts_with(info), "{told}");
            let why = denied(&site).last().copied().unwrap_or_default();
            assert!(!why.is_empty() && !why.contains("nonsense"), "{why}");
            empty(&site);
        }
    }
}

#[test]
fn the_session_s_token_counts_where_a_stream_has_none() {
    let mut site = Site::with(JWT, None, Limits::default());
    let own = token(&site, 60, json!({ "streams": ["cam"] })).unwrap();
    let custom = json!({ "custom": { "token": own.reveal() } });
    let greeting = json!({ "message": "connection", "data": [custom] }).to_string();
    let page = site.join_as("10.0.0.1", &greeting);
    site.live(page, "P", "cam");
    assert_eq!(site.status(page, "P").0, "PUBLISHING");
    site.publish(page, "Q", "other");
    assert_eq!(site.status(page, "Q"), said("FAILED", "Access token is for other streams"));
    // One that is worse, but nearer, counts.
    site.ask(page, Request::Play(with(Some(Secret::new("x")), "V")));
    assert_eq!(site.status(page, "V"), said("FAILED", "Access token is not valid"));
}

#[test]
fn only_whoever_may_play_a_stream_is_told_that_it_is_there() {
    let mut site = Site::with(JWT, None, Limits::default());
    let (page, other) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
    let own = token(&site, 60, json!({}));
    site.ask(page, Request::Publish(with(own, "P")));
    site.finish(video("vp8"));
    let ask = Request::Available { media_session: "A".into(), name: "cam".into() };
    site.ask(other, ask);
    let answer = site.told(other).pop().unwrap();
    assert_eq!(answer["data"][0]["status"], "false");
    assert_eq!(answer["data"][0]["info"], "Access token is missing");
}

#[test]
fn a_viewer_s_stream_ends_with_its_token() {
    let mut site = Site::with(JWT, None, Limits::default());
    let page = site.join("10.0.0.1");
    let (long, short) = (token(&site, 600, json!({})), token(&site, 10, json!({})));
    site.ask(page, Request::Publish(with(long.clone(), "P")));
    site.finish(video("vp8"));
    for (id, token) in [("A", short), ("B", long)] {
        site.ask(page, Request::Play(with(token, id)));
        site.finish(video("vp8"));
    }
    site.wait_ms(9_999);
    assert_eq!(site.status(page, "A").0, "PLAYING");
    site.wait_ms(1);
    assert_eq!(site.status(page, "A"), said("FAILED", "Access token has expired"));
    assert_eq!(site.status(page, "B").0, "PLAYING");
    assert_eq!(denied(&site), ["the token has expired"]);
    site.stop(page, "B");
    site.stop(page, "P");
    site.media.clear();
    empty(&site);
}

#[test]
fn a_publisher_s_stream_ends_with_its_token_for_its_viewers_too() {
    let mut site = Site::with(JWT, None, Limits::default());
    let page = site.join("10.0.0.1");
    let (long, short) = (token(&site, 600, json!({})), token(&site, 10, json!({})));
    site.ask(page, Request::Publish(with(short, "P")));
    site.finish(video("vp8"));
    site.ask(page, Request::Play(with(long.clone(), "V")));
    site.finish(video("vp8"));
    site.wait_ms(10_000);
    assert_eq!(site.status(page, "P"), said("FAILED", "Access token has expired"));
    assert_eq!(site.status(page, "V"), said("FAILED", "Stopped by publisher stop"));
    site.media.clear();
    empty(&site);
    site.ask(page, Request::Publish(with(long, "P")));
    site.finish(video("vp8"));
    site.wait_ms(20_000);
    assert_eq!(site.status(page, "P").0, "PUBLISHING", "the name is free, the old end forgotten");
}

#[test]
fn a_token_ends_a_stream_that_is_not_up_yet_and_none_that_is_over() {
    let mut site = Site::with(&format!("{JWT}play.wait=60000\n"), None, Limits::default());
    let page = site.join("10.0.0.1");
    let short = token(&site, 2, json!({}));
    site.ask(page, Request::Play(with(short.clone(), "V")));
    site.ask(page, Request::Publish(with(short.clone(), "P")));
    site.wait_ms(2_000);
    for id in ["V", "P"] {
        assert_eq!(site.status(page, id), said("FAILED", "Access token has expired"));
    }
    site.media.clear();
    empty(&site);
    let short = token(&site, 2, json!({}));
    site.ask(page, Request::Publish(with(short, "P")));
    site.stop(page, "P");
    site.media.clear();
    empty(&site);
}

#[test]
fn a_link_that_proves_nothing_publishes_nothing_where_publishers_have_to() {
    for properties in [JWT, hooks::HOOK] {
        let mut site = Site::with(properties, None, Limits::default());
        let link = site.link("10.0.0.1", "origin");
        site.publish(link, "P", "cam");
        let refused = said("FAILED", "Links must be authenticated to publish here");
        assert_eq!(site.status(link, "P"), refused);
        empty(&site);
    }
    for properties in [JWT, hooks::HOOK] {
        let mut site = Site::with(properties, None, Limits::default());
        let link = authentication::proven(&mut site, "10.0.0.1", "origin");
        site.live(link, "P", "cam");
        assert_eq!(site.status(link, "P").0, "PUBLISHING");
    }
    let only_play = "auth.play=jwt\nauth.jwt.key=0123456789abcdef0123456789abcdef\n";
    let mut site = Site::with(only_play, None, Limits::default());
    let link = site.link("10.0.0.1", "origin");
    site.live(link, "P", "cam");
    assert_eq!(site.status(link, "P").0, "PUBLISHING");
}

#[test]
fn the_log_is_not_filled_with_refusals() {
    let limits = Limits { denial_interval: Duration::from_secs(3), ..Limits::default() };
    let mut site = Site::with(JWT, None, limits);
    let page = site.join("10.0.0.1");
    for _ in 0..10 {
        site.play(page, "V", "cam");
        site.wait_ms(1_000);
    }
    let noted = site.events.iter().filter(|event| matches!(event, Event::Denied { .. })).count();
    assert_eq!((denied(&site).len(), noted), (10, 4));
}
