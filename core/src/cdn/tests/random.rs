//! Pages that publish and play in any order, against a model that knows names and ids alone.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::model::{
    ADDRESSES, ANSWER, GRACE, IDS, Key, MEDIA_MAX, Model, NAMES, PLAY_WAIT, Phase, Told, read, told,
};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Page, id and name.
    Publish(usize, &'static str, &'static str),
    Play(usize, &'static str, &'static str),
    Stop(usize, &'static str),
    Unpublish(usize, &'static str),
    Ask(usize, Question),
    /// The page of something open says that it mutes it, or does no more.
    Mute(Index, bool),
    /// A page goes, and comes back as another.
    Leave(usize),
    /// Greets a second time, which ends a session.
    Greet(usize),
    /// One of the peers that wait for it is answered, in VP8 or not.
    Answer(Index, bool),
    /// One of the peers that were answered comes up.
    Up(Index),
    Fail(Index),
    Wait(u64),
}

/// What a page asks and nothing comes of.
#[derive(Clone, Copy, Debug)]
enum Question {
    Available(&'static str),
    Snapshot,
    Data,
    /// What this server does not know.
    Unknown,
}

fn step() -> impl Strategy<Value = Step> {
    let page = 0..ADDRESSES.len();
    let id = prop_oneof![9 => select(&IDS[..3]), 1 => Just(IDS[3])];
    let name = prop_oneof![6 => Just(NAMES[0]), 3 => Just(NAMES[1]), 1 => Just(NAMES[2])];
    let ask = (page.clone(), id.clone(), name.clone());
    let question = prop_oneof![
        name.prop_map(Question::Available),
        select(vec![Question::Snapshot, Question::Data, Question::Unknown]),
    ];
    let vp8 = prop::bool::weighted(0.8);
    prop_oneof![
        6 => ask.clone().prop_map(|(page, id, name)| Step::Publish(page, id, name)),
        6 => ask.prop_map(|(page, id, name)| Step::Play(page, id, name)),
        2 => (page.clone(), id.clone()).prop_map(|(page, id)| Step::Stop(page, id)),
        1 => (page.clone(), id).prop_map(|(page, id)| Step::Unpublish(page, id)),
        3 => (any::<Index>(), prop::bool::weighted(0.7)).prop_map(|(at, on)| Step::Mute(at, on)),
        2 => (page.clone(), question).prop_map(|(page, question)| Step::Ask(page, question)),
        1 => page.clone().prop_map(Step::Leave),
        1 => page.prop_map(Step::Greet),
        8 => (any::<Index>(), vp8).prop_map(|(at, vp8)| Step::Answer(at, vp8)),
        7 => any::<Index>().prop_map(Step::Up),
        2 => any::<Index>().prop_map(Step::Fail),
        3 => (0u64..50).prop_map(|tens| Step::Wait(tens * 10)),
        1 => (0u64..250).prop_map(|tens| Step::Wait(tens * 10)),
    ]
}

/// The node, with the pages that speak to it in words.
struct Stage {
    site: Site,
    pages: Vec<(SessionId, signal::Session)>,
    /// The peers of what is open.
    peers: BTreeMap<Key, PeerId>,
}

impl Stage {
    fn new() -> Self {
        let limits = Limits {
            session_streams_max: MEDIA_MAX,
            answer_timeout: Duration::from_millis(ANSWER),
            ..Limits::default()
        };
        let properties = format!("play.wait={PLAY_WAIT}\npublisher.grace={GRACE}\n");
        let mut site = Site::with(&properties, None, limits);
        let pages = ADDRESSES.map(|address| enter(&mut site, address));
        Self { site, pages: pages.into(), peers: BTreeMap::new() }
    }

    /// Says something as a page does; what a dialogue answers by itself is told at once.
    fn say(&mut self, page: usize, name: &str, data: &Value) {
        let text = json!({ "message": name, "data": [data] }).to_string();
        let (session, dialogue) = &mut self.pages[page];
        let session = *session;
        let limits = &self.site.bench.config.limits;
        match dialogue.handle(self.site.bench.now, &text, "token", None, limits) {
            Ok(signal::Step::Request(request)) => self.site.ask(session, request),
            Ok(signal::Step::Reply(reply)) => {
                self.site.told.push((session, serde_json::from_str(&reply).unwrap()));
            }
            Ok(signal::Step::Establish { .. } | signal::Step::Nothing) => panic!("{text}"),
            Err(_) => self.leave(page),
        }
    }

    fn leave(&mut self, page: usize) {
        let (session, _) = self.pages[page];
        self.site.leave(session);
        assert_eq!(self.site.told(session), [] as [Value; 0], "nobody is there to be told");
        self.pages[page] = enter(&mut self.site, ADDRESSES[page]);
    }

    /// Finds out which new peer is whose, by the order in which they were asked for.
    fn match_peers(&mut self, model: &Model) {
        self.peers.retain(|key, _| model.open.contains_key(key));
        for (session, id) in (0..self.pages.len()).flat_map(|page| IDS.map(|id| (page, id))) {
            let entry = self.site.node.session_media(self.pages[session].0, id);
            let peer = entry.and_then(|media| {
                let of = match media {
                    MediaSession::Publication(stream) => PeerUse::Publication(stream),
                    MediaSession::Play(play) => PeerUse::Play(play),
                    MediaSession::Asked(_) => unreachable!("nobody is asked here"),
                };
                self.site.node.peers.iter().find(|(_, entry)| entry.of == of).map(|(peer, _)| *peer)
            });
            if let Some(peer) = peer {
                self.peers.insert((session, id), peer);
            }
        }
    }

    /// What was told since the last call, sorted.
    fn heard(&mut self) -> Vec<Told> {
        let page = |session: SessionId| {
            self.pages.iter().position(|(its, _)| *its == session).expect("nobody else is told")
        };
        let heard = std::mem::take(&mut self.site.told).into_iter();
        let mut heard: Vec<Told> =
            heard.map(|(session, message)| read(page(session), &message)).collect();
        heard.sort();
        heard
    }
}

fn enter(site: &mut Site, address: &str) -> (SessionId, signal::Session) {
    let limits = &site.bench.config.limits;
    let mut dialogue = signal::Session::new(site.bench.now, limits);
    let greeting = r#"{"message":"connection","data":[{}]}"#;
    dialogue.handle(site.bench.now, greeting, "token", None, limits).unwrap();
    (site.join(address), dialogue)
}

fn stream(id: &str, name: &str) -> Value {
    json!({ "mediaSessionId": id, "name": name, "mediaProvider": "WebRTC", "sdp": "v=0" })
}

/// Does one thing to both.
fn take(step: &Step, stage: &mut Stage, model: &mut Model) {
    match *step {
        Step::Publish(page, id, name) => {
            stage.say(page, "publishStream", &stream(id, name));
            model.publish((page, id), name);
        }
        Step::Play(page, id, name) => {
            stage.say(page, "playStream", &stream(id, name));
            model.play((page, id), name);
        }
        Step::Stop(page, id) => {
            stage.say(page, "stopStream", &stream(id, ""));
            model.stop((page, id));
        }
        Step::Unpublish(page, id) => {
            // Only an origin may end a stream by its name.
            stage.say(page, "unPublishStream", &stream(id, "cam"));
            model.stop((page, id));
        }
        Step::Mute(ref at, on) => {
            let Some((page, id)) = one(model, at, |_| true) else { return };
            let kind = if on { "audioMuted" } else { "audioUnmuted" };
            stage.say(page, "sendStreamEvent", &json!({ "mediaSessionId": id, "type": kind }));
            model.mute((page, id), on);
        }
        Step::Ask(page, question) => model.told.push(ask(stage, model, page, question)),
        Step::Leave(page) => {
            stage.leave(page);
            model.leave(page);
        }
        Step::Greet(page) => {
            stage.say(page, "connection", &json!({}));
            model.leave(page);
        }
        Step::Answer(ref at, vp8) => {
            if let Some(key) = one(model, at, |phase| matches!(phase, Phase::Asked { .. })) {
                stage.site.answer(stage.peers[&key], video(if vp8 { "vp8" } else { "h264" }));
                model.answer(key, vp8);
            }
        }
        Step::Up(ref at) => {
            if let Some(key) = one(model, at, |phase| matches!(phase, Phase::Answered { .. })) {
                stage.site.up(stage.peers[&key]);
                model.up(key);
            }
        }
        Step::Fail(ref at) => {
            if let Some(key) = one(model, at, |phase| !matches!(phase, Phase::WaitsUntil(_))) {
                stage.site.fail(stage.peers[&key], PeerFault::ConsentLost);
                model.fail(key, "Failed by ICE keep alive");
            }
        }
        Step::Wait(ms) => {
            stage.site.wait_ms(ms);
            model.wait(ms);
        }
    }
}

/// Asks what has an answer and changes nothing; what the answer must be.
fn ask(stage: &mut Stage, model: &Model, page: usize, question: Question) -> Told {
    match question {
        Question::Available(name) => {
            stage.say(page, "availableStream", &stream("id", name));
            let playable = model.is_playable(name);
            let info = if playable { "" } else { "Stream not found" };
            told(page, "availableStream", "id", &playable.to_string(), info)
        }
        Question::Snapshot => {
            stage.say(page, "snapshot", &stream("id", ""));
            told(page, "notifyStreamEvent", "id", "snapshotFailed", "")
        }
        Question::Data => {
            stage.say(page, "sendData", &json!({ "operationId": "id" }));
            let info = "This server has no application that takes data";
            told(page, "DataStatusEvent", "id", "FAILED", info)
        }
        Question::Unknown => {
            stage.say(page, "startCall", &json!({}));
            let info = "startCall is not a message that this server knows";
            told(page, "fail", "", "startCall", info)
        }
    }
}

/// One of what is open in such a phase, if anything is.
fn one(model: &Model, at: &Index, fits: fn(&Phase) -> bool) -> Option<Key> {
    let fit = model.open.iter().filter(|(_, open)| fits(&open.phase));
    let fit: Vec<Key> = fit.map(|(key, _)| *key).collect();
    (!fit.is_empty()).then(|| fit[at.index(fit.len())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn everybody_is_told_what_the_rules_say_and_nothing_is_left(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let (mut stage, mut model) = (Stage::new(), Model::default());
        for step in &steps {
            take(step, &mut stage, &mut model);
            stage.match_peers(&model);
            let mut expected = std::mem::take(&mut model.told);
            expected.sort();
            prop_assert_eq!(stage.heard(), expected, "{:?}", step);
            let streams = stage.site.node.streams.values();
            let viewers: BTreeMap<&str, usize> =
                streams.map(|stream| (stream.name.as_str(), stream.viewers.len())).collect();
            let names = model.streams.keys();
            let expected = names.map(|name| (*name, model.viewers(name).len())).collect();
            prop_assert_eq!(viewers, expected);
            prop_assert_eq!(stage.site.node.names.len(), model.streams.len());
            prop_assert_eq!(stage.site.node.peers.len(), stage.peers.len());
            let sessions = stage.site.node.sessions.values();
            let open: usize = sessions.map(|session| session.media.len()).sum();
            let held = ADDRESSES.iter().collect::<BTreeSet<_>>().into_iter();
            let held: usize =
                held.map(|address| stage.site.node.held.of(address.parse().unwrap())).sum();
            prop_assert_eq!(held, open);
        }
        for page in 0..ADDRESSES.len() {
            stage.leave(page);
        }
        stage.site.wait_ms(GRACE);
        let node = &stage.site.node;
        prop_assert!(node.streams.is_empty() && node.names.is_empty() && node.plays.is_empty());
        prop_assert!(node.waiting.is_empty() && node.peers.is_empty() && node.held.is_empty());
        prop_assert_eq!(node.timers.len(), 0);
        prop_assert_eq!(&node.placed, &[0]);
        let events = &stage.site.events;
        let count = |counts: fn(&&Event) -> bool| events.iter().filter(counts).count();
        let joined = count(|event| matches!(event, Event::ViewerJoined { .. }));
        prop_assert_eq!(joined, count(|event| matches!(event, Event::ViewerLeft { .. })));
        let started = count(|event| matches!(event, Event::StreamStarted { .. }));
        prop_assert_eq!(started, count(|event| matches!(event, Event::StreamEnded { .. })));
    }
}
