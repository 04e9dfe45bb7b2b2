//! The meaning of `flashphoner.properties`: what the keys become.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use super::Listening;
use super::access::{self, Access};
use super::balancing::Balancing;
use super::capacity::{self, Capacity};
use super::diagnostics::{Place, SettingsError, Warning};
use super::values::Values;
use super::{authentication, codecs, loadbalancer, origins, properties};
use crate::token::TokenKeys;

/// The most bytes of a node's name: it stands in log lines, in the ready line and in messages.
const NODE_ID_BYTES_MAX: usize = 64;
/// The least time between two pings of a session, ms.
const KEEP_ALIVE_MS_MIN: u64 = 100;
/// The most pings that may stay unanswered.
const KEEP_ALIVE_PROBES_MAX: u64 = 1000;
/// The most bit/s that a publisher can be asked to keep to.
const BITRATE_MAX: u64 = 10_000_000_000;
/// The most seconds between two words on the rate of a picture.
const RATE_INTERVAL_MAX: u64 = 3_600;
/// One media socket serves every peer of its shard: a smaller buffer than this loses packets.
const SOCKET_BUFFER_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Kernels take the size of a socket buffer as a positive `int`, and double it.
const SOCKET_BUFFER_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The text of the two files, as read.
#[derive(Clone, Copy, Debug)]
pub struct SettingsFiles<'a> {
    /// `flashphoner.properties`; empty if the folder has none.
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
    /// `media_port_to`: the last media port that may be used. Means nothing where the kernel
    /// picks.
    pub media_port_to: u16,
    /// `shards`; `None`: one per core, as far as the media ports reach.
    pub shards: Option<NonZeroU16>,
    /// `node.id`: the node's name, 1 to 64 visible ASCII characters; `None`: made up at start.
    pub node_id: Option<String>,
    /// `load_balancing_enabled`, with what `loadbalancing.xml` says.
    pub balancing: Option<Balancing>,
    /// `codecs` less `codecs_exclude_streaming`: names in lower case, best first, never empty.
    /// Of `opus`, `alaw` (PCMA), `ulaw` (PCMU), `g722`, `h264`, `vp8`, `vp9`, `av1`.
    pub codecs: Vec<String>,
    /// `keep_alive.*`; `None`: `keep_alive.algorithm=NONE`.
    pub keep_alive: Option<KeepAlive>,
    /// `webrtc_cc_*`.
    pub congestion: Congestion,
    /// `inbound_video_rate_stat_send_interval`: how often publishers are told the rate of their
    /// picture; `None`: never.
    pub inbound_rate_interval: Option<Duration>,
    /// `outbound_video_rate_stat_send_interval`: the same for viewers.
    pub outbound_rate_interval: Option<Duration>,
    /// `periodic_fir_request`: ask publishers for key frames on a timer.
    pub periodic_keyframes: bool,
    /// `rtp_receive_buffer_size`, bytes, 4 MiB or more.
    pub udp_receive_bytes: usize,
    /// `rtp_send_buffer_size`, bytes, 4 MiB or more.
    pub udp_send_bytes: usize,
    /// `allow_domains`: patterns of hosts in lower case, `*` and `!` included, for
    /// [`Settings::allows_origin`]. Empty: everybody.
    pub allow_domains: Vec<String>,
    /// `auth.*` and `admin.token`.
    pub access: Access,
    /// `publisher.grace`: how long the viewers of a lost publisher wait for its return.
    pub publisher_grace: Duration,
    /// `link.grace`: the same for a stream that came over a link.
    pub link_grace: Duration,
    /// `play.wait`: how long a play of an unknown name waits for it to appear.
    pub play_wait: Duration,
    /// `limit.*`, `address.*` and `drain.timeout`.
    pub capacity: Capacity,
    /// `cdn_require_tls`: refuse edges without `<wss>`.
    pub cdn_require_tls: bool,
    /// `cdn_ca`: a PEM file of authorities that edges' certificates may be signed by.
    pub cdn_ca: Option<PathBuf>,
    /// `cdn_auth_key`: what links show their edges tokens of; `None`: nobody has to.
    pub cdn_auth_keys: Option<TokenKeys>,
    /// `cdn_role_strict`: only links may publish. Never without keys.
    pub cdn_role_strict: bool,
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

/// The TCP listeners. No two have one number.
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
    /// `keep_alive.server_interval`: time between two pings, 100 ms or more.
    pub interval: Duration,
    /// `keep_alive.probes`: pings in a row that may stay unanswered, 1 or more.
    pub probes: u32,
}

/// What a publisher is asked to keep to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Congestion {
    /// `webrtc_cc_min_bitrate`: least bit/s, not above the most.
    pub bitrate_min: u64,
    /// `webrtc_cc_max_bitrate`: most bit/s.
    pub bitrate_max: u64,
    /// `webrtc_cc2_twcc`: whether transport-wide congestion control is offered.
    pub twcc: bool,
}

impl Default for Settings {
    /// What an empty `flashphoner.properties` says.
    fn default() -> Self {
        let files = SettingsFiles { properties: "", balancing: None };
        Self::parse(files, &[]).expect("the defaults of the table are valid").0
    }
}

impl Settings {
    /// Reads the two files, with `overrides` (key and value of each `--set`) over the first.
    ///
    /// The warnings name what was written in vain. `loadbalancing.xml` is looked at only with
    /// `load_balancing_enabled=true`.
    ///
    /// # Errors
    ///
    /// The first value that is not what its key takes, values that contradict each other, and
    /// whatever `loadbalancing.xml` is refused for. Only the value that counts is looked at where
    /// a key is written more than once.
    pub fn parse(
        files: SettingsFiles<'_>,
        overrides: &[(String, String)],
    ) -> Result<(Self, Vec<Warning>), SettingsError> {
        let mut warnings = Vec::new();
        let written = properties::read(files.properties)?;
        let values = Values::collect(written, overrides, &mut warnings);
        let shards = shards(&values)?;
        let (media_port_from, media_port_to) = media_ports(&values, shards)?;
        let cdn_require_tls = values.get("cdn_require_tls").flag()?;
        let is_origin = values.get("load_balancing_enabled").flag()?;
        let cdn_auth_keys = authentication::keys(&values, is_origin)?;
        let has_key = cdn_auth_keys.is_some();
        let settings = Self {
            ip: reachable_addresses(&values)?,
            ip_local: values.get("ip_local").addresses()?,
            ports: ports(&values)?,
            media_port_from,
            media_port_to,
            shards,
            node_id: node_id(&values)?,
            balancing: balancing(&values, files.balancing, cdn_require_tls, &mut warnings)?,
            codecs: codecs::read(&values, &mut warnings)?,
            keep_alive: keep_alive(&values, &mut warnings)?,
            congestion: congestion(&values)?,
            inbound_rate_interval: inbound_rate_interval(&values)?,
            outbound_rate_interval: rate_interval(
                &values,
                "outbound_video_rate_stat_send_interval",
            )?,
            periodic_keyframes: values.get("periodic_fir_request").flag()?,
            udp_receive_bytes: socket_buffer(&values, "rtp_receive_buffer_size", &mut warnings)?,
            udp_send_bytes: socket_buffer(&values, "rtp_send_buffer_size", &mut warnings)?,
            allow_domains: origins::patterns(&values.get("allow_domains"))?,
            access: access::read(&values, &mut warnings)?,
            publisher_grace: values.get("publisher.grace").millis(0)?,
            link_grace: values.get("link.grace").millis(0)?,
            play_wait: values.get("play.wait").millis(0)?,
            capacity: capacity::read(&values)?,
            cdn_require_tls,
            cdn_ca: values.get("cdn_ca").path()?,
            cdn_auth_keys,
            cdn_role_strict: authentication::is_strict(&values, has_key, is_origin)?,
            client_dir: values.get("client_dir").path()?,
            tls_files: tls_files(&values)?,
        };
        Ok((settings, warnings))
    }

    /// Checks that no node of `loadbalancing.xml` is this node, which would push to itself.
    ///
    /// A node that is given by an address counts as this one if a link to it would arrive at one
    /// of the `listening` ports, on an address that is listened on or one of `addresses` (the
    /// machine's, or those behind which it is reached). A node given by a name is left to the
    /// link, which hears the node's own name when it is up.
    ///
    /// # Errors
    ///
    /// The first such node, with its line.
    pub fn check_self(
        &self,
        listening: &[Listening],
        addresses: &[IpAddr],
    ) -> Result<(), SettingsError> {
        let nodes = self.balancing.iter().flat_map(|balancing| &balancing.nodes);
        for node in nodes {
            if node.is_reached_at(listening, addresses) {
                return Err(Place::balancing(node.line).error(format!(
                    "node {} ({}, port {}) is this node itself; expected only other nodes",
                    node.id,
                    node.host,
                    node.link_port()
                )));
            }
        }
        Ok(())
    }
}

/// Reads `ip`, whose addresses are told to peers.
fn reachable_addresses(values: &Values) -> Result<Vec<IpAddr>, SettingsError> {
    let value = values.get("ip");
    let addresses = value.addresses()?;
    if addresses.iter().any(IpAddr::is_unspecified) {
        return Err(value.expected("addresses that peers can reach, or no ip at all for all"));
    }
    Ok(addresses)
}

fn ports(values: &Values) -> Result<Ports, SettingsError> {
    let mut taken: Vec<(&str, NonZeroU16)> = Vec::new();
    let mut port = |name: &'static str| {
        let value = values.get(name);
        let port = value.port()?;
        if let Port::Number(number) = port {
            if let Some((other, _)) = taken.iter().find(|(_, other)| *other == number) {
                // Two defaults do not meet, so one of the two was written.
                let (at, by) = if value.written { (name, *other) } else { (*other, name) };
                return Err(values.get(at).place.error(format!(
                    "expected a port of its own, 0 or off: {number} is also {by}"
                )));
            }
            taken.push((name, number));
        }
        Ok(port)
    };
    let ports = Ports {
        ws: port("ws.port")?,
        wss: port("wss.port")?,
        http: port("http.port")?,
        https: port("https.port")?,
        page: port("page.port")?,
    };
    // Of no effect, but a port all the same.
    values.get("rtmp.port").port()?;
    Ok(ports)
}

fn shards(values: &Values) -> Result<Option<NonZeroU16>, SettingsError> {
    let value = values.get("shards");
    if value.text.is_empty() {
        return Ok(None);
    }
    let number = value.number(1..=u64::from(u16::MAX))?;
    Ok(u16::try_from(number).ok().and_then(NonZeroU16::new))
}

fn media_ports(values: &Values, shards: Option<NonZeroU16>) -> Result<(u16, u16), SettingsError> {
    let media_port = |name: &'static str| {
        let number = values.get(name).number(0..=u64::from(u16::MAX))?;
        Ok(u16::try_from(number).expect("the range was checked"))
    };
    let (from, to) = (media_port("media_port_from")?, media_port("media_port_to")?);
    if from == 0 {
        return Ok((from, to));
    }
    let Some(room) = to.checked_sub(from).map(|more| u32::from(more) + 1) else {
        let at =
            if values.get("media_port_to").written { "media_port_to" } else { "media_port_from" };
        return Err(values.get(at).place.error(format!(
            "expected media_port_to at or above media_port_from, found {to} below {from}"
        )));
    };
    if let Some(shards) = shards.filter(|shards| u32::from(shards.get()) > room) {
        return Err(values.get("shards").place.error(format!(
            "expected at most {room}, one for each port from media_port_from={from} to \
             media_port_to={to}, found {shards}"
        )));
    }
    Ok((from, to))
}

fn node_id(values: &Values) -> Result<Option<String>, SettingsError> {
    let value = values.get("node.id");
    if value.text.is_empty() {
        return Ok(None);
    }
    let is_name = value.text.len() <= NODE_ID_BYTES_MAX
        && value.text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_name {
        return Err(
            value.expected(&format!("1 to {NODE_ID_BYTES_MAX} ASCII characters without spaces"))
        );
    }
    Ok(Some(value.text.to_owned()))
}

fn balancing(
    values: &Values,
    text: Option<&str>,
    require_tls: bool,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Balancing>, SettingsError> {
    if !values.get("load_balancing_enabled").flag()? {
        return Ok(None);
    }
    let text = text.ok_or_else(|| {
        Place::balancing(0).error(
            "there is no such file, but load_balancing_enabled=true; expected <loadbalancer> \
             with a <node> for each edge",
        )
    })?;
    loadbalancer::read(text, require_tls, warnings).map(Some)
}

fn keep_alive(
    values: &Values,
    warnings: &mut Vec<Warning>,
) -> Result<Option<KeepAlive>, SettingsError> {
    let algorithm = values.get("keep_alive.algorithm");
    let interval = values.get("keep_alive.server_interval").millis(KEEP_ALIVE_MS_MIN)?;
    let probes = values.get("keep_alive.probes").number(1..=KEEP_ALIVE_PROBES_MAX)?;
    let keep_alive =
        KeepAlive { interval, probes: u32::try_from(probes).expect("the range was checked") };
    match algorithm.text.to_ascii_uppercase().as_str() {
        "NONE" => Ok(None),
        "" | "HIGH_LEVEL" => Ok(Some(keep_alive)),
        "INTERNAL" => {
            warnings.push(algorithm.place.warning("no effect: HIGH_LEVEL is used instead"));
            Ok(Some(keep_alive))
        }
        _ => Err(algorithm.expected("HIGH_LEVEL or NONE")),
    }
}

fn congestion(values: &Values) -> Result<Congestion, SettingsError> {
    let least = values.get("webrtc_cc_min_bitrate");
    let most = values.get("webrtc_cc_max_bitrate");
    let bitrate_min = least.number(0..=BITRATE_MAX)?;
    let bitrate_max = most.number(1..=BITRATE_MAX)?;
    if bitrate_min > bitrate_max {
        let at = if most.written { most.place } else { least.place };
        return Err(at.error(format!(
            "expected webrtc_cc_max_bitrate at or above webrtc_cc_min_bitrate, found \
             {bitrate_max} below {bitrate_min}"
        )));
    }
    Ok(Congestion { bitrate_min, bitrate_max, twcc: values.get("webrtc_cc2_twcc").flag()? })
}

/// Either name counts; the newer one, if both are written.
fn inbound_rate_interval(values: &Values) -> Result<Option<Duration>, SettingsError> {
    let name = "inbound_video_rate_stat_send_interval";
    let older = rate_interval(values, "incoming_bitrate_stat_send_interval")?;
    let newer = rate_interval(values, name)?;
    Ok(if values.get(name).written { newer } else { older })
}

fn rate_interval(values: &Values, name: &str) -> Result<Option<Duration>, SettingsError> {
    let seconds = values.get(name).number(0..=RATE_INTERVAL_MAX)?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

fn socket_buffer(
    values: &Values,
    name: &str,
    warnings: &mut Vec<Warning>,
) -> Result<usize, SettingsError> {
    let value = values.get(name);
    let bytes = value.number(1..=SOCKET_BUFFER_BYTES_MAX)?;
    if bytes < SOCKET_BUFFER_BYTES_MIN {
        warnings.push(value.place.warning(format!(
            "{bytes} is raised to {SOCKET_BUFFER_BYTES_MIN}: one media socket serves all peers \
             of a shard"
        )));
    }
    let bytes = bytes.max(SOCKET_BUFFER_BYTES_MIN);
    Ok(usize::try_from(bytes).expect("1 GiB fits"))
}

fn tls_files(values: &Values) -> Result<Option<(PathBuf, PathBuf)>, SettingsError> {
    let (cert, key) = (values.get("tls.cert"), values.get("tls.key"));
    match (cert.path()?, key.path()?) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(cert.place.error("expected tls.key beside it")),
        (None, Some(_)) => Err(key.place.error("expected tls.cert beside it")),
    }
}

#[cfg(test)]
mod tests;
