//! Pages that publish and play in any order, against a model that knows names and ids alone.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const NAMES: [&str; 3] = ["cam", "desk", ""];
const IDS: [&str; 4] = ["A", "B", "C", ""];
/// The second and the third come from one address.
const ADDRESSES: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.2"];

/// Times that end in different digits, so that no two kinds of alarm ever fall together.
const PLAY_WAIT: u64 = 701;
const GRACE: u64 = 1502;
const ANSWER: u64 = 2303;
const MEDIA_MAX: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// Page, id and name.
    Publish(usize, &'static str, &'static str),
    Play(usize, &'static str, &'static str),
    Stop(usize, &'static str),
    Unpublish(usize, &'static str),
    Available(usize, &'static str),
    Mute(usize, &'static str, bool),
    Snapshot(usize),
    Data(usize),
    Unknown(usize),
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

fn step() -> impl Strategy<Value = Step> {
    let (page, id, name) = (0..ADDRESSES.len(), select(&IDS[..]), select(&NAMES[..]));
    let ask = (page.clone(), id.clone(), name.clone());
    prop_oneof![
        6 => ask.clone().prop_map(|(page, id, name)| Step::Publish(page, id, name)),
        6 => ask.prop_map(|(page, id, name)| Step::Play(page, id, name)),
        2 => (page.clone(), id.clone()).prop_map(|(page, id)| Step::Stop(page, id)),
        1 => (page.clone(), id.clone()).prop_map(|(page, id)| Step::Unpublish(page, id)),
        1 => (page.clone(), name).prop_map(|(page, name)| Step::Available(page, name)),
        2 => (page.clone(), id, any::<bool>()).prop_map(|(page, id, on)| Step::Mute(page, id, on)),
        1 => (page, select(vec![Step::Snapshot, Step::Data, Step::Unknown, Step::Greet]))
            .prop_map(|(page, step)| step(page)),
        1 => (0..ADDRESSES.len()).prop_map(Step::Leave),
        8 => (any::<Index>(), prop::bool::weighted(0.8)).prop_map(|(at, vp8)| Step::Answer(at, vp8)),
        7 => any::<Index>().prop_map(Step::Up),
        2 => any::<Index>().prop_map(Step::Fail),
        4 => (0u64..250).prop_map(|tens| Step::Wait(tens * 10)),
    ]
}

/// What a page is told, without what is the same every time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Told {
    page: usize,
    message: String,
    id: String,
    status: String,
    info: String,
    audio_muted: bool,
}

fn told(page: usize, message: &str, id: &str, status: &str, info: &str) -> Told {
    let owned = str::to_owned;
    let (message, id, status, info) = (owned(message), owned(id), owned(status), owned(info));
    Told { page, message, id, status, info, audio_muted: false }
}

fn status(page: usize, id: &str, status: &str, info: &str) -> Told {
    told(page, "notifyStreamStatusEvent", id, status, info)
}

/// What a message on the wire says.
fn read(page: usize, message: &Value) -> Told {
    let data = &message["data"];
    let word = |key: &str| data[0][key].as_str().unwrap_or_default().to_owned();
    let first = data[0].as_str().map(str::to_owned);
    let id = ["mediaSessionId", "id", "operationId"].map(word).concat();
    Told {
        page,
        message: message["message"].as_str().unwrap().to_owned(),
        id: first.unwrap_or(id),
        status: ["status", "type", "apiMethod"].map(word).concat(),
        info: word("info"),
        audio_muted: data[0]["audioState"]["muted"] == true,
    }
}

/// Where something of a page's is.
type Key = (usize, &'static str);

/// A name that someone publishes, or did a moment ago.
#[derive(Clone, Debug)]
struct Stream {
    address: &'static str,
    publisher: Option<Key>,
    source: Source,
    vp8: bool,
    audio_muted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Starting,
    Live,
    LostUntil(u64),
}

/// A publication or a play.
#[derive(Clone, Copy, Debug)]
struct Open {
    name: &'static str,
    publishes: bool,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    WaitsUntil(u64),
    Asked { until: u64 },
    Answered { vp8: bool },
    Up,
}

/// Who must be told what.
#[derive(Default)]
struct Model {
    now: u64,
    streams: BTreeMap<&'static str, Stream>,
    open: BTreeMap<Key, Open>,
    told: Vec<Told>,
}

impl Model {
    fn refusal(&self, (page, id): Key, name: &str) -> Option<&'static str> {
        if id.is_empty() {
            Some("MediaSessionId is null")
        } else if self.open.contains_key(&(page, id)) {
            Some("MediaSessionId is already in use")
        } else if name.is_empty() {
            Some("Stream name is empty or too long")
        } else if self.open.keys().filter(|(its, _)| *its == page).count() >= MEDIA_MAX {
            Some("Too many streams")
        } else {
            None
        }
    }

    fn publish(&mut self, key: Key, name: &'static str) {
        let address = ADDRESSES[key.0];
        let taken = self.streams.get(name).is_some_and(|stream| {
            let lost = matches!(stream.source, Source::LostUntil(_)) && stream.publisher.is_none();
            !lost || stream.address != address
        });
        let refusal = self.refusal(key, name);
        if let Some(info) = refusal.or(taken.then_some("Stream name is already in use")) {
            self.told.push(status(key.0, key.1, "FAILED", info));
            return;
        }
        let fresh = Stream {
            address,
            publisher: None,
            source: Source::Starting,
            vp8: true,
            audio_muted: false,
        };
        let stream = self.streams.entry(name).or_insert(fresh);
        stream.publisher = Some(key);
        if std::mem::take(&mut stream.audio_muted) {
            self.tell_viewers(name, "audioUnmuted");
        }
        let phase = Phase::Asked { until: self.now + ANSWER };
        self.open.insert(key, Open { name, publishes: true, phase });
    }

    fn play(&mut self, key: Key, name: &'static str) {
        if let Some(info) = self.refusal(key, name) {
            self.told.push(status(key.0, key.1, "FAILED", info));
            return;
        }
        let phase = if self.is_playable(name) {
            Phase::Asked { until: self.now + ANSWER }
        } else {
            Phase::WaitsUntil(self.now + PLAY_WAIT)
        };
        self.open.insert(key, Open { name, publishes: false, phase });
    }

    fn is_playable(&self, name: &str) -> bool {
        self.streams.get(name).is_some_and(|stream| stream.source != Source::Starting)
    }

    fn viewers(&self, name: &str) -> Vec<Key> {
        let views = |open: &Open| {
            open.name == name && !open.publishes && !matches!(open.phase, Phase::WaitsUntil(_))
        };
        self.open.iter().filter(|(_, open)| views(open)).map(|(key, _)| *key).collect()
    }

    fn tell_viewers(&mut self, name: &str, kind: &str) {
        for (page, id) in self.viewers(name) {
            self.told.push(told(page, "notifyStreamEvent", id, kind, ""));
        }
    }

    fn fail_viewers(&mut self, name: &str, info: &str) {
        for key in self.viewers(name) {
            self.close(key, "FAILED", info);
        }
    }

    fn close(&mut self, key: Key, word: &str, info: &str) -> Option<Open> {
        let open = self.open.remove(&key)?;
        self.told.push(status(key.0, key.1, word, info));
        Some(open)
    }

    fn stop(&mut self, key: Key) {
        let publishes = self.open.get(&key).is_some_and(|open| open.publishes);
        let word = if publishes { "UNPUBLISHED" } else { "STOPPED" };
        let Some(open) = self.close(key, word, "Stopped by user") else { return };
        if publishes {
            self.end(open.name);
        }
    }

    fn end(&mut self, name: &str) {
        self.streams.remove(name);
        self.fail_viewers(name, "Stopped by publisher stop");
    }

    /// A publisher is gone without having wished it.
    fn lose(&mut self, name: &'static str) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(name) else { return };
        stream.publisher = None;
        match stream.source {
            Source::Starting => self.end(name),
            Source::Live => stream.source = Source::LostUntil(now + GRACE),
            Source::LostUntil(_) => {}
        }
    }

    fn leave(&mut self, page: usize) {
        let its = |key: &&Key| key.0 == page;
        for key in self.open.keys().filter(its).copied().collect::<Vec<_>>() {
            let Some(open) = self.open.remove(&key) else { continue };
            if open.publishes {
                self.lose(open.name);
            }
        }
    }

    fn mute(&mut self, key: Key, on: bool) {
        let Some(open) = self.open.get(&key).filter(|open| open.publishes) else { return };
        let name = open.name;
        if let Some(stream) = self.streams.get_mut(name) {
            stream.audio_muted = on;
        }
        self.tell_viewers(name, if on { "audioMuted" } else { "audioUnmuted" });
    }

    fn answer(&mut self, key: Key, vp8: bool) {
        if let Some(open) = self.open.get_mut(&key) {
            open.phase = Phase::Answered { vp8 };
            self.told.push(told(key.0, "setRemoteSDP", key.1, "", ""));
        }
    }

    fn up(&mut self, key: Key) {
        let Some(open) = self.open.get_mut(&key) else { return };
        let Phase::Answered { vp8 } = open.phase else { return };
        open.phase = Phase::Up;
        let name = open.name;
        if !open.publishes {
            let audio_muted = self.streams[name].audio_muted;
            self.told.push(Told { audio_muted, ..status(key.0, key.1, "PLAYING", "") });
            return;
        }
        self.told.push(status(key.0, key.1, "PUBLISHING", ""));
        let Some(stream) = self.streams.get_mut(name) else { return };
        let changed = stream.source != Source::Starting && stream.vp8 != vp8;
        (stream.vp8, stream.source) = (vp8, Source::Live);
        if changed {
            self.fail_viewers(name, "The publisher came back with another codec");
        }
        let asked = Phase::Asked { until: self.now + ANSWER };
        for open in self.open.values_mut().filter(|open| open.name == name) {
            if matches!(open.phase, Phase::WaitsUntil(_)) {
                open.phase = asked;
            }
        }
    }

    fn fail(&mut self, key: Key, info: &str) {
        let Some(open) = self.close(key, "FAILED", info) else { return };
        if open.publishes {
            self.lose(open.name);
        }
    }

    /// Lets everything happen that is due until then, in its order.
    fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let open = self.open.iter().filter_map(|(key, open)| match open.phase {
                Phase::WaitsUntil(at) | Phase::Asked { until: at } => Some((at, Ok(*key))),
                Phase::Answered { .. } | Phase::Up => None,
            });
            let lost = self.streams.iter().filter_map(|(name, stream)| match stream.source {
                Source::LostUntil(at) => Some((at, Err(*name))),
                Source::Starting | Source::Live => None,
            });
            let Some((at, what)) = open.chain(lost).min().filter(|(at, _)| *at <= end) else {
                break;
            };
            self.now = at;
            match what {
                Ok(key) => self.overdue(key),
                Err(name) => self.grace_over(name),
            }
        }
        self.now = end;
    }

    fn overdue(&mut self, key: Key) {
        let Some(open) = self.open.get(&key) else { return };
        let info = match open.phase {
            Phase::WaitsUntil(_) if self.streams.contains_key(open.name) => {
                "Publish stream is not ready"
            }
            Phase::WaitsUntil(_) => "Stream not found",
            Phase::Asked { .. } | Phase::Answered { .. } | Phase::Up => "Failed by error",
        };
        self.fail(key, info);
    }

    fn grace_over(&mut self, name: &'static str) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        stream.source = Source::Starting;
        match stream.publisher {
            Some(_) => self.fail_viewers(name, "Stopped by publisher stop"),
            None => self.end(name),
        }
    }
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

/// Does one thing to both.
fn take(step: &Step, stage: &mut Stage, model: &mut Model) {
    let stream = |id: &str, name: &str| json!({ "mediaSessionId": id, "name": name, "mediaProvider": "WebRTC", "sdp": "v=0" });
    let one = |model: &Model, at: &Index, fits: fn(&Phase) -> bool| {
        let fit = model.open.iter().filter(|(_, open)| fits(&open.phase));
        let fit: Vec<Key> = fit.map(|(key, _)| *key).collect();
        (!fit.is_empty()).then(|| fit[at.index(fit.len())])
    };
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
        Step::Available(page, name) => {
            stage.say(page, "availableStream", &stream("id", name));
            let playable = model.is_playable(name);
            let info = if playable { "" } else { "Stream not found" };
            let word = playable.to_string();
            model.told.push(told(page, "availableStream", "id", &word, info));
        }
        Step::Mute(page, id, on) => {
            let kind = if on { "audioMuted" } else { "audioUnmuted" };
            stage.say(page, "sendStreamEvent", &json!({ "mediaSessionId": id, "type": kind }));
            model.mute((page, id), on);
        }
        Step::Snapshot(page) => {
            stage.say(page, "snapshot", &stream("id", ""));
            model.told.push(told(page, "notifyStreamEvent", "id", "snapshotFailed", ""));
        }
        Step::Data(page) => {
            stage.say(page, "sendData", &json!({ "operationId": "id" }));
            let info = "This server has no application that takes data";
            model.told.push(told(page, "DataStatusEvent", "id", "FAILED", info));
        }
        Step::Unknown(page) => {
            stage.say(page, "startCall", &json!({}));
            let info = "startCall is not a message that this server knows";
            model.told.push(told(page, "fail", "", "startCall", info));
        }
        Step::Leave(page) => {
            stage.leave(page);
            model.leave(page);
        }
        Step::Greet(page) => {
            stage.say(page, "connection", &json!({}));
            model.leave(page);
        }
        Step::Answer(ref at, vp8) => {
            let Some(key) = one(model, at, |phase| matches!(phase, Phase::Asked { .. })) else {
                return;
            };
            stage.site.answer(stage.peers[&key], video(if vp8 { "vp8" } else { "h264" }));
            model.answer(key, vp8);
        }
        Step::Up(ref at) => {
            let Some(key) = one(model, at, |phase| matches!(phase, Phase::Answered { .. })) else {
                return;
            };
            stage.site.up(stage.peers[&key]);
            model.up(key);
        }
        Step::Fail(ref at) => {
            let Some(key) = one(model, at, |phase| !matches!(phase, Phase::WaitsUntil(_))) else {
                return;
            };
            stage.site.fail(stage.peers[&key], PeerFault::ConsentLost);
            model.fail(key, "Failed by ICE keep alive");
        }
        Step::Wait(ms) => {
            stage.site.wait_ms(ms);
            model.wait(ms);
        }
    }
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
            let names: Vec<&str> = stage.site.node.names.keys().map(String::as_str).collect();
            prop_assert_eq!(names, model.streams.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(stage.site.node.peers.len(), stage.peers.len());
        }
        for page in 0..ADDRESSES.len() {
            stage.leave(page);
        }
        stage.site.wait_ms(GRACE);
        let node = &stage.site.node;
        prop_assert!(node.streams.is_empty() && node.names.is_empty() && node.plays.is_empty());
        prop_assert!(node.waiting.is_empty() && node.peers.is_empty());
        prop_assert_eq!(node.timers.len(), 0);
        prop_assert_eq!(&node.placed, &[0]);
        let count = |counts: fn(&Event) -> bool| stage.site.events.iter().filter(|e| counts(e)).count();
        let joined = count(|event| matches!(event, Event::ViewerJoined { .. }));
        prop_assert_eq!(joined, count(|event| matches!(event, Event::ViewerLeft { .. })));
        let started = count(|event| matches!(event, Event::StreamStarted { .. }));
        prop_assert_eq!(started, count(|event| matches!(event, Event::StreamEnded { .. })));
    }
}
