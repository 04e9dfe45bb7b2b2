//! One socket carries at most one peer to each node.

use super::*;
use crate::id::{ShardId, SocketId};
use crate::limits::Limits;
use crate::media::dial::{DialSockets, Request};
use crate::output::Output;

struct Dialer {
    bench: Bench,
    sockets: DialSockets,
}

impl Dialer {
    fn new(dial_sockets_max: usize) -> Self {
        let bench = Bench::new().bounded(Limits { dial_sockets_max, ..Limits::default() });
        Self { bench, sockets: DialSockets::default() }
    }

    /// Asks for a socket for a peer to a node; tells which ones are asked of the runtime.
    fn request(&mut self, peer: u64, node: u32) -> Vec<u32> {
        self.request_for(1, peer, node)
    }

    fn request_for(&mut self, stream: u64, peer: u64, node: u32) -> Vec<u32> {
        let request = Request {
            peer: PeerId(peer),
            node,
            stream: StreamId(stream),
            home: ShardId::NODE,
            formats: Formats::default(),
        };
        self.sockets.request(&mut self.bench.ctx(), request);
        let socket = |output| {
            let Output::Bind { socket: SocketId(number) } = output else { panic!("{output:?}") };
            number
        };
        self.bench.outputs().into_iter().map(socket).collect()
    }

    fn release(&mut self, peer: u64) {
        self.sockets.release(self.bench.now, PeerId(peer));
    }

    fn withdraw(&mut self, peer: u64) {
        self.sockets.withdraw(self.bench.now, PeerId(peer));
    }

    /// Everybody who can go on, and the port, if any.
    fn ready(&mut self) -> Vec<(u64, Option<u16>)> {
        std::iter::from_fn(|| self.sockets.next_ready())
            .map(|(request, port)| (request.peer.0, port))
            .collect()
    }
}

#[test]
fn a_socket_is_asked_for_once_and_shared_across_nodes() {
    let mut dialer = Dialer::new(10);
    assert_eq!(dialer.request(1, 1), [0]);
    assert_eq!(dialer.request(2, 2), [] as [u32; 0]);
    assert_eq!(dialer.ready(), []);
    dialer.sockets.bound(SocketId(0), Some(5000));
    assert_eq!(dialer.ready(), [(1, Some(5000)), (2, Some(5000))]);
    assert_eq!(dialer.request(3, 3), [] as [u32; 0]);
    assert_eq!(dialer.ready(), [(3, Some(5000))]);
}

#[test]
fn two_streams_to_one_node_have_two_sockets() {
    let mut dialer = Dialer::new(10);
    assert_eq!(dialer.request(1, 1), [0]);
    assert_eq!(dialer.request(2, 1), [1]);
    assert_eq!(dialer.request(3, 2), [] as [u32; 0]);
    dialer.sockets.bound(SocketId(1), Some(5001));
    assert_eq!(dialer.ready(), [(2, Some(5001))]);
    dialer.sockets.bound(SocketId(0), Some(5000));
    assert_eq!(dialer.ready(), [(1, Some(5000)), (3, Some(5000))]);
    dialer.release(1);
    assert_eq!(dialer.request(4, 1), [] as [u32; 0], "its place is free");
    assert_eq!(dialer.ready(), [(4, Some(5000))]);
}

#[test]
fn a_socket_that_cannot_be_had_fails_its_peers_and_is_asked_for_again() {
    let mut dialer = Dialer::new(10);
    dialer.request(1, 1);
    dialer.request(2, 2);
    dialer.sockets.bound(SocketId(0), None);
    assert_eq!(dialer.ready(), [(1, None), (2, None)]);
    dialer.release(1);
    dialer.release(2);
    assert_eq!(dialer.request(3, 1), [0], "the number is used again");
    dialer.sockets.bound(SocketId(0), Some(5000));
    assert_eq!(dialer.ready(), [(3, Some(5000))]);
}

#[test]
fn sockets_are_bounded() {
    let mut dialer = Dialer::new(2);
    assert_eq!(dialer.request(1, 1), [0]);
    assert_eq!(dialer.request(2, 1), [1]);
    assert_eq!(dialer.request(3, 1), [] as [u32; 0]);
    assert_eq!(dialer.ready(), [(3, None)]);
    dialer.sockets.bound(SocketId(0), Some(5000));
    dialer.sockets.bound(SocketId(7), Some(5007));
    assert_eq!(dialer.ready(), [(1, Some(5000))], "an answer that nobody asked for is nothing");
}

#[test]
fn whoever_is_withdrawn_waits_no_more_and_holds_no_place() {
    let mut dialer = Dialer::new(1);
    dialer.request(1, 1);
    dialer.withdraw(1);
    assert_eq!(dialer.request(2, 1), [] as [u32; 0]);
    dialer.sockets.bound(SocketId(0), Some(5000));
    assert_eq!(dialer.ready(), [(2, Some(5000))]);
}

#[test]
fn a_socket_that_was_another_streams_to_the_node_is_let_rest() {
    let mut dialer = Dialer::new(2);
    assert_eq!(dialer.request_for(1, 1, 1), [0]);
    dialer.sockets.bound(SocketId(0), Some(5000));
    dialer.ready();
    dialer.release(1);
    assert_eq!(dialer.request_for(1, 2, 1), [] as [u32; 0], "the same stream takes over there");
    dialer.release(2);
    assert_eq!(dialer.request_for(2, 3, 2), [] as [u32; 0], "another node never heard of it");
    assert_eq!(dialer.request_for(2, 4, 1), [1], "the node may still have the first one there");
    assert_eq!(dialer.request_for(3, 5, 1), [] as [u32; 0], "but better there than nowhere");
    dialer.release(5);
    dialer.release(4);
    dialer.bench.now += Limits::default().path_hold_time;
    assert_eq!(dialer.request_for(4, 6, 1), [] as [u32; 0]);
    assert_eq!(dialer.request_for(5, 7, 1), [] as [u32; 0]);
}
