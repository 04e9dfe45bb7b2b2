//! Who is let in and who is not, played through.

use std::time::Duration;

use distributary_core::{Event, Limits};
use serde_json::{Value, json};

use super::backend::{BACKEND, Manner};
use super::{Plan, Sim};
use crate::browser::{Shape, play_request};
use crate::scenario::{GRACES, Stage};
use crate::token::{self, KEY};
use crate::world::{NodeId, Party, World};

/// Longer than a question may take, and what the worst network adds to it.
const HOOK_TIMEOUT_MS: u64 = 3_000;

fn jwt() -> String {
    format!("auth.publish=jwt\nauth.play=jwt\nauth.jwt.key={KEY}\n")
}

fn hook() -> String {
    let url = format!("auth.hook.url=http://{BACKEND}/app\nauth.hook.timeout={HOOK_TIMEOUT_MS}");
    format!("auth.publish=hook\nauth.play=hook\n{url}\n")
}

/// A node that lets in by these rules.
fn node(stage: &mut Stage<Sim>, rules: &str, limits: Limits) -> NodeId {
    let plan = Plan { limits, ..Plan::new("alone") }.shards(stage.shards()).with(GRACES);
    let node = NodeId(stage.world.add_node(plan.with(rules)));
    stage.joins(node);
    node
}

/// A token that is good for so long from now.
fn token(stage: &Stage<Sim>, seconds: u64, claims: Value) -> Option<String> {
    let until = stage.world.unix() + Duration::from_secs(seconds);
    Some(token::sign(KEY, until, claims))
}

fn publish(stage: &mut Stage<Sim>, node: NodeId, name: &str, token: Option<String>) -> Party {
    let page = stage.world.add_browser(node.0);
    stage.world.with_page(page, |_, page, _| page.browser.token = token);
    let party = stage.world.publish_on(page, name, Shape::audio_video());
    stage.meets(&party);
    party
}

fn play(stage: &mut Stage<Sim>, node: NodeId, name: &str, token: Option<String>) -> Party {
    let page = stage.world.add_browser(node.0);
    stage.world.with_page(page, |_, page, _| page.browser.token = token);
    let party = stage.world.play_on(page, name, Shape::audio_video());
    stage.meets(&party);
    party
}

/// Nothing is kept but of those who were let in: so many transports, and no question.
fn keeps(stage: &Stage<Sim>, node: NodeId, peers: usize) {
    let tables = stage.world.tables(node.0);
    assert_eq!(tables.iter().map(|table| table.peers).sum::<usize>(), peers, "{tables:?}");
    assert_eq!(tables.iter().map(|table| table.questions).sum::<usize>(), 0, "{tables:?}");
}

fn denials(stage: &Stage<Sim>, node: NodeId) -> Vec<String> {
    let events = stage.world.events(node).into_iter();
    let why = |event| if let Event::Refused { why, .. } = event { Some(why) } else { None };
    events.filter_map(why).collect()
}

/// Whoever has a token that says so is let in, wherever it stands, and nobody else.
pub(super) fn tokens(stage: &mut Stage<Sim>) {
    let node = node(stage, &jwt(), Limits::default());
    let good = token(stage, 600, json!({ "role": "publish", "streams": ["ab*"] }));
    let publisher = publish(stage, node, "ab12", good.clone());
    stage.reaches(&publisher, "PUBLISHING", "");
    let page = stage.world.add_browser(node.0);
    let own = token(stage, 600, json!({ "role": "play" }));
    stage.world.with_page(page, |_, page, _| page.browser.session_token = own);
    let viewer = stage.world.play_on(page, "ab12", Shape::audio_video());
    stage.meets(&viewer);
    stage.reaches(&viewer, "PLAYING", "");
    stage.watches(&viewer);
    for (token, info) in [
        (None, "Access token is missing"),
        (Some("nonsense".to_owned()), "Access token is not valid"),
        (good, "Access token does not allow to play"),
        (token(stage, 600, json!({ "streams": ["cd*"] })), "Access token is for other streams"),
    ] {
        let stranger = play(stage, node, "ab12", token);
        stage.reaches(&stranger, "FAILED", info);
        keeps(stage, node, 2);
    }
    let old = Some(token::sign(KEY, stage.world.unix() - Duration::from_secs(60), json!({})));
    let stranger = publish(stage, node, "cd34", old);
    stage.reaches(&stranger, "FAILED", "Access token has expired");
    let other = token::sign(&KEY.replace('3', "4"), Duration::from_secs(1 << 40), json!({}));
    let stranger = publish(stage, node, "cd34", Some(other));
    stage.reaches(&stranger, "FAILED", "Access token is not valid");
    keeps(stage, node, 2);
    assert_eq!(denials(stage, node).len(), 6);
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
}

/// A backend that says yes, no, and other things.
pub(super) fn backend(stage: &mut Stage<Sim>) {
    let node = node(stage, &hook(), Limits::default());
    stage.world.set_backend(Manner::Answers(200));
    let publisher = publish(stage, node, "ab12", Some("let me in".to_owned()));
    stage.reaches(&publisher, "PUBLISHING", "");
    let viewer = play(stage, node, "ab12", None);
    stage.reaches(&viewer, "PLAYING", "");
    let asked = stage.world.asked();
    let [publishes, plays] = &asked[..] else { panic!("{asked:?}") };
    assert!(publishes.starts_with("POST /app/publishStream HTTP/1.1\r\nHost: 10.4.0.1:9000\r\n"));
    assert!(plays.starts_with("POST /app/playStream HTTP/1.1\r\n"), "{plays}");
    let body = publishes.split("\r\n\r\n").nth(1).unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let shown = ["name", "token", "nodeId", "appKey"].map(|field| body.get(field));
    let expected = ["ab12", "let me in", "alone", "defaultApp"].map(|text| json!(text));
    assert_eq!(shown, expected.each_ref().map(Some));
    for (manner, info) in [
        (Manner::Answers(403), "Refused by the backend"),
        (Manner::Answers(500), "The backend gave no answer"),
        (Manner::Answers(302), "The backend gave no answer"),
        (Manner::Babbles, "The backend gave no answer"),
        (Manner::HangsUp, "The backend gave no answer"),
        (Manner::Hangs, "The backend gave no answer"),
        (Manner::Absent, "The backend gave no answer"),
    ] {
        stage.world.set_backend(manner);
        let strangers = [publish(stage, node, "cd34", None), play(stage, node, "ab12", None)];
        for stranger in &strangers {
            stage.reaches(stranger, "FAILED", info);
        }
        keeps(stage, node, 2);
    }
    // Whoever leaves is not asked about any longer.
    stage.world.set_backend(Manner::Hangs);
    let gone = play(stage, node, "ab12", None);
    stage.pass(1_000);
    stage.world.leave(&gone);
    stage.pass(1_000);
    keeps(stage, node, 2);
    assert_eq!(stage.world.backend_connections().0, 0);
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
}

/// Hundreds want in, and the backend says nothing: those who are in do not notice.
pub(super) fn backend_hangs(stage: &mut Stage<Sim>) {
    let limits = Limits { hooks_running_max: 8, hooks_waiting_max: 100, ..Limits::default() };
    let node = node(stage, &hook(), limits);
    stage.world.set_backend(Manner::Answers(200));
    let publisher = publish(stage, node, "ab12", None);
    stage.reaches(&publisher, "PUBLISHING", "");
    let viewer = play(stage, node, "ab12", None);
    stage.reaches(&viewer, "PLAYING", "");
    stage.watches(&viewer);
    stage.world.set_backend(Manner::Hangs);
    let crowd: Vec<usize> = (0..20).map(|_| stage.world.add_browser(node.0)).collect();
    stage.pass(2_000);
    for (n, page) in crowd.iter().enumerate() {
        for m in 0..15 {
            let request = play_request(&format!("{n}-{m}"), "ab12", "v=0");
            stage.world.with_page(*page, |_, page, _| page.browser.say("playStream", request));
        }
    }
    let before = stage.world.seen(&viewer).video;
    stage.pass(2_000);
    let during = stage.world.seen(&viewer).video - before;
    assert!(stage.is_rough() || during > 170, "{during} packets while the backend hangs");
    stage.pass(HOOK_TIMEOUT_MS + 2_000);
    let told: Vec<&Value> = crowd.iter().flat_map(|page| statuses(stage, *page)).collect();
    let count =
        |info: &str| told.iter().filter(|told| told.get("info") == Some(&json!(info))).count();
    let (busy, silent) =
        (count("Too many requests wait for the backend"), count("The backend gave no answer"));
    assert_eq!((told.len(), busy + silent), (300, 300), "everybody is told");
    assert!(silent >= 108 && busy > 0, "{silent} waited, {busy} were refused at once");
    keeps(stage, node, 2);
    let (open, most) = stage.world.backend_connections();
    // The end of one crosses with the beginning of the next, and on a bad network with many.
    let most_max = if stage.is_rough() { 108 } else { 16 };
    assert!(open == 0 && most <= most_max, "{open} connections, {most} at once");
    stage.world.set_backend(Manner::Answers(200));
    let late = play(stage, node, "ab12", None);
    stage.reaches(&late, "PLAYING", "");
    for page in crowd {
        stage.world.close_page(page);
    }
    stage.watches(&viewer);
    stage.saw(&viewer, &[&publisher]);
}

/// What a page was told of its streams.
fn statuses(stage: &Stage<Sim>, page: usize) -> impl Iterator<Item = &Value> {
    let messages = stage.world.page(page).browser.messages().iter();
    let told = messages.filter(|message| message.name == "notifyStreamStatusEvent");
    told.filter_map(|message| message.data.first())
}
