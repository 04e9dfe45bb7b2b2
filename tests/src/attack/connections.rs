//! Connections that bring nothing.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::Work;
use super::datagrams::noise;

/// For anything that a server may do, or not.
const PATIENCE: Duration = Duration::from_millis(300);
/// Connections that one actor keeps.
const KEPT_MAX: usize = 100;
const DEAF_MAX: usize = 8;
/// What a reader that does not read has room for.
const DEAF_ROOM: usize = 4 * 1024;
/// Requests of such a reader, at most; each is answered by a page.
const DEAF_REQUESTS: usize = 2_000;
const GET: &[u8] = b"GET /client2/examples/demo/streaming/embed_player/player.html HTTP/1.1\r\n\
                     Host: a\r\n\r\n";

/// Connects from an address of this machine. The connection is reset when it ends, so that it does
/// not keep its port.
pub(super) fn dial(from: Ipv4Addr, to: SocketAddr, room: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(room) = room {
        socket.set_recv_buffer_size(room)?;
    }
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    socket.set_linger(Some(Duration::ZERO))?;
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

impl Work {
    /// A connection for a try, unless the server refuses it.
    pub(super) fn dial(&self, number: u64) -> Option<TcpStream> {
        dial(self.address(number), self.target(number)?.tcp, None).ok()
    }
}

pub(super) fn idle(work: &Work) {
    let mut kept = VecDeque::new();
    work.at_pace(|number| {
        let mut socket = work.dial(number)?;
        let begun: &[u8] = if number % 2 == 0 { b"" } else { b"GET / HTTP/1.1\r\nHost: a\r\nX-" };
        let said = socket.write_all(begun).ok();
        keep(&mut kept, socket, KEPT_MAX);
        said
    });
}

pub(super) fn garbage(work: &Work) {
    work.at_pace(|number| {
        let mut socket = work.dial(number)?;
        let words = match number % 4 {
            0 => noise(fastrand::usize(1..4_000)),
            1 => b"GET /\xff\xfe HTTP/9.9\r\nContent-Length: -1\r\n\r\n".to_vec(),
            2 => [b"POST / HTTP/1.1\r\nTransfer-Encoding: x\r\nX: ", &*vec![b'a'; 40_000]].concat(),
            _ => b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_vec(),
        };
        // A server may hang up before it has all of that.
        let said = socket.write_all(&words);
        socket.read(&mut [0; 512]).ok().filter(|length| *length > 0 || said.is_err()).map(|_| ())
    });
}

pub(super) fn deaf(work: &Work) {
    let mut kept = VecDeque::new();
    work.at_pace(|number| {
        let to = work.target(number)?.tcp;
        let mut socket = dial(work.address(number), to, Some(DEAF_ROOM)).ok()?;
        let asked = (0..DEAF_REQUESTS).take_while(|_| socket.write_all(GET).is_ok()).count();
        keep(&mut kept, socket, DEAF_MAX);
        (asked > 0).then_some(())
    });
}

pub(super) fn connect(work: &Work) {
    let mut kept = VecDeque::new();
    work.at_pace(|number| {
        let mut socket = work.dial(number)?;
        let said = socket.set_nonblocking(true).and_then(|()| socket.write(GET)).ok();
        // It has a moment to be read and answered.
        keep(&mut kept, socket, KEPT_MAX);
        said.map(|_| ())
    });
}

fn keep(kept: &mut VecDeque<TcpStream>, socket: TcpStream, most: usize) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back(socket);
}
