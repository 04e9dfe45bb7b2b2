//! A node among far ends that the tests play: pages, shards' media, and edges.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::Event;
use crate::limits::Limits;
use crate::media::{Formats, Shortage};
use crate::message::{Answer, Door, NodeState, Question};
use crate::output::Output;
use crate::signal::StreamRequest;
use crate::stream::http::{Method, Response};
use crate::stream::{Connection, Incoming};
use crate::tests::Bench;
use crate::token::LinkRefusal;

mod admission;
mod authentication;
mod balancing;
mod capacity;
mod choosing;
mod hooks;
mod links;
mod model;
mod playing;
mod publishing;
mod random;
mod redialing;
mod reloading;

/// A node of one shard, and all that it speaks to.
struct Site {
    bench: Bench,
    node: Node,
    sessions: u64,
    /// What sessions were told, by session.
    told: Vec<(SessionId, Value)>,
    /// What the media was told.
    media: Vec<ToMedia>,
    responses: Vec<Response>,
    /// What the connections were told about who may come in.
    doors: Vec<Door>,
    /// Whether the shards were told to say goodbye.
    left: bool,
    /// Answers to tokens of links.
    admitted: Vec<Result<String, LinkRefusal>>,
    events: Vec<Event>,
    edges: BTreeMap<IpAddr, Edge>,
    conns: BTreeMap<ConnId, (IpAddr, Connection)>,
    /// Every TCP connection that was tried, and when.
    dialed: Vec<(Instant, IpAddr)>,
}

/// An edge as the tests play it.
#[derive(Default)]
struct Edge {
    /// Whether it takes connections.
    up: bool,
    /// Whether it answers nothing.
    silent: bool,
    /// What it has against tokens, if anything.
    refusal: Option<&'static str>,
    /// Whether it reads nothing.
    slow: bool,
    /// What it answers to polls.
    stat: String,
    /// What it wants polls to show.
    admin_token: Option<String>,
    /// With which status it answers what is posted; 0: not at all.
    verdict: u16,
    /// What was posted, and where.
    posted: Vec<(String, Value)>,
    /// What it was told over its links, but for `connection`.
    heard: Vec<(Instant, Value)>,
    /// The tokens that it was shown; none where a link had none.
    tokens: Vec<Option<String>>,
}

impl Site {
    fn new() -> Self {
        Self::with("", None, Limits::default())
    }

    fn bounded(limits: Limits) -> Self {
        Self::with("", None, limits)
    }

    /// A node that pushes to this many edges, all down at first.
    fn of_edges(count: u8, mode: &str, limits: Limits) -> Self {
        let nodes: String = (1..=count)
            .map(|n| format!("<node id='{n}'><ip>{}</ip><ws>8080</ws></node>", edge(n)))
            .collect();
        let xml = format!("<loadbalancer {mode}>{nodes}</loadbalancer>");
        let mut site = Self::with("load_balancing_enabled=true\n", Some(&xml), limits);
        for n in 1..=count {
            site.edges.insert(edge(n), Edge { stat: "calls=0\n".into(), ..Edge::default() });
        }
        site
    }

    fn with(properties: &str, balancing: Option<&str>, limits: Limits) -> Self {
        let mut bench = Bench::with(properties, balancing).bounded(limits);
        let node = Node::new(&bench.ctx());
        Self {
            bench,
            node,
            sessions: 0,
            told: Vec::new(),
            media: Vec::new(),
            responses: Vec::new(),
            doors: Vec::new(),
            left: false,
            admitted: Vec::new(),
            events: Vec::new(),
            edges: BTreeMap::new(),
            conns: BTreeMap::new(),
            dialed: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        self.bench.now
    }

    fn hear(&mut self, word: ToNode) {
        self.node.handle(&mut self.bench.ctx(), word);
        self.settle();
    }

    /// A page, or a link of a node, connects from this address.
    fn join_as(&mut self, address: &str, greeting: &str) -> SessionId {
        let limits = &self.bench.config.limits;
        let mut dialogue = signal::Session::new(self.bench.now, limits);
        let step = dialogue.handle(self.bench.now, greeting, "token", None, limits);
        let Ok(signal::Step::Establish { greeting, .. }) = step else { panic!("{step:?}") };
        self.greet(address, greeting)
    }

    fn greet(&mut self, address: &str, greeting: Box<Greeting>) -> SessionId {
        self.sessions += 1;
        let session = SessionId { shard: ShardId::NODE, conn: ConnId::accepted(self.sessions) };
        let remote = SocketAddr::new(address.parse().unwrap(), 40_000);
        self.hear(ToNode::Established { session, remote, greeting });
        session
    }

    fn join(&mut self, address: &str) -> SessionId {
        self.join_as(address, r#"{"message":"connection","data":[{}]}"#)
    }

    fn link(&mut self, address: &str, node: &str) -> SessionId {
        self.join_as(address, &signal::connection(node))
    }

    fn ask(&mut self, session: SessionId, request: Request) {
        self.hear(ToNode::Requested { session, request: Box::new(request) });
    }

    fn publish(&mut self, session: SessionId, id: &str, name: &str) {
        self.ask(session, Request::Publish(wish(id, name)));
    }

    fn play(&mut self, session: SessionId, id: &str, name: &str) {
        self.ask(session, Request::Play(wish(id, name)));
    }

    fn stop(&mut self, session: SessionId, id: &str) {
        self.ask(session, Request::Stop { media_session: id.to_owned() });
    }

    fn leave(&mut self, session: SessionId) {
        self.hear(ToNode::Gone { session });
    }

    /// The peer of the last offer that the media was given, or told to make.
    fn peer(&self) -> PeerId {
        let peer = |word: &ToMedia| match word {
            ToMedia::AcceptIngest { peer, .. }
            | ToMedia::AcceptEgress { peer, .. }
            | ToMedia::Dial { peer, .. } => Some(*peer),
            ToMedia::TakeAnswer { .. }
            | ToMedia::Drop { .. }
            | ToMedia::Subscribe { .. }
            | ToMedia::Unsubscribe { .. }
            | ToMedia::WantKeyframe { .. } => None,
        };
        self.media.iter().rev().find_map(peer).expect("a peer was asked for")
    }

    fn answer(&mut self, peer: PeerId, formats: Formats) {
        let answer = Answer { sdp: "v=0 answer".to_owned(), formats };
        self.hear(ToNode::Answered { peer, outcome: Ok(answer) });
    }

    fn up(&mut self, peer: PeerId) {
        self.hear(ToNode::Up { peer });
    }

    fn fail(&mut self, peer: PeerId, fault: PeerFault) {
        self.hear(ToNode::Failed { peer, fault });
    }

    /// Publishes and brings the media path up.
    fn live(&mut self, session: SessionId, id: &str, name: &str) -> PeerId {
        self.publish(session, id, name);
        self.finish(video("vp8"))
    }

    /// Plays and brings the media path up.
    fn watch(&mut self, session: SessionId, id: &str, name: &str) -> PeerId {
        self.play(session, id, name);
        self.finish(video("vp8"))
    }

    /// Brings the peer up that was asked for last.
    fn finish(&mut self, formats: Formats) -> PeerId {
        let peer = self.peer();
        self.answer(peer, formats);
        self.up(peer);
        peer
    }

    /// The last status of a stream of a session, with its reason.
    fn status(&self, session: SessionId, id: &str) -> (String, String) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = self.told.iter().rev().find(|(to, message)| {
            *to == session
                && message["message"] == "notifyStreamStatusEvent"
                && message["data"][0]["mediaSessionId"] == id
        });
        told.map(|(_, message)| {
            (text(&message["data"][0]["status"]), text(&message["data"][0]["info"]))
        })
        .unwrap_or_default()
    }

    /// Takes what a session was told, as names of messages.
    fn told(&mut self, session: SessionId) -> Vec<Value> {
        let (its, others) =
            std::mem::take(&mut self.told).into_iter().partition(|(to, _)| *to == session);
        self.told = others;
        let its: Vec<(SessionId, Value)> = its;
        its.into_iter().map(|(_, message)| message).collect()
    }

    fn dropped(&self, peer: PeerId) -> bool {
        self.media.iter().any(|word| matches!(word, ToMedia::Drop { peer: gone } if *gone == peer))
    }

    /// Lets time pass, deadline by deadline.
    fn wait(&mut self, time: Duration) {
        let end = self.bench.now + time;
        for _ in 0..100_000 {
            match self.node.next_timeout(&self.bench.config.limits) {
                Some(due) if due <= end => {
                    self.bench.now = self.bench.now.max(due);
                    self.node.handle_timeout(&mut self.bench.ctx());
                    self.settle();
                }
                Some(_) | None => {
                    self.bench.now = end;
                    return;
                }
            }
        }
        panic!("it does not come to rest");
    }

    fn wait_ms(&mut self, ms: u64) {
        self.wait(Duration::from_millis(ms));
    }

    /// Sorts out what the node said and did until it has nothing more to say.
    fn settle(&mut self) {
        loop {
            if let Some(message) = self.bench.out.pop_to_self() {
                self.note(message);
            } else if let Some(output) = self.bench.out.pop() {
                self.obey(output);
            } else {
                return;
            }
        }
    }

    fn note(&mut self, message: Message) {
        match message {
            Message::Node(word) => self.node.handle(&mut self.bench.ctx(), word),
            Message::Connection { conn, word: ToConnection::Say(text) } => {
                let session = SessionId { shard: ShardId::NODE, conn };
                self.told.push((session, serde_json::from_str(&text).unwrap()));
            }
            Message::Connection { word: ToConnection::Respond(response), .. } => {
                self.responses.push(*response);
            }
            Message::Connection { word: ToConnection::Admit(outcome), .. } => {
                self.admitted.push(outcome);
            }
            Message::Happened { event, to } => {
                for (conn, id) in to {
                    let session = SessionId { shard: ShardId::NODE, conn };
                    let text = signal::stream_event(&id, &event.kind, event.payload.as_ref());
                    self.told.push((session, serde_json::from_str(&text).unwrap()));
                }
            }
            Message::TookUp(_) => {}
            Message::Media(word) => self.media.push(word),
            Message::Door(door) => self.doors.push(door),
            Message::Leave => self.left = true,
            Message::Packets(_) => panic!("the node sends no packets"),
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Resolve { lookup, host } => {
                let addrs = [host.parse().unwrap()];
                self.node.handle_resolved(&mut self.bench.ctx(), lookup, &addrs);
            }
            Output::Connect { conn, addr } => {
                self.dialed.push((self.bench.now, addr.ip()));
                if self.edges[&addr.ip()].up {
                    let limits = &self.bench.config.limits;
                    let far = Connection::accept(None, self.bench.clock.clone(), limits);
                    self.conns.insert(conn, (addr.ip(), far.unwrap()));
                    self.node.handle_connected(&mut self.bench.ctx(), conn);
                } else {
                    self.node.handle_closed(&mut self.bench.ctx(), conn, Hangup::Refused);
                }
            }
            Output::Write(conn) => self.carry(conn),
            Output::Close { conn, .. } => drop(self.conns.remove(&conn)),
            Output::Event(event) => self.events.push(event),
            Output::Transmit(_)
            | Output::Bind { .. }
            | Output::Reload { .. }
            | Output::Post { .. }
            | Output::Timeout(_) => panic!("not the node's: {output:?}"),
        }
    }

    /// Carries bytes between the node and an edge until both are silent.
    fn carry(&mut self, conn: ConnId) {
        if self.conns.get(&conn).is_some_and(|(ip, _)| self.edges[ip].slow) {
            return;
        }
        loop {
            let bytes = self.node.outgoing(conn).to_vec();
            self.node.wrote(conn, bytes.len());
            let Some((ip, far)) = self.conns.get_mut(&conn) else { return };
            let mut incoming = VecDeque::new();
            far.receive(&bytes, &mut incoming).unwrap();
            let edge = self.edges.get_mut(ip).unwrap();
            for incoming in incoming {
                edge.take(self.bench.now, far, incoming);
            }
            let back = far.outgoing().to_vec();
            far.wrote(back.len());
            if bytes.is_empty() && back.is_empty() {
                return;
            }
            self.node.handle_received(&mut self.bench.ctx(), conn, &back);
        }
    }

    /// The connection of the link to an edge.
    fn link_to(&self, n: u8) -> ConnId {
        let link = self.node.links.get(u32::from(n)).expect("the edge is in the file");
        let mut conns = self.conns.keys();
        *conns.find(|conn| link.dialer.is_on(**conn)).expect("the link is being dialed or up")
    }

    /// An edge that read nothing takes what waited for it.
    fn catch_up(&mut self, n: u8) {
        self.edge(n).slow = false;
        self.carry(self.link_to(n));
        self.settle();
    }

    /// The node goes on with these edges.
    fn reload(&mut self, nodes: &str) {
        self.reload_with("", nodes);
    }

    /// The same, and these properties.
    fn reload_with(&mut self, properties: &str, nodes: &str) {
        let xml = format!("<loadbalancer>{nodes}</loadbalancer>");
        let properties = format!("load_balancing_enabled=true\n{properties}");
        let fresh = Bench::with(&properties, Some(&xml));
        self.bench.config.settings = fresh.config.settings;
        self.node.reload(&mut self.bench.ctx());
        self.settle();
        self.wait_ms(0);
    }

    /// An edge says something over its link.
    fn edge_says(&mut self, n: u8, text: &str) {
        let its = |(_, (ip, far)): &(&ConnId, &mut (IpAddr, Connection))| {
            *ip == edge(n) && far.is_websocket()
        };
        let (conn, (_, far)) = self.conns.iter_mut().find(its).expect("the link is up");
        let conn = *conn;
        far.send_text(text).unwrap();
        let back = far.outgoing().to_vec();
        far.wrote(back.len());
        self.node.handle_received(&mut self.bench.ctx(), conn, &back);
        self.settle();
    }

    /// An edge ends, or breaks, all that it has with us.
    fn cut(&mut self, n: u8) {
        let its = self.conns.iter().filter(|(_, (ip, _))| *ip == edge(n));
        for conn in its.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            self.conns.remove(&conn);
            self.node.handle_closed(&mut self.bench.ctx(), conn, Hangup::Reset);
        }
        self.settle();
    }

    fn edge(&mut self, n: u8) -> &mut Edge {
        self.edges.get_mut(&edge(n)).unwrap()
    }

    /// The messages of one name that an edge was told, as their first argument.
    fn heard(&self, n: u8, name: &str) -> Vec<Value> {
        let heard = self.edges[&edge(n)].heard.iter();
        let named = heard.filter(|(_, message)| message["message"] == name);
        named.map(|(_, message)| message["data"][0].clone()).collect()
    }

    /// Brings the relay that was offered last to an edge all the way up.
    fn relay(&mut self, n: u8) -> (PeerId, String) {
        self.relay_of(self.peer(), n)
    }

    fn relay_of(&mut self, peer: PeerId, n: u8) -> (PeerId, String) {
        self.hear(ToNode::Offered { peer, outcome: Ok("v=0 offer".to_owned()) });
        let offer = self.heard(n, "publishStream").pop().expect("the edge was offered the stream");
        let id = offer["mediaSessionId"].as_str().unwrap().to_owned();
        self.edge_says(n, &signal::remote_sdp(&id, "v=0 answer"));
        self.edge_says(n, &status_of(&id, "PUBLISHING"));
        (peer, id)
    }
}

impl Edge {
    fn take(&mut self, now: Instant, far: &mut Connection, incoming: Incoming) {
        match incoming {
            Incoming::Upgrade(request) => {
                let token = request.header("authorization");
                let token = token.map(|token| token.strip_prefix("Bearer ").unwrap().to_owned());
                self.tokens.push(token);
                match &self.refusal {
                    Some(reason) => far.respond(Response::unauthorized(reason)),
                    None => far.accept_upgrade(),
                }
            }
            Incoming::Request(_) if self.silent => {}
            Incoming::Request(request) if request.method == Method::Post => {
                self.posted.push((request.path, serde_json::from_slice(&request.body).unwrap()));
                if self.verdict > 0 {
                    far.respond(Response::json(self.verdict, "{}"));
                }
            }
            Incoming::Request(request)
                if self.admin_token.is_some()
                    && request.header("authorization") != self.admin_token.as_deref() =>
            {
                far.respond(Response::error(401, "no"));
            }
            Incoming::Request(_) => {
                far.respond(Response::ok("text/plain", self.stat.clone().into_bytes()));
            }
            Incoming::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                match message["message"].as_str().unwrap() {
                    "connection" if !self.silent => {
                        far.send_text(r#"{"message":"getUserData","data":[{}]}"#).unwrap();
                    }
                    "ping" if !self.silent => far.send_text(&signal::pong()).unwrap(),
                    _ => {}
                }
                self.heard.push((now, message));
            }
            Incoming::Opened | Incoming::Response { .. } | Incoming::Closed => {}
        }
    }
}

/// The address of an edge.
fn edge(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

fn status_of(id: &str, status: &str) -> String {
    let data = json!([{ "mediaSessionId": id, "status": status, "info": "because" }]);
    json!({ "message": "notifyStreamStatusEvent", "data": data }).to_string()
}

fn wish(id: &str, name: &str) -> StreamRequest {
    StreamRequest {
        media_session: id.to_owned(),
        name: name.to_owned(),
        provider: "WebRTC".to_owned(),
        sdp: "v=0 offer".to_owned(),
        ..StreamRequest::default()
    }
}

/// Opus and a picture in this codec.
fn video(codec: &str) -> Formats {
    use str0m::format::{Codec, CodecSpec, FormatParams};
    use str0m::media::Frequency;
    let codec = if codec == "vp8" { Codec::Vp8 } else { Codec::H264 };
    let spec = |codec, clock_rate| CodecSpec {
        codec,
        clock_rate,
        channels: None,
        format: FormatParams::default(),
    };
    Formats {
        audio: Some(spec(Codec::Opus, Frequency::FORTY_EIGHT_KHZ)),
        video: Some(spec(codec, Frequency::NINETY_KHZ)),
    }
}

fn said(status: &str, info: &str) -> (String, String) {
    (status.to_owned(), info.to_owned())
}
