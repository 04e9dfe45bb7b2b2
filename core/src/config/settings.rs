//! The meaning of `flashphoner.properties`: which keys there are, what they do, what they default to.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use super::balancing::Balancing;

/// The text of the two files, as read.
#[derive(Clone, Copy, Debug)]
pub struct SettingsFiles<'a> {
    /// `flashphoner.properties`.
    pub properties: &'a str,
    /// `loadbalancing.xml`, if the folder has one.
    pub balancing: Option<&'a str>,
}

/// What an operator wrote, parsed and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `ip`: addresses that become ICE candidates, in order; empty: every usable one.
    pub ip: Vec<IpAddr>,
    /// `ip_local`: addresses to bind; empty: all.
    pub ip_local: Vec<IpAddr>,
    /// `ws.port` and its kin.
    pub ports: Ports,
    /// `media_port_from`: the media port of shard 0; the others follow. 0: the kernel picks.
    pub media_port_from: u16,
    /// `media_port_to`: the last media port that may be used.
    pub media_port_to: u16,
    /// `shards`; `None`: one per core.
    pub shards: Option<NonZeroU16>,
    /// `load_balancing_enabled`, with what `loadbalancing.xml` says.
    pub balancing: Option<Balancing>,
    /// `codecs` less `codecs_exclude_streaming`: names in lower case, best first.
    pub codecs: Vec<String>,
    /// `keep_alive.*`; `None`: `keep_alive.algorithm=NONE`.
    pub keep_alive: Option<KeepAlive>,
    /// `webrtc_cc_*`.
    pub congestion: Congestion,
    /// `periodic_fir_request`: ask publishers for key frames on a timer.
    pub periodic_keyframes: bool,
    /// `rtp_receive_buffer_size`, bytes.
    pub udp_receive_bytes: usize,
    /// `rtp_send_buffer_size`, bytes.
    pub udp_send_bytes: usize,
    /// `allow_domains`, as written: patterns, `*` and `!` included. Empty: everybody.
    pub allow_domains: Vec<String>,
    /// `publisher.grace`: how long the viewers of a lost publisher wait for its return.
    pub publisher_grace: Duration,
    /// `link.grace`: the same for a stream that came over a link.
    pub link_grace: Duration,
    /// `play.wait`: how long a play of an unknown name waits for it to appear.
    pub play_wait: Duration,
    /// `cdn_require_tls`: refuse edges without `<wss>`.
    pub cdn_require_tls: bool,
    /// `cdn_ca`: a PEM file of authorities that edges' certificates may be signed by.
    pub cdn_ca: Option<PathBuf>,
    /// `client_dir`: a folder to serve at `/client2/` in place of the built-in pages.
    pub client_dir: Option<PathBuf>,
    /// `tls.cert` and `tls.key`.
    pub tls_files: Option<(PathBuf, PathBuf)>,
}

/// One port setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// Do not listen.
    Off,
    /// Let the kernel pick (`0`).
    Any,
    /// This one.
    Number(NonZeroU16),
}

/// The TCP listeners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// `ws.port`, plain
    pub ws: Port,
    /// `wss.port`, TLS
    pub wss: Port,
    /// `http.port`, plain
    pub http: Port,
    /// `https.port`, TLS
    pub https: Port,
    /// `page.port`, TLS
    pub page: Port,
}

/// How a dead WebSocket is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// Time between two pings.
    pub interval: Duration,
    /// Pings in a row that may stay unanswered.
    pub probes: u32,
}

/// What a publisher is asked to keep to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Congestion {
    /// Least bit/s.
    pub bitrate_min: u64,
    /// Most bit/s.
    pub bitrate_max: u64,
    /// Whether transport-wide congestion control is offered.
    pub twcc: bool,
}

/// Something an operator wrote that has no effect here, or not the one expected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning(pub String);

/// Why the settings cannot be used: file, line, and what was expected.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct SettingsError {
    /// Which of the two files, or `--set`.
    pub file: &'static str,
    /// Counted from 1; 0 where the problem is that something is missing.
    pub line: usize,
    /// What is wrong and what was expected.
    pub problem: String,
}
