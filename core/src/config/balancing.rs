//! `loadbalancing.xml`.

use std::num::NonZeroU16;

/// What `loadbalancing.xml` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Balancing {
    /// How an edge is chosen for a viewer.
    pub mode: Mode,
    /// With [`Mode::FewestCalls`] and no viewer anywhere: choose at random.
    pub randomize: bool,
    /// How streams travel to the edges.
    pub distribution: Distribution,
    /// The edges, in the order of the file; ids are unique.
    pub nodes: Vec<EdgeNode>,
}

/// How an edge is chosen for a viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// The one with the fewest viewers.
    #[default]
    FewestCalls,
    /// Any.
    Random,
    /// Each in turn.
    RoundRobin,
    /// The one whose processors are least busy.
    LessLoadedNode,
}

/// How streams travel to the edges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Distribution {
    /// Over WebSocket and WebRTC.
    #[default]
    WebRtc,
    /// Over RTMP.
    Rtmp,
}

/// One edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EdgeNode {
    /// Its number.
    pub id: u32,
    /// Its address or host name.
    pub host: String,
    /// The port of its plain WebSocket listener.
    pub ws: NonZeroU16,
    /// The port of its TLS WebSocket listener.
    pub wss: NonZeroU16,
    /// The port of its RTMP listener, told to clients that ask.
    pub flash: NonZeroU16,
    /// Whether the file names a `<wss>` port: then our own link uses TLS too.
    pub secure: bool,
    /// The SHA-256 of the certificate to expect, if the file pins one.
    pub fingerprint: Option<Fingerprint>,
}

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 32]);
