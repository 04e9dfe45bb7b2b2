//! A browser that runs a page of the WebSDK, without the browser: signaling, offers, ICE, DTLS,
//! synthetic media, and a record of everything that came back.
//!
//! It is a state machine like the node itself, so one and the same stand-in runs in simulated time
//! and over sockets. It shares no code with the node's dialogue, SDP or egress; what it knows of
//! the protocol it knows on its own, so that a mistake there is not mirrored here. It draws what
//! randomness it needs from the thread's `fastrand`, which a simulation seeds.

pub(crate) mod answer;
pub(crate) mod offer;
pub mod payload;
mod peer;
mod seen;
mod stream;
pub(crate) mod transport;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::config::CryptoProvider;

pub use self::offer::{Engine, Shape};
pub use self::payload::{Codec, Stamp};
pub use self::seen::{Packet, Track};
pub use self::stream::Stream;

pub(crate) use self::peer::{Birth, Peer, configure};

/// One UDP datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// The stand-in's end.
    pub local: SocketAddr,
    /// The far end.
    pub remote: SocketAddr,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// What the stand-in wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a text message over the WebSocket.
    Text(String),
    /// Send a datagram.
    Datagram(Datagram),
    /// Nothing until then.
    Timeout(Option<Instant>),
}

/// What a publisher sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// Time between two pictures.
    pub frame_interval: Duration,
    /// RTP packets of one picture.
    pub packets_per_frame: u16,
    /// Time between two audio packets.
    pub audio_interval: Duration,
    /// Key frames come on request and, if this is set, on their own.
    pub key_frame_interval: Option<Duration>,
    /// Bytes of a video packet beyond its headers.
    pub video_bytes: u16,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            frame_interval: Duration::from_micros(33_333),
            packets_per_frame: 3,
            audio_interval: Duration::from_millis(20),
            key_frame_interval: None,
            video_bytes: 900,
        }
    }
}

impl Source {
    /// Bytes of a packet beyond its headers.
    pub(crate) fn filler(&self, video: bool) -> u16 {
        if video { self.video_bytes } else { 80 }
    }
}

/// How far the page's session has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Session {
    /// The WebSocket is not open yet.
    Pending,
    /// It is; `connection` was said.
    Connected,
    /// `getUserData` came.
    Established,
    /// The WebSocket closed.
    Disconnected,
}

/// One message of the server.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// When, on the stand-in's clock.
    pub at: Duration,
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub data: Vec<Value>,
}

/// A page of the WebSDK and the browser around it.
#[derive(Debug)]
pub struct Browser {
    clock: Instant,
    number: u32,
    crypto: Arc<CryptoProvider>,
    session: Session,
    streams: BTreeMap<String, Stream>,
    streams_made: u32,
    outputs: VecDeque<Output>,
    held: VecDeque<String>,
    messages: Vec<Message>,
    complaints: Vec<String>,
    /// Whether pings are answered; a page that hangs does not.
    pub answers_pings: bool,
    /// What the next publisher will send.
    pub source: Source,
    /// What `custom` of `connection` has as its token.
    pub session_token: Option<String>,
    /// The same of the next stream.
    pub token: Option<String>,
}

impl Browser {
    /// Opens a page. `number` tells this stand-in's packets from those of others.
    pub fn new(now: Instant, number: u32, crypto: Arc<CryptoProvider>) -> Self {
        Self {
            clock: now,
            number,
            crypto,
            session: Session::Pending,
            streams: BTreeMap::new(),
            streams_made: 0,
            outputs: VecDeque::new(),
            held: VecDeque::new(),
            messages: Vec::new(),
            complaints: Vec::new(),
            answers_pings: true,
            source: Source::default(),
            session_token: None,
            token: None,
        }
    }

    /// The number that its packets carry.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How far the session has come.
    pub fn session(&self) -> Session {
        self.session
    }

    /// Every message of the server, in order, pings included.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Where the server broke the protocol in a way that a page would not survive.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// One stream object.
    pub fn stream(&self, id: &str) -> Option<&Stream> {
        self.streams.get(id)
    }

    /// All stream objects by media session id.
    pub fn streams(&self) -> impl Iterator<Item = (&str, &Stream)> {
        self.streams.iter().map(|(id, stream)| (id.as_str(), stream))
    }

    /// The WebSocket is open: says `connection`.
    pub fn opened(&mut self) {
        self.session = Session::Connected;
        self.say("connection", with_token(connection_request(), self.session_token.as_deref()));
    }

    /// The WebSocket closed: the SDK marks every stream FAILED and forgets it.
    pub fn closed(&mut self, now: Instant) {
        self.session = Session::Disconnected;
        for stream in self.streams.values_mut() {
            let goodbye = stream.release(now);
            self.outputs.extend(goodbye.into_iter().map(Output::Datagram));
        }
    }

    /// `createStream({name}).publish()`; media will use the address `local`. Before the session
    /// is established the request waits for it.
    ///
    /// Answers with the media session id.
    pub fn publish(&mut self, now: Instant, name: &str, shape: Shape, local: SocketAddr) -> String {
        let id = self.next_id();
        let sdp = self.offer(now, &id, name, shape.clone(), Some(self.source), local);
        let request = publish_request(&id, name, &shape, &sdp);
        self.ask("publishStream", with_token(request, self.token.as_deref()));
        id
    }

    /// `createStream({name}).play()`; media will use the address `local`. Before the session is
    /// established the request waits for it.
    ///
    /// Answers with the media session id.
    pub fn play(&mut self, now: Instant, name: &str, shape: Shape, local: SocketAddr) -> String {
        let id = self.next_id();
        let sdp = self.offer(now, &id, name, shape, None, local);
        let request = play_request(&id, name, &sdp);
        self.ask("playStream", with_token(request, self.token.as_deref()));
        id
    }

    /// `stream.stop()`: tells the server and closes the peer connection at once.
    pub fn stop(&mut self, now: Instant, id: &str) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let goodbye = stream.release(now);
        let name = if stream.publishing { "unPublishStream" } else { "stopStream" };
        let request = json!({
            "mediaSessionId": id, "name": stream.name, "published": stream.publishing,
            "hasVideo": true, "hasAudio": true, "status": stream.status(), "record": false
        });
        self.outputs.extend(goodbye.into_iter().map(Output::Datagram));
        self.say(name, request);
    }

    /// Where the media of a stream come from and go to, while it has a transport.
    pub fn address_of(&self, id: &str) -> Option<SocketAddr> {
        Some(self.streams.get(id)?.peer.as_ref()?.local())
    }

    /// The number of the header extension that counts what comes to a transport at this address.
    pub(crate) fn counting_id(&self, local: SocketAddr) -> Option<u8> {
        let mut peers = self.streams.values().filter_map(|stream| stream.peer.as_ref());
        peers.find(|peer| peer.local() == local)?.transport.as_ref()?.counting_id()
    }

    /// `stream.available()`. Answers with the id that the reply will carry.
    pub fn ask_available(&mut self, name: &str) -> String {
        let id = self.next_id();
        self.ask("availableStream", json!({"mediaSessionId": id, "name": name}));
        id
    }

    /// `stream.sendData()` and the mute events.
    pub fn send_event(&mut self, id: &str, kind: &str, payload: Option<Value>) {
        let mut event = json!({"mediaSessionId": id, "type": kind});
        if let (Some(event), Some(payload)) = (event.as_object_mut(), payload) {
            event.insert("payload".into(), payload);
        }
        self.say("sendStreamEvent", event);
    }

    /// Says anything at all.
    pub fn say(&mut self, message: &str, argument: Value) {
        self.say_text(json!({"message": message, "data": [argument]}).to_string());
    }

    fn ask(&mut self, message: &str, argument: Value) {
        match self.session {
            Session::Pending | Session::Connected => {
                self.held.push_back(json!({"message": message, "data": [argument]}).to_string());
            }
            Session::Established | Session::Disconnected => self.say(message, argument),
        }
    }

    /// Says anything at all, JSON or not.
    pub fn say_text(&mut self, text: impl Into<String>) {
        self.outputs.push_back(Output::Text(text.into()));
    }

    /// Loses a stream's transport without a word, as a browser does whose network is gone.
    pub fn forget_media(&mut self, id: &str) {
        if let Some(stream) = self.streams.get_mut(id)
            && let Some(peer) = stream.peer.take()
        {
            stream.keep(peer);
        }
    }

    /// Ends without a word to anybody.
    pub fn vanish(&mut self, now: Instant) {
        for stream in self.streams.values_mut() {
            stream.release(now);
        }
        self.outputs.clear();
        self.session = Session::Disconnected;
    }

    /// Asks for a key frame of a played stream, as a decoder that lost track does.
    pub fn ask_for_key_frame(&mut self, now: Instant, id: &str) {
        if let Some(peer) = self.streams.get_mut(id).and_then(|stream| stream.peer.as_mut()) {
            peer.ask_for_key_frames();
            peer.advance(now);
        }
    }

    /// A text message came.
    pub fn text(&mut self, now: Instant, text: &str) {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            self.complaints.push(format!("not JSON: {text}"));
            return;
        };
        let name = value.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(data) = value.get("data").and_then(Value::as_array).cloned() else {
            self.complaints.push(format!("{name} without an array in data"));
            return;
        };
        let at = now.saturating_duration_since(self.clock);
        self.messages.push(Message { at, name: name.clone(), data: data.clone() });
        self.dispatch(now, &name, &data);
    }

    /// A datagram came.
    pub fn datagram(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) {
        for peer in self.streams.values_mut().filter_map(|stream| stream.peer.as_mut()) {
            if peer.local() == local {
                peer.datagram(now, remote, bytes);
            }
        }
    }

    /// Time passed.
    pub fn timeout(&mut self, now: Instant) {
        for peer in self.streams.values_mut().filter_map(|stream| stream.peer.as_mut()) {
            if peer.due() <= now {
                peer.advance(now);
            }
        }
    }

    /// The next thing that it wants done.
    pub fn poll(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let mut due = None;
        for peer in self.streams.values_mut().filter_map(|stream| stream.peer.as_mut()) {
            if let Some(datagram) = peer.outgoing.pop_front() {
                return Output::Datagram(datagram);
            }
            due = Some(due.map_or(peer.due(), |due: Instant| due.min(peer.due())));
        }
        Output::Timeout(due)
    }

    fn next_id(&mut self) -> String {
        self.streams_made += 1;
        format!("{:08x}-e705-11f1-810b-{:012x}", self.streams_made, self.number)
    }

    fn offer(
        &mut self,
        now: Instant,
        id: &str,
        name: &str,
        shape: Shape,
        source: Option<Source>,
        local: SocketAddr,
    ) -> String {
        let birth = Birth {
            clock: self.clock,
            local,
            shape: shape.clone(),
            source,
            publisher: self.number,
            crypto: self.crypto.clone(),
            gathered: false,
        };
        let (peer, sdp) = Peer::new(now, birth);
        let stream = Stream::new(name, source.is_some(), shape, peer);
        self.streams.insert(id.to_owned(), stream);
        sdp
    }

    fn dispatch(&mut self, now: Instant, name: &str, data: &[Value]) {
        match name {
            "ping" if self.answers_pings => self.say("pong", Value::Null),
            "getUserData" => match self.session {
                Session::Connected if data.first().is_some_and(Value::is_object) => {
                    self.session = Session::Established;
                    self.outputs.extend(self.held.drain(..).map(Output::Text));
                }
                Session::Pending
                | Session::Connected
                | Session::Established
                | Session::Disconnected => {
                    self.complaints.push(format!("getUserData in {:?}", self.session));
                }
            },
            "setRemoteSDP" => self.set_remote_sdp(now, data),
            "notifyStreamStatusEvent" => self.status_event(now, data),
            "notifyStreamEvent" => self.stream_event(data),
            "registered" => self.complaints.push("registered ends the session".into()),
            _ => {}
        }
    }

    fn set_remote_sdp(&mut self, now: Instant, data: &[Value]) {
        let (Some(Value::String(id)), Some(Value::String(sdp))) = (data.first(), data.get(1))
        else {
            self.complaints.push("setRemoteSDP wants two strings".into());
            return;
        };
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.answer.replace(sdp.clone()).is_some() {
            self.complaints.push(format!("a second setRemoteSDP for {}", stream.name));
            return;
        }
        if let Some(peer) = &mut stream.peer
            && let Err(problem) = peer.answer_in_page(now, sdp)
        {
            self.complaints.push(format!("the answer for {}: {problem}", stream.name));
        }
    }

    fn status_event(&mut self, now: Instant, data: &[Value]) {
        let event = data.first().unwrap_or(&Value::Null);
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        if event.get("available").is_some() {
            self.complaints.push("a status event with `available` is taken for a reply".into());
        }
        let status = text("status");
        if !STATUSES.contains(&status) {
            self.complaints.push(format!("no page knows the status {status:?}"));
        }
        let Some(stream) = self.streams.get_mut(text("mediaSessionId")) else { return };
        stream.statuses.push((status.to_owned(), text("info").to_owned()));
        if matches!(status, "FAILED" | "STOPPED" | "UNPUBLISHED") {
            let goodbye = stream.release(now);
            self.outputs.extend(goodbye.into_iter().map(Output::Datagram));
        }
    }

    fn stream_event(&mut self, data: &[Value]) {
        let event = data.first().unwrap_or(&Value::Null);
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        let payload = event.get("payload").cloned().unwrap_or(Value::Null);
        if matches!(text("type"), "resize" | "notEnoughBandwidth") && payload.is_null() {
            self.complaints.push(format!("{} without a payload", text("type")));
        }
        if let Some(stream) = self.streams.get_mut(text("mediaSessionId")) {
            stream.events.push((text("type").to_owned(), payload));
        }
    }
}

/// The statuses that pages have callbacks for.
const STATUSES: [&str; 6] =
    ["PENDING", "PUBLISHING", "PLAYING", "UNPUBLISHED", "STOPPED", "FAILED"];

/// The argument of `connection`, as the SDK writes it.
pub fn connection_request() -> Value {
    json!({
        "appKey": "defaultApp",
        "mediaProviders": ["WebRTC", "MSE", "WSPlayer"],
        "clientVersion": "2.0",
        "clientOSVersion": "5.0 (X11; Linux x86_64)",
        "clientBrowserVersion": "Mozilla/5.0 (X11; Linux x86_64) StandIn/1.0",
        "msePacketizationVersion": 2,
        "clientInfo": {}
    })
}

/// The same with a token for the server, where the page has one.
fn with_token(mut request: Value, token: Option<&str>) -> Value {
    if let (Some(token), Some(fields)) = (token, request.as_object_mut()) {
        fields.insert("custom".to_owned(), json!({ "token": token }));
    }
    request
}

/// The argument of `publishStream`, as the SDK writes it.
pub fn publish_request(id: &str, name: &str, shape: &Shape, sdp: &str) -> Value {
    json!({
        "mediaSessionId": id, "name": name, "published": true,
        "hasVideo": shape.has_video(true), "hasAudio": shape.has_video(false),
        "status": "PENDING", "record": false, "mediaProvider": "WebRTC", "sdp": sdp,
        "bitrate": 0, "minBitrate": 0, "maxBitrate": 0, "localMediaInfo": {}
    })
}

/// The argument of `playStream`, as the SDK writes it.
pub fn play_request(id: &str, name: &str, sdp: &str) -> Value {
    json!({
        "mediaSessionId": id, "name": name, "published": false,
        "hasVideo": true, "hasAudio": true, "status": "PENDING", "record": false,
        "width": 0, "height": 0, "mediaProvider": "WebRTC", "sdp": sdp,
        "bitrate": 0, "minBitrate": 0, "maxBitrate": 0, "quality": 0
    })
}
