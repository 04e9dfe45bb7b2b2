//! One viewer: a TCP connection for its signaling, a UDP socket for its media.

use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::SockRef;

use super::keys::Keys;
use super::receiver::{Receiver, Scrutiny};
use super::rtp;
use super::signaling::{Said, Signaling};
use super::srtp::Srtp;
use super::tally::Tally;
use super::track::Track;
use super::transport::{self, State, Transport};
use crate::browser::answer::Answer;

/// Between two rounds of reports, as browsers give feedback.
const ROUND: Duration = Duration::from_millis(50);
/// Room for a second of a stream, where the kernel grants it.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// What a viewer needs of its surroundings.
pub(super) struct Ground<'g> {
    pub(super) now: Instant,
    pub(super) clock: Instant,
    pub(super) registry: &'g Registry,
    pub(super) kind: &'g transport::Kind,
    pub(super) tally: &'g mut Tally,
}

impl Ground<'_> {
    fn at(&self) -> Duration {
        self.now.saturating_duration_since(self.clock)
    }
}

/// Room for what is received with one system call.
#[derive(Debug)]
pub(super) struct Intake {
    room: Box<[u8]>,
    met: [RecvMeta; RUNS],
}

/// Runs taken in with one system call. Each needs room for the largest run there is.
const RUNS: usize = 4;
const RUN_BYTES: usize = 65_536;
/// Calls for one viewer before the next one has its turn. What is left then comes in with what
/// comes next.
const CALLS_MAX: usize = 16;

impl Default for Intake {
    fn default() -> Self {
        Self {
            room: vec![0; RUNS * RUN_BYTES].into_boxed_slice(),
            met: [RecvMeta::default(); RUNS],
        }
    }
}

/// When a viewer came how far, on the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// It began to connect.
    pub(super) opened: Duration,
    /// It asked for its stream.
    pub(super) asked: Option<Duration>,
}

/// One viewer.
#[derive(Debug)]
pub(super) struct Viewer {
    stream: String,
    scrutiny: Scrutiny,
    token: Token,
    socket: Option<TcpStream>,
    backlog: Vec<u8>,
    signaling: Signaling,
    media: Option<Media>,
    /// When it is to be called again.
    pub(super) due: Instant,
    round_at: Instant,
    deadline: Instant,
    pub(super) times: Times,
    /// Why it is over, once it is.
    pub(super) ending: Option<String>,
}

#[derive(Debug)]
struct Media {
    socket: UdpSocket,
    state: UdpSocketState,
    transport: Transport,
    answered: bool,
    /// What the answer named, until there are keys.
    tracks: Vec<Track>,
    scrutiny: Scrutiny,
    receiver: Option<Receiver>,
}

/// What a viewer is to see, and by when.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) server: SocketAddr,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) stream: String,
    pub(super) scrutiny: Scrutiny,
    pub(super) patience: Duration,
}

/// What a viewer has agreed on with a server that knows it already.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) server: SocketAddr,
    pub(super) keys: Keys,
    pub(super) tracks: Vec<Track>,
    pub(super) scrutiny: Scrutiny,
    pub(super) patience: Duration,
}

impl Viewer {
    /// Begins to connect. The viewer's TCP connection has this token, its UDP socket the next.
    pub(super) fn open(ground: &Ground<'_>, ticket: &Ticket, token: Token) -> io::Result<Self> {
        let mut socket = TcpStream::connect(ticket.server)?;
        // Without it a viewer's small messages would wait for each other.
        socket.set_nodelay(true)?;
        ground.registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream: ticket.stream.clone(),
            scrutiny: ticket.scrutiny,
            token,
            socket: Some(socket),
            backlog: Vec::new(),
            signaling: Signaling::web_sdk(&ticket.host, &ticket.path),
            media: None,
            due: ground.now,
            round_at: ground.now + ROUND.mul_f64(fastrand::f64()),
            deadline: ground.now + ticket.patience,
            times: Times { opened: ground.at(), asked: None },
            ending: None,
        })
    }

    /// Takes its seat, which leaves nothing to be agreed on: only its UDP socket is used.
    pub(super) fn seat(ground: &Ground<'_>, seat: Seat, token: Token) -> io::Result<Self> {
        let (socket, state) = bind(seat.server, ground.registry, token)?;
        let local = socket.local_addr()?;
        let srtp = Srtp::new(&seat.keys).ok_or(ErrorKind::InvalidInput)?;
        let at = ground.at();
        let media = Media {
            socket,
            state,
            transport: Transport::seated(ground.now, ground.kind, local, seat.server),
            answered: true,
            tracks: Vec::new(),
            scrutiny: seat.scrutiny,
            receiver: Some(Receiver::new(at, srtp, seat.tracks, seat.scrutiny)),
        };
        let round_at = ground.now + ROUND.mul_f64(fastrand::f64());
        Ok(Self {
            stream: String::new(),
            scrutiny: seat.scrutiny,
            token,
            socket: None,
            backlog: Vec::new(),
            // Nobody listens to what it would say.
            signaling: Signaling::web_sdk("localhost", "/"),
            media: Some(media),
            due: round_at,
            round_at,
            deadline: ground.now + seat.patience,
            times: Times { opened: at, asked: Some(at) },
            ending: None,
        })
    }

    /// The media that came, if any did.
    pub(super) fn receiver(&self) -> Option<&Receiver> {
        self.media.as_ref()?.receiver.as_ref()
    }

    pub(super) fn tracks(&mut self) -> impl Iterator<Item = &mut Track> {
        let receiver = self.media.as_mut().and_then(|media| media.receiver.as_mut());
        receiver.into_iter().flat_map(|receiver| &mut receiver.tracks)
    }

    /// The port of its UDP socket, once it has one.
    pub(super) fn media_port(&self) -> Option<u16> {
        Some(self.media.as_ref()?.socket.local_addr().ok()?.port())
    }

    /// Whether media came.
    pub(super) fn joined(&self) -> bool {
        self.receiver().is_some_and(|receiver| receiver.first_packet.is_some())
    }

    /// Says goodbye, as far as that is possible at once.
    pub(super) fn leave(&mut self) {
        self.signaling.leave();
        self.write();
        self.over("it left");
    }

    /// The TCP connection is ready for something.
    pub(super) fn tcp_ready(&mut self, ground: &mut Ground<'_>) {
        let Some(socket) = &mut self.socket else { return };
        if let Ok(Some(error)) | Err(error) = socket.take_error() {
            let error = complaint(&error);
            return self.over(&format!("the connection failed: {error}"));
        }
        let mut room = [0; 16 * 1024];
        loop {
            let Some(socket) = &mut self.socket else { return };
            match socket.read(&mut room) {
                Ok(length) => {
                    self.signaling.receive(room.get(..length).unwrap_or_default());
                    self.hear(ground);
                    if length == 0 {
                        return self.over("the server hung up");
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // It is not up yet.
                Err(error) if error.kind() == ErrorKind::NotConnected => return,
                Err(error) => return self.over(&format!("the connection broke: {error}")),
            }
        }
        self.write();
    }

    fn hear(&mut self, ground: &mut Ground<'_>) {
        while let Some(said) = self.signaling.poll() {
            let heard = match said {
                Said::Ready => self.ask(ground),
                Said::Answer(sdp) => self.answer(ground, &sdp),
                Said::Ended(why) | Said::Over(why) => Err(why),
            };
            if let Err(why) = heard {
                return self.over(&why);
            }
        }
    }

    fn ask(&mut self, ground: &mut Ground<'_>) -> Result<(), String> {
        let (Some(tcp), None) = (&self.socket, &self.media) else { return Ok(()) };
        let bound = tcp.local_addr().and_then(|local| bind(local, ground.registry, self.token));
        let (socket, state) = bound.map_err(|error| complaint(&error))?;
        let local = socket.local_addr().map_err(|error| complaint(&error))?;
        let (transport, offer) = Transport::offer(ground.now, ground.kind, local);
        self.signaling.play(&self.stream, &offer);
        self.times.asked = Some(ground.at());
        self.media = Some(Media {
            socket,
            state,
            transport,
            answered: false,
            tracks: Vec::new(),
            scrutiny: self.scrutiny,
            receiver: None,
        });
        Ok(())
    }

    fn answer(&mut self, ground: &mut Ground<'_>, sdp: &str) -> Result<(), String> {
        let Some(media) = &mut self.media else { return Ok(()) };
        let answer = Answer::read(sdp, &ground.kind.shape, false);
        let answer = answer.map_err(|problem| format!("the answer is no good: {problem}"))?;
        for line in &answer.lines {
            let main = line.ssrcs.iter().copied().find(|ssrc| Some(*ssrc) != line.rtx);
            if let (Some(codec), Some(ssrc)) = (line.codec, main) {
                media.tracks.push(Track::new(codec, ssrc, line.rtx));
            }
        }
        media.transport.answer(ground.now, &answer)?;
        media.answered = true;
        self.settle(ground);
        Ok(())
    }

    /// The UDP socket has something.
    pub(super) fn udp_ready(&mut self, ground: &mut Ground<'_>, intake: &mut Intake) {
        let Some(media) = &mut self.media else { return };
        for _ in 0..CALLS_MAX {
            match media.receive(ground, intake) {
                Ok(true) => {}
                // An error is the echo of something sent, for example to a port that closed.
                Ok(false) | Err(_) => break,
            }
        }
        let at = ground.at();
        if let Media { receiver: Some(receiver), socket, transport, .. } = media
            && receiver.hurries()
        {
            receiver.ask(at, ground.tally, &mut |packet| send(socket, transport.remote, packet));
        }
        self.settle(ground);
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self, ground: &mut Ground<'_>) {
        if !self.joined() && self.deadline <= ground.now {
            let stage = match &self.media {
                None => "no session",
                Some(Media { answered: false, .. }) => "no answer to the offer",
                Some(Media { receiver: None, .. }) => "no ICE and DTLS",
                Some(_) => "no media",
            };
            return self.over(&format!("{stage} in time"));
        }
        let Some(media) = &mut self.media else {
            self.due = self.deadline;
            return;
        };
        if media.answered && media.transport.due <= ground.now {
            media.transport.advance(ground.now);
        }
        if self.round_at <= ground.now {
            self.round_at = ground.now + ROUND;
            let at = ground.at();
            if let Media { receiver: Some(receiver), socket, transport, .. } = media {
                let send = &mut |packet: &[u8]| send(socket, transport.remote, packet);
                receiver.report(at, ground.tally, send);
            }
        }
        self.settle(ground);
    }

    /// Brings the transport's news to where they belong, and sets the time of the next call.
    fn settle(&mut self, ground: &Ground<'_>) {
        let at = ground.at();
        let Some(media) = &mut self.media else { return };
        for (remote, datagram) in media.transport.outgoing.drain(..) {
            send(&media.socket, Some(remote), &datagram);
        }
        media.use_keys(at);
        if media.transport.state == State::Lost {
            return self.over("the transport was lost");
        }
        let round = if media.receiver.is_some() { self.round_at } else { self.deadline };
        self.due = if media.answered { round.min(media.transport.due) } else { round };
    }

    fn write(&mut self) {
        self.backlog.extend(self.signaling.take_outgoing());
        let Some(socket) = &mut self.socket else { return };
        while !self.backlog.is_empty() {
            match socket.write(&self.backlog) {
                Ok(length) => {
                    self.backlog.drain(..length);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
                {
                    break;
                }
                Err(error) => return self.over(&format!("the connection broke: {error}")),
            }
        }
    }

    fn over(&mut self, why: &str) {
        self.ending.get_or_insert_with(|| why.to_owned());
        self.socket = None;
        if let Some(Media { receiver: None, .. }) = self.media {
            self.media = None;
        }
    }
}

impl Media {
    /// Receives a batch of runs, and tells whether there may be more.
    fn receive(&mut self, ground: &mut Ground<'_>, intake: &mut Intake) -> io::Result<bool> {
        let Intake { room, met } = intake;
        let mut rooms = room.chunks_mut(RUN_BYTES).map(IoSliceMut::new);
        let mut rooms: [IoSliceMut<'_>; RUNS] =
            std::array::from_fn(|_| rooms.next().expect("room is RUNS times RUN_BYTES"));
        let (socket, state) = (&self.socket, &self.state);
        let received = socket.try_io(|| state.recv(UdpSockRef::from(socket), &mut rooms, met))?;
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = ground.clock.elapsed();
        for (run, met) in room.chunks_mut(RUN_BYTES).zip(met.iter()).take(received) {
            // When the kernel had it: that this process was busy is no delay of the server's.
            let age = met.timestamp.map_or(Duration::ZERO, |stamped| unix.saturating_sub(stamped));
            let at = at.saturating_sub(age);
            let Some(run) = run.get_mut(..met.len) else { continue };
            for datagram in run.chunks_mut(met.stride.max(1)) {
                match (rtp::Kind::of(datagram), &mut self.receiver) {
                    (rtp::Kind::Other, _) => {
                        self.transport.datagram(ground.now, met.addr, datagram);
                        self.use_keys(at);
                    }
                    (_, Some(receiver)) => receiver.datagram(at, datagram, ground.tally),
                    // Nobody has keys for it yet.
                    (_, None) => {}
                }
            }
        }
        Ok(received == RUNS)
    }

    /// Begins to receive, if the keys were agreed on by now.
    fn use_keys(&mut self, at: Duration) {
        if let Some(srtp) = self.transport.take_srtp() {
            let tracks = std::mem::take(&mut self.tracks);
            self.receiver = Some(Receiver::new(at, srtp, tracks, self.scrutiny));
        }
    }
}

fn bind(
    local: SocketAddr,
    registry: &Registry,
    token: Token,
) -> io::Result<(UdpSocket, UdpSocketState)> {
    let socket = std::net::UdpSocket::bind((local.ip(), 0))?;
    socket.set_nonblocking(true)?;
    // The kernel may grant less.
    SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let mut socket = UdpSocket::from_std(socket);
    registry.register(&mut socket, Token(token.0 + 1), Interest::READABLE)?;
    Ok((socket, state))
}

fn send(socket: &UdpSocket, remote: Option<SocketAddr>, datagram: &[u8]) {
    if let Some(remote) = remote {
        // A datagram that the kernel refuses is a lost datagram.
        let _ = socket.send_to(datagram, remote);
    }
}

/// An error of the system, and what to do about it where that is not plain.
pub(super) fn complaint(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(23 | 24) => "no file descriptor left; `ulimit -n` raises the limit".to_owned(),
        _ => error.to_string(),
    }
}
