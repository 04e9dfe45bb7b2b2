//! A server of WHIP and WHEP in a few threads: one takes connections, one for each connection
//! answers, and one moves all media.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use str0m::change::SdpOffer;
use str0m::media::KeyframeRequestKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

const PATIENCE: Duration = Duration::from_secs(20);
/// Between two calls of everybody.
const TURN: Duration = Duration::from_millis(2);

/// A server. It ends with the test.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    /// Its certificate, should it need one, and that one's fingerprint.
    pub(crate) certificate: String,
    pub(crate) fingerprint: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<String>>,
    next: AtomicU64,
    silent: AtomicBool,
}

impl Server {
    pub(crate) fn start(secure: bool) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let print = digest::digest(&digest::SHA256, cert.der());
        let fingerprint = print.as_ref().iter().map(|byte| format!("{byte:02X}"));
        let tls = secure.then(|| {
            let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![cert.der().clone()], key);
            Arc::new(config.unwrap())
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let media = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let media_addr = media.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (sender, orders) = mpsc::channel();
        let heard = Arc::clone(&shared);
        std::thread::spawn(move || Media::new(media, heard).run(&orders));
        let answering = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                let desk = Desk {
                    shared: Arc::clone(&answering),
                    orders: sender.clone(),
                    media: media_addr,
                };
                let tls = tls.clone();
                std::thread::spawn(move || match tls {
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        desk.serve(StreamOwned::new(connection, socket));
                    }
                    None => desk.serve(socket),
                });
            }
        });
        let fingerprint = fingerprint.collect::<Vec<_>>().join(":");
        Self { addr, certificate: cert.pem(), fingerprint, shared }
    }

    /// The first lines of the requests that came, without the protocol.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits until a request came so often.
    pub(crate) fn wait_for(&self, request: &str, times: usize) {
        let end = Instant::now() + PATIENCE;
        while self.requests().iter().filter(|it| *it == request).count() < times {
            assert!(Instant::now() < end, "not {times} times {request}: {:?}", self.requests());
            std::thread::sleep(TURN);
        }
    }

    /// Sends nothing any more.
    pub(crate) fn fall_silent(&self) {
        self.shared.silent.store(true, Ordering::Relaxed);
    }
}

enum Order {
    Take {
        id: u64,
        stream: String,
        publishes: bool,
        rtc: Box<Rtc>,
    },
    Drop(u64),
    /// Whether anybody publishes this.
    Ask(String, Sender<bool>),
}

/// Where requests are answered.
struct Desk {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    media: SocketAddr,
}

impl Desk {
    fn serve(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        // Whoever hangs up, however it does, has nothing more to ask.
        while let Some((request, body)) = read_request(&mut stream) {
            let answer = self.answer(&request, &body);
            self.shared.requests.lock().unwrap().push(request);
            let stream = stream.get_mut();
            if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &str, body: &str) -> String {
        let (method, path) = request.split_once(' ').unwrap();
        let reply = |status: &str, more: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
        };
        let words: Vec<&str> = path.split('/').collect();
        match (method, words.as_slice()) {
            ("DELETE", ["", "sessions", id]) => {
                self.orders.send(Order::Drop(id.parse().unwrap())).unwrap();
                reply("200 OK", "", "")
            }
            ("POST", ["", kind @ ("whip" | "whep"), stream]) => {
                let publishes = *kind == "whip";
                if !publishes && !self.is_published(stream) {
                    return reply("404 Not Found", "", "no such stream");
                }
                let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
                let (rtc, answer) = self.peer(body);
                let stream = (*stream).to_owned();
                let rtc = Box::new(rtc);
                self.orders.send(Order::Take { id, stream, publishes, rtc }).unwrap();
                let more = format!("Content-Type: application/sdp\r\nLocation: /sessions/{id}\r\n");
                reply("201 Created", &more, &answer)
            }
            _ => reply("405 Method Not Allowed", "", ""),
        }
    }

    fn is_published(&self, stream: &str) -> bool {
        let (asking, known) = mpsc::channel();
        self.orders.send(Order::Ask(stream.to_owned(), asking)).unwrap();
        known.recv().unwrap()
    }

    fn peer(&self, offer: &str) -> (Rtc, String) {
        // A page that posts once has nothing to add later.
        assert!(offer.contains("a=candidate:1 1 udp "), "{offer}");
        let mut rtc = RtcConfig::new().set_rtp_mode(true).set_ice_lite(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(self.media, "udp").unwrap());
        let offer = SdpOffer::from_sdp_string(offer).unwrap();
        let answer = rtc.sdp_api().accept_offer(offer).unwrap();
        (rtc, answer.to_sdp_string())
    }
}

fn read_request(stream: &mut impl BufRead) -> Option<(String, String)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let request = head.first()?.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim_end().parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some((request, String::from_utf8(body).unwrap()))
}

/// Everybody's media, over one socket.
struct Media {
    socket: UdpSocket,
    shared: Arc<Shared>,
    peers: BTreeMap<u64, Peer>,
}

struct Peer {
    stream: String,
    publishes: bool,
    rtc: Box<Rtc>,
}

impl Media {
    fn new(socket: UdpSocket, shared: Arc<Shared>) -> Self {
        socket.set_read_timeout(Some(TURN)).unwrap();
        Self { socket, shared, peers: BTreeMap::new() }
    }

    fn run(&mut self, orders: &Receiver<Order>) {
        let here = self.socket.local_addr().unwrap();
        let mut room = [0; 2048];
        loop {
            for order in orders.try_iter() {
                self.obey(order);
            }
            if let Ok((length, source)) = self.socket.recv_from(&mut room) {
                let bytes = &room[..length];
                let receive = Receive::new(Protocol::Udp, source, here, bytes).unwrap();
                let input = Input::Receive(Instant::now(), receive);
                if let Some(peer) = self.peers.values_mut().find(|it| it.rtc.accepts(&input)) {
                    peer.rtc.handle_input(input).unwrap();
                }
            }
            for peer in self.peers.values_mut() {
                peer.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
            }
            for id in self.peers.keys().copied().collect::<Vec<_>>() {
                self.drain(id);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Take { id, stream, publishes, rtc } => {
                self.peers.insert(id, Peer { stream, publishes, rtc });
            }
            Order::Drop(id) => {
                self.peers.remove(&id).expect("everybody leaves once");
            }
            Order::Ask(stream, answer) => {
                let found = self.peers.values().any(|it| it.publishes && it.stream == stream);
                answer.send(found).unwrap();
            }
        }
    }

    fn drain(&mut self, id: u64) {
        loop {
            let peer = self.peers.get_mut(&id).unwrap();
            if !peer.rtc.is_alive() {
                return;
            }
            let stream = peer.stream.clone();
            let output = peer.rtc.poll_output().unwrap();
            let mut others = self.peers.values_mut().filter(|it| it.stream == stream);
            match output {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => {
                    if !self.shared.silent.load(Ordering::Relaxed) {
                        self.socket.send_to(&transmit.contents, transmit.destination).unwrap();
                    }
                }
                Output::Event(Event::RtpPacket(packet)) => {
                    // Both of the offers that met here are the load tool's: its numbers are theirs.
                    let header = &packet.header;
                    let mid = if *header.payload_type == 111 { "0" } else { "1" };
                    for peer in others.filter(|it| !it.publishes) {
                        let mut api = peer.rtc.direct_api();
                        let Some(sender) = api.stream_tx_by_mid(mid.into(), None) else { continue };
                        let write = RtpWrite::new(
                            header.payload_type,
                            packet.seq_no,
                            header.timestamp,
                            Instant::now(),
                            &packet.payload[..],
                        );
                        sender.write_rtp(write.marker(header.marker).nackable(mid == "1"));
                    }
                }
                Output::Event(Event::KeyframeRequest(request)) => {
                    if let Some(publisher) = others.find(|it| it.publishes) {
                        let mut api = publisher.rtc.direct_api();
                        if let Some(sent) = api.stream_rx_by_mid(request.mid, None) {
                            sent.request_keyframe(KeyframeRequestKind::Pli);
                        }
                    }
                }
                Output::Event(_) => {}
            }
        }
    }
}
