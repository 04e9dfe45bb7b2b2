//! Datagrams that belong to nobody, from many addresses.

use std::net::{Ipv4Addr, UdpSocket};

use super::Work;

/// Sockets at once; each address has one for a while.
const SOCKETS_MAX: u64 = 64;
/// Datagrams of a socket before its place goes to the next address.
const DATAGRAMS_A_SOCKET: u64 = 64;

/// What it looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// A Binding request of STUN (RFC 8489).
    Stun,
    /// A ClientHello of DTLS 1.2 (RFC 6347).
    Hello,
    /// RTP, and RTCP now and then (RFC 3550).
    Rtp,
}

/// Sends them to all media ports in turns.
pub(super) fn send(work: &Work, sort: Sort) {
    let mut sockets: Vec<Option<UdpSocket>> = (0..SOCKETS_MAX).map(|_| None).collect();
    work.at_pace(|number| {
        let turn = number % SOCKETS_MAX;
        let round = number / SOCKETS_MAX;
        let socket = sockets.get_mut(usize::try_from(turn).unwrap_or_default())?;
        if round.is_multiple_of(DATAGRAMS_A_SOCKET) {
            let from = work.address(round / DATAGRAMS_A_SOCKET * SOCKETS_MAX + turn);
            *socket = bind(from);
        }
        let media = work.target(number).map(|target| target.media.as_slice()).unwrap_or_default();
        let to = media.get(usize::try_from(round).unwrap_or_default() % media.len().max(1));
        socket.as_ref()?.send_to(&datagram(sort), to?).ok().map(|_| ())
    });
}

fn bind(from: Ipv4Addr) -> Option<UdpSocket> {
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

fn datagram(sort: Sort) -> Vec<u8> {
    match sort {
        Sort::Stun => stun(),
        Sort::Hello => hello(),
        Sort::Rtp => rtp(),
    }
}

/// As ICE has it (RFC 8445), but of nobody: user name, priority, and an integrity that is none.
fn stun() -> Vec<u8> {
    let name: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
    let name = format!("{name}:{name}ab");
    let mut attributes = vec![0, 6];
    attributes.extend((name.len() as u16).to_be_bytes());
    attributes.extend(name.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    attributes.extend([0, 0x24, 0, 4, 0x6e, 0, 1, 0xff, 0, 8, 0, 20]);
    attributes.extend(noise(20));
    let mut packet = vec![0, 1];
    packet.extend((attributes.len() as u16).to_be_bytes());
    packet.extend([0x21, 0x12, 0xa4, 0x42]);
    packet.extend(noise(12));
    packet.extend(attributes);
    packet
}

/// One record with one message: version, random, no session, no cookie, two suites, no compression.
fn hello() -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend(noise(32));
    body.extend([0, 0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    let length = (body.len() as u32).to_be_bytes();
    let [_, length @ ..] = length;
    let mut message = vec![1];
    message.extend(length);
    message.extend([0, 0, 0, 0, 0]);
    message.extend(length);
    message.extend(body);
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}

fn rtp() -> Vec<u8> {
    let second = if fastrand::u8(..8) == 0 { 200 } else { 96 + fastrand::u8(..32) };
    let mut packet = vec![0x80, second];
    packet.extend(noise(fastrand::usize(20..1_180)));
    packet
}

pub(super) fn noise(bytes: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use str0m::net::DatagramRecv;

    use super::*;

    #[test]
    fn datagrams_are_taken_for_what_they_look_like() {
        for _ in 0..100 {
            for (sort, names) in [
                (Sort::Stun, ["Stun", "Stun"]),
                (Sort::Hello, ["Dtls", "Dtls"]),
                (Sort::Rtp, ["Rtp", "Rtcp"]),
            ] {
                let datagram = datagram(sort);
                let taken: DatagramRecv<'_> = (&*datagram).try_into().unwrap();
                let taken = format!("{taken:?}");
                let (name, _) = taken.split_once('(').unwrap();
                assert!(names.contains(&name), "{sort:?}: {taken}");
            }
        }
    }
}
