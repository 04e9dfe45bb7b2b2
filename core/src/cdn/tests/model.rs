//! What pages must be told, by a model that knows names and ids alone.

use super::*;

pub(super) const NAMES: [&str; 3] = ["cam", "desk", ""];
pub(super) const IDS: [&str; 4] = ["A", "B", "C", ""];
/// The second and the third come from one address.
pub(super) const ADDRESSES: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.2"];

/// Times that end in different digits, so that no two kinds of alarm ever fall together.
pub(super) const PLAY_WAIT: u64 = 701;
pub(super) const GRACE: u64 = 1502;
pub(super) const ANSWER: u64 = 2303;
pub(super) const MEDIA_MAX: usize = 2;

/// What a page is told, without what is the same every time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Told {
    pub(super) page: usize,
    pub(super) message: String,
    pub(super) id: String,
    pub(super) status: String,
    pub(super) info: String,
    pub(super) audio_muted: bool,
}

pub(super) fn told(page: usize, message: &str, id: &str, status: &str, info: &str) -> Told {
    let owned = str::to_owned;
    let (message, id, status, info) = (owned(message), owned(id), owned(status), owned(info));
    Told { page, message, id, status, info, audio_muted: false }
}

pub(super) fn status(page: usize, id: &str, status: &str, info: &str) -> Told {
    told(page, "notifyStreamStatusEvent", id, status, info)
}

/// What a message on the wire says.
pub(super) fn read(page: usize, message: &Value) -> Told {
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
pub(super) type Key = (usize, &'static str);

/// A name that someone publishes, or did a moment ago.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) address: &'static str,
    pub(super) publisher: Option<Key>,
    pub(super) source: Source,
    pub(super) vp8: bool,
    pub(super) audio_muted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Starting,
    Live,
    LostUntil(u64),
}

/// A publication or a play.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) name: &'static str,
    pub(super) publishes: bool,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    WaitsUntil(u64),
    Asked { until: u64 },
    Answered { vp8: bool },
    Up,
}

/// Who must be told what.
#[derive(Default)]
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) streams: BTreeMap<&'static str, Stream>,
    pub(super) open: BTreeMap<Key, Open>,
    pub(super) told: Vec<Told>,
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

    pub(super) fn publish(&mut self, key: Key, name: &'static str) {
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

    pub(super) fn play(&mut self, key: Key, name: &'static str) {
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

    pub(super) fn is_playable(&self, name: &str) -> bool {
        self.streams.get(name).is_some_and(|stream| stream.source != Source::Starting)
    }

    pub(super) fn viewers(&self, name: &str) -> Vec<Key> {
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

    pub(super) fn stop(&mut self, key: Key) {
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

    pub(super) fn leave(&mut self, page: usize) {
        let its = |key: &&Key| key.0 == page;
        for key in self.open.keys().filter(its).copied().collect::<Vec<_>>() {
            let Some(open) = self.open.remove(&key) else { continue };
            if open.publishes {
                self.lose(open.name);
            }
        }
    }

    pub(super) fn mute(&mut self, key: Key, on: bool) {
        let Some(open) = self.open.get(&key).filter(|open| open.publishes) else { return };
        let name = open.name;
        let Some(stream) = self.streams.get_mut(name) else { return };
        if std::mem::replace(&mut stream.audio_muted, on) == on {
            return;
        }
        self.tell_viewers(name, if on { "audioMuted" } else { "audioUnmuted" });
    }

    pub(super) fn answer(&mut self, key: Key, vp8: bool) {
        if let Some(open) = self.open.get_mut(&key) {
            open.phase = Phase::Answered { vp8 };
            self.told.push(told(key.0, "setRemoteSDP", key.1, "", ""));
        }
    }

    pub(super) fn up(&mut self, key: Key) {
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

    pub(super) fn fail(&mut self, key: Key, info: &str) {
        let Some(open) = self.close(key, "FAILED", info) else { return };
        if open.publishes {
            self.lose(open.name);
        }
    }

    /// Lets everything happen that is due until then, in its order.
    pub(super) fn wait(&mut self, ms: u64) {
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
