//! Links that prove which node they are of, and what only they may do.

use super::*;
use crate::signal::LinkTag;
use crate::token::{LinkProof, TokenKeys};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const NEXT: &str = "fedcba9876543210fedcba9876543210";

fn strict() -> Site {
    Site::with(&format!("cdn_auth_key={KEY}\n"), None, Limits::default())
}

/// A link that proved to be of this node.
pub(super) fn proven(site: &mut Site, address: &str, node: &str) -> SessionId {
    let greeting = Greeting {
        app_key: String::new(),
        client_version: String::new(),
        client_os_version: String::new(),
        client_browser_version: String::new(),
        keep_alive: false,
        link: Some(LinkTag { node: node.to_owned(), proven: true }),
        token: None,
    };
    site.greet(address, Box::new(greeting))
}

fn present(site: &mut Site, nonce: &str, good_for: Duration) -> Result<String, LinkRefusal> {
    let proof = LinkProof { node: "origin".to_owned(), nonce: nonce.to_owned(), good_for };
    let (shard, conn) = (ShardId(1), ConnId::accepted(1));
    site.node.handle(&mut site.bench.ctx(), ToNode::Presented { shard, conn, proof });
    let posted = site.bench.outputs().pop();
    let Some(Output::Post { to, message }) = posted else { panic!("{posted:?}") };
    let Message::Connection { word: ToConnection::Admit(outcome), .. } = message.0 else {
        panic!("{message:?}")
    };
    assert_eq!(to, shard);
    outcome
}

#[test]
fn a_link_shows_a_token_of_its_own_each_time_it_is_dialed() {
    let mut site = Site::of_edges(1, "", Limits::default());
    let keys = TokenKeys::new(KEY.as_bytes(), None);
    site.bench.config.settings.cdn_auth_keys = Some(keys.clone());
    site.edge(1).up = true;
    site.wait_ms(0);
    site.cut(1);
    site.wait_ms(1000);
    let (now, limits) = (site.bench.clock.unix(), Limits::default());
    let nonces = site.edge(1).tokens.clone().into_iter().map(|token| {
        let token = token.expect("there is a key");
        let proof = keys.verify_link(&token, "192.0.2.1:8080", now, &limits).unwrap();
        assert_eq!(proof.node, "bench");
        proof.nonce
    });
    let nonces: Vec<String> = nonces.collect();
    assert_eq!(nonces.len(), 2);
    assert_ne!(nonces[0], nonces[1]);
}

#[test]
fn the_next_dial_goes_by_the_keys_of_now() {
    let mut site = Site::of_edges(1, "", Limits::default());
    site.edge(1).up = true;
    site.wait_ms(0);
    let old = TokenKeys::new(KEY.as_bytes(), None);
    let rotating = TokenKeys::new(NEXT.as_bytes(), Some(KEY.as_bytes()));
    for keys in [&old, &rotating] {
        site.bench.config.settings.cdn_auth_keys = Some(keys.clone());
        site.node.reload(&mut site.bench.ctx());
        site.cut(1);
        site.wait_ms(1000);
    }
    let now = site.bench.clock.unix();
    let tokens = site.edge(1).tokens.clone();
    let [None, Some(first), Some(second)] = &tokens[..] else { panic!("{tokens:?}") };
    let new = TokenKeys::new(NEXT.as_bytes(), None);
    let verify = |keys: &TokenKeys, token| {
        keys.verify_link(token, "192.0.2.1:8080", now, &Limits::default()).map(|proof| proof.node)
    };
    assert_eq!(verify(&old, first), Ok("bench".to_owned()));
    assert_eq!(verify(&new, second), Ok("bench".to_owned()), "the first key signs");
    assert_eq!(verify(&old, second), Err(LinkRefusal::Key));
}

#[test]
fn the_reason_of_a_refusal_is_in_the_origins_log() {
    let limits = Limits { poll_interval: Duration::from_secs(100_000), ..Limits::default() };
    let mut site = Site::of_edges(1, "", limits);
    *site.edge(1) = Edge { up: true, refusal: Some("it was used before"), ..Edge::default() };
    site.wait_ms(5_000);
    let why = "192.0.2.1 port 8080: the far side refused the link: it was used before".to_owned();
    assert_eq!(site.events, [Event::LinkDown { node: 1, why }], "once");
    site.edge(1).refusal = None;
    site.wait_ms(1_000);
    assert_eq!(site.events[1..], [Event::LinkUp { node: 1 }]);
}

#[test]
fn a_refusal_is_news_of_a_link_that_was_down_for_another_reason() {
    let limits = Limits { poll_interval: Duration::from_secs(100_000), ..Limits::default() };
    let mut site = Site::of_edges(1, "", limits);
    site.wait_ms(1_000);
    *site.edge(1) = Edge { up: true, refusal: Some("another key"), ..Edge::default() };
    site.wait_ms(5_000);
    site.edge(1).up = false;
    site.wait_ms(5_000);
    let down = |why: &str| Event::LinkDown { node: 1, why: format!("192.0.2.1 port 8080: {why}") };
    let refused = down("the far side refused the link: another key");
    assert_eq!(site.events, [down("nobody listens there"), refused.clone()]);
    *site.edge(1) = Edge { up: true, ..Edge::default() };
    site.wait_ms(1_000);
    site.edge(1).refusal = Some("another key");
    site.cut(1);
    site.wait_ms(5_000);
    let lines = [Event::LinkUp { node: 1 }, down("the connection broke"), refused];
    assert_eq!(site.events[2..], lines, "once for each time that it is down");
}

#[test]
fn so_is_what_an_edge_says_to_a_link_without_a_token() {
    let mut site = Site::of_edges(1, "", Limits::default());
    *site.edge(1) = Edge { up: true, silent: true, ..Edge::default() };
    site.wait_ms(0);
    site.edge_says(1, &signal::fail("", "a link needs a token here"));
    let why = "the edge refused the link: a link needs a token here".to_owned();
    assert_eq!(site.events, [Event::LinkDown { node: 1, why }]);
    assert_eq!(site.edge(1).tokens, [None]);
}

#[test]
fn a_token_is_good_for_one_link() {
    let mut site = strict();
    let life = Duration::from_secs(120);
    assert_eq!(present(&mut site, "a", life), Ok("origin".to_owned()));
    assert_eq!(present(&mut site, "b", life), Ok("origin".to_owned()));
    site.bench.now += life - Duration::from_millis(1);
    assert_eq!(present(&mut site, "a", life), Err(LinkRefusal::Replayed));
    // By then it is too old to come this far.
    site.bench.now += Duration::from_millis(1);
    assert_eq!(present(&mut site, "a", life), Ok("origin".to_owned()));
}

#[test]
fn so_many_tokens_are_remembered_and_then_no_link_is_taken() {
    let limits = Limits { link_tokens_max: 2, ..Limits::default() };
    let mut site = Site::with(&format!("cdn_auth_key={KEY}\n"), None, limits);
    let life = Duration::from_secs(10);
    assert!(present(&mut site, "a", life).is_ok());
    assert!(present(&mut site, "b", 2 * life).is_ok());
    assert_eq!(present(&mut site, "c", life), Err(LinkRefusal::TooMany));
    site.bench.now += life;
    assert!(present(&mut site, "c", life).is_ok());
    assert_eq!(present(&mut site, "b", life), Err(LinkRefusal::Replayed));
}

#[test]
fn only_links_publish_on_a_strict_edge() {
    let mut site = strict();
    let page = site.join("10.0.0.1");
    site.publish(page, "P", "cam");
    assert_eq!(site.status(page, "P"), said("FAILED", "Only origins may publish on this edge"));
    assert!(site.media.is_empty(), "no peer is made for it");
    // One that was there before there was a key has proved nothing.
    let old = site.link("10.0.0.2", "origin");
    site.publish(old, "P", "cam");
    assert_eq!(site.status(old, "P").0, "FAILED");
    let link = proven(&mut site, "10.0.0.2", "origin");
    site.live(link, "P", "cam");
    assert_eq!(site.status(link, "P").0, "PUBLISHING");
    site.watch(page, "V", "cam");
    assert_eq!(site.status(page, "V").0, "PLAYING");
}

#[test]
fn a_node_that_is_not_strict_has_publishers_of_its_own() {
    let properties = format!("cdn_auth_key={KEY}\ncdn_role_strict=false\n");
    let mut site = Site::with(&properties, None, Limits::default());
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    assert_eq!(site.status(page, "P").0, "PUBLISHING");
}

#[test]
fn a_stream_is_of_the_node_that_proved_itself_wherever_it_comes_from() {
    let mut site = strict();
    let first = proven(&mut site, "10.0.0.1", "origin");
    let ingest = site.live(first, "P", "cam");
    let other = proven(&mut site, "10.0.0.1", "other");
    site.publish(other, "Q", "cam");
    assert_eq!(site.status(other, "Q").1, "Stream name is already in use", "the same address");
    // It dialed anew before the old link was found dead.
    let second = proven(&mut site, "10.0.0.2", "origin");
    site.live(second, "P2", "cam");
    assert!(site.dropped(ingest));
    assert_eq!(site.status(second, "P2").0, "PUBLISHING");
    site.leave(second);
    site.publish(other, "Q", "cam");
    assert_eq!(site.status(other, "Q").1, "Stream name is already in use", "within the grace");
    let claimed = site.link("10.0.0.2", "origin");
    site.publish(claimed, "R", "cam");
    assert_eq!(site.status(claimed, "R").0, "FAILED", "its address proves nothing here");
    let third = proven(&mut site, "10.0.0.3", "origin");
    site.live(third, "P3", "cam");
    assert_eq!(site.status(third, "P3").0, "PUBLISHING");
}

#[test]
fn only_its_node_ends_a_lost_stream_by_its_name() {
    let mut site = strict();
    let link = proven(&mut site, "10.0.0.1", "origin");
    site.live(link, "P", "cam");
    site.leave(link);
    let ends = |site: &mut Site, session| {
        let (media_session, name) = ("gone".to_owned(), "cam".to_owned());
        site.ask(session, Request::Unpublish { media_session, name });
        site.events.iter().any(|event| matches!(event, Event::StreamEnded { .. }))
    };
    let other = proven(&mut site, "10.0.0.1", "other");
    assert!(!ends(&mut site, other));
    let again = proven(&mut site, "10.0.0.2", "origin");
    assert!(ends(&mut site, again));
}

#[test]
fn what_was_pushed_before_there_was_a_key_is_gone_on_with_from_the_same_address() {
    let mut site = Site::new();
    let before = site.link("10.0.0.1", "origin");
    site.live(before, "P", "cam");
    site.leave(before);
    let keys = TokenKeys::new(KEY.as_bytes(), None);
    site.bench.config.settings.cdn_auth_keys = Some(keys);
    let elsewhere = proven(&mut site, "10.0.0.2", "origin");
    site.publish(elsewhere, "Q", "cam");
    assert_eq!(site.status(elsewhere, "Q").1, "Stream name is already in use");
    let again = proven(&mut site, "10.0.0.1", "origin");
    site.live(again, "P2", "cam");
    assert_eq!(site.status(again, "P2").0, "PUBLISHING");
    site.leave(again);
    let claimed = site.link("10.0.0.1", "origin");
    site.publish(claimed, "R", "cam");
    assert_eq!(site.status(claimed, "R").1, "Stream name is already in use", "not back again");
}
