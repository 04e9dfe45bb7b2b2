//! One viewer: a TCP connection for its signaling, a UDP socket for its media.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::SockRef;

use super::connection::{Connection, Server, complaint};
use super::invitation::Invitation;
use super::keys::Keys;
use super::receiver::{Control, Receiver, Scrutiny};
use super::rtp;
use super::signaling::{Errand, Said, Signaling};
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
    scrutiny: Scrutiny,
    token: Token,
    /// What it and its server say to each other, unless it is seated: then all is said.
    dialogue: Option<Dialogue>,
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
struct Dialogue {
    connection: Connection,
    signaling: Signaling,
}

#[derive(Debug)]
struct Media {
    socket: UdpSocket,
    state: UdpSocketState,
    transport: Transport,
    /// What both ends agreed on, once they did.
    agreed: Option<Answer>,
    scrutiny: Scrutiny,
    receiver: Option<Receiver>,
}

/// What a viewer is to see, and by when.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) server: Arc<Server>,
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
    pub(super) control: Control,
    pub(super) scrutiny: Scrutiny,
    pub(super) patience: Duration,
}

impl Viewer {
    /// Begins to connect. The viewer's TCP connection has this token, its UDP socket the next.
    pub(super) fn open(ground: &Ground<'_>, ticket: &Ticket, token: Token) -> io::Result<Self> {
        let errand = Errand::Play(&ticket.stream);
        let signaling = Signaling::new(&ticket.server.address, errand);
        let dialogue = Dialogue {
            connection: Connection::open(&ticket.server, ground.registry, token)?,
            signaling: signaling.map_err(io::Error::other)?,
        };
        let mut viewer = Self {
            scrutiny: ticket.scrutiny,
            token,
            dialogue: Some(dialogue),
            media: None,
            due: ground.now,
            round_at: ground.now + ROUND.mul_f64(fastrand::f64()),
            deadline: ground.now + ticket.patience,
            times: Times { opened: ground.at(), asked: None },
            ending: None,
        };
        viewer.write(ground);
        Ok(viewer)
    }

    /// Takes its seat, which leaves nothing to be agreed on: only its UDP socket is used.
    pub(super) fn seat(ground: &Ground<'_>, seat: Seat, token: Token) -> io::Result<Self> {
        let socket = bind(seat.server.ip(), ground.registry, token)?;
        let local = socket.0.local_addr()?;
        let srtp = Srtp::new(&seat.keys).ok_or(ErrorKind::InvalidInput)?;
        let at = ground.at();
        let transport = Transport::seated(ground.now, ground.kind, local, seat.server);
        let receiver = Receiver::new(at, srtp, seat.tracks, seat.control, seat.scrutiny);
        let media = Media::new(socket, transport, None, seat.scrutiny);
        let media = Media { receiver: Some(receiver), ..media };
        let round_at = ground.now + ROUND.mul_f64(fastrand::f64());
        Ok(Self {
            scrutiny: seat.scrutiny,
            token,
            dialogue: None,
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

    /// Says goodbye. It is over once the server heard of it, if that is to be waited for.
    pub(super) fn leave(&mut self, ground: &Ground<'_>) {
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.signaling.leave();
        }
        self.write(ground);
        // Nothing counts any more.
        if let Some(media) = &mut self.media {
            // It was registered; then it need not be closed.
            let _ = ground.registry.deregister(&mut media.socket);
        }
        self.be_gone();
    }

    /// Goes without a goodbye: its connection ends, and nothing more comes from its UDP socket.
    pub(super) fn vanish(&mut self, ground: &Ground<'_>) {
        if let Some(media) = &mut self.media {
            // As above.
            let _ = ground.registry.deregister(&mut media.socket);
        }
        self.over("it vanished");
    }

    /// Says nothing any more, but keeps its sockets, as a page whose machine sleeps.
    pub(super) fn fall_silent(&mut self, ground: &Ground<'_>) {
        if let Some(media) = &mut self.media {
            // As above.
            let _ = ground.registry.deregister(&mut media.socket);
        }
        self.ending.get_or_insert_with(|| "it fell silent".to_owned());
    }

    /// Whether it waits no longer for what the server says to its goodbye.
    pub(super) fn be_gone(&mut self) -> bool {
        let left = self.dialogue.as_ref().is_none_or(|it| it.signaling.has_left());
        if self.ending.is_none() && left {
            self.over("it left");
        }
        self.ending.is_some()
    }

    /// The TCP connection is ready for something.
    pub(super) fn tcp_ready(&mut self, ground: &mut Ground<'_>) {
        let Some(Dialogue { connection, signaling }) = &mut self.dialogue else { return };
        let mut plain = Vec::new();
        let up = match connection.read(&mut plain) {
            Ok(up) => up,
            Err(why) => return self.over(&why),
        };
        if !plain.is_empty() {
            signaling.receive(&plain);
        }
        if connection.is_closed() {
            signaling.receive(&[]);
        }
        if up || !plain.is_empty() || connection.is_closed() {
            self.hear(ground);
        }
        self.write(ground);
    }

    fn hear(&mut self, ground: &mut Ground<'_>) {
        while let Some(said) = self.dialogue.as_mut().and_then(|it| it.signaling.poll()) {
            let heard = match said {
                Said::Ready => self.ask(ground),
                Said::Answer(sdp) => self.answer(ground, &sdp),
                Said::Offer(sdp) => self.accept(ground, &sdp),
                Said::Ended(why) | Said::Over(why) => Err(why),
            };
            if let Err(why) = heard {
                return self.over(&why);
            }
        }
    }

    fn ask(&mut self, ground: &mut Ground<'_>) -> Result<(), String> {
        let Some(Dialogue { connection, signaling }) = &mut self.dialogue else { return Ok(()) };
        self.times.asked = Some(ground.at());
        if signaling.is_invited() {
            signaling.ask(None);
            return Ok(());
        }
        let (socket, local) = bind_beside(connection, ground, self.token)?;
        let gathered = signaling.wants_candidates();
        let (transport, offer) = Transport::offer(ground.now, ground.kind, local, gathered);
        self.media = Some(Media::new(socket, transport, None, self.scrutiny));
        signaling.ask(Some(&offer));
        Ok(())
    }

    fn answer(&mut self, ground: &mut Ground<'_>, sdp: &str) -> Result<(), String> {
        let Some(media) = &mut self.media else { return Ok(()) };
        let answer = Answer::read(sdp, &ground.kind.shape, false);
        let answer = answer.map_err(|problem| format!("the answer is no good: {problem}"))?;
        media.transport.agree(ground.now, &answer)?;
        media.agreed = Some(answer);
        self.settle(ground);
        Ok(())
    }

    fn accept(&mut self, ground: &mut Ground<'_>, sdp: &str) -> Result<(), String> {
        let Some(Dialogue { connection, signaling }) = &mut self.dialogue else { return Ok(()) };
        let invitation = Invitation::read(sdp);
        let invitation =
            invitation.map_err(|problem| format!("the offer is no good: {problem}"))?;
        let (socket, local) = bind_beside(connection, ground, self.token)?;
        let (transport, answer) = Transport::accept(ground.now, ground.kind, local, &invitation)?;
        let agreed = Some(invitation.agreed);
        self.media = Some(Media::new(socket, transport, agreed, self.scrutiny));
        signaling.accept(&answer);
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
                Some(Media { receiver: Some(_), .. }) => "no media",
                Some(Media { agreed: Some(_), .. }) => "no ICE and DTLS",
                Some(_) => "no answer to the offer",
            };
            return self.over(&format!("{stage} in time"));
        }
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.signaling.keep_alive(ground.now);
        }
        self.write(ground);
        let Some(media) = &mut self.media else {
            self.due = self.deadline;
            return;
        };
        if media.agreed.is_some() && media.transport.due <= ground.now {
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
        self.due = if media.agreed.is_some() { round.min(media.transport.due) } else { round };
    }

    fn write(&mut self, ground: &Ground<'_>) {
        let Some(Dialogue { connection, signaling }) = &mut self.dialogue else { return };
        let outgoing = signaling.take_outgoing();
        if !outgoing.is_empty()
            && self.ending.is_none()
            && let Err(why) = connection.write(ground.registry, &outgoing)
        {
            self.over(&why);
        }
    }

    fn over(&mut self, why: &str) {
        self.ending.get_or_insert_with(|| why.to_owned());
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.connection.close();
        }
        if let Some(Media { receiver: None, .. }) = self.media {
            self.media = None;
        }
    }
}

impl Media {
    fn new(
        (socket, state): Socket,
        transport: Transport,
        agreed: Option<Answer>,
        scrutiny: Scrutiny,
    ) -> Self {
        Self { socket, state, transport, agreed, scrutiny, receiver: None }
    }

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
            let Some(agreed) = &self.agreed else { return };
            let mut tracks = Vec::new();
            for line in agreed.lines.iter().filter(|line| !line.rejected) {
                let main = line.ssrcs.iter().copied().find(|ssrc| Some(*ssrc) != line.rtx);
                if let (Some(codec), Some(ssrc)) = (line.codec, main) {
                    tracks.push(Track::new(codec, ssrc, line.rtx));
                }
            }
            let control = Control::of(agreed);
            self.receiver = Some(Receiver::new(at, srtp, tracks, control, self.scrutiny));
        }
    }
}

/// A socket, and what the kernel can do for it.
type Socket = (UdpSocket, UdpSocketState);

/// Binds one at the address at which the server is spoken to.
fn bind_beside(
    connection: &Connection,
    ground: &Ground<'_>,
    token: Token,
) -> Result<(Socket, SocketAddr), String> {
    let bound = connection.ip().and_then(|ip| bind(ip, ground.registry, token));
    let with_address = bound.and_then(|socket| Ok((socket.0.local_addr()?, socket)));
    let (local, socket) = with_address.map_err(|error| complaint(&error))?;
    Ok((socket, local))
}

fn bind(ip: IpAddr, registry: &Registry, token: Token) -> io::Result<Socket> {
    let socket = std::net::UdpSocket::bind((ip, 0))?;
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
