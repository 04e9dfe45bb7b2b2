//! A node as the simulation runs it: its shards, and what they were told at their birth.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use distributary_core::config::{
    Config, Listening, Settings, SettingsError, SettingsFiles, TlsIdentity,
};
use distributary_core::{ConnId, Epoch, Event, Limits, Pages, SendBuffer, Service, Shard, ShardId};

use super::balance::Balance;
use super::crypto;
use super::random::fnv1a;
use crate::roster::Roster;

/// Ports of every simulated node.
pub const WS_PORT: u16 = 8080;
/// Plain HTTP.
pub const HTTP_PORT: u16 = 8081;
/// Media port of shard 0.
pub const MEDIA_PORT: u16 = 31001;

/// What a simulated node is like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its host name, which resolves to its address.
    pub name: String,
    /// How many shards it has.
    pub shards: u16,
    /// Host names of the edges that it pushes every stream to.
    pub edges: Roster,
    /// Its bounds.
    pub limits: Limits,
    /// What protects its media.
    pub srtp: crypto::Srtp,
    /// More lines of `flashphoner.properties`, which win over the simulation's own.
    pub properties: String,
}

impl Plan {
    /// A node of one shard that pushes nowhere.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            shards: 1,
            edges: Roster::default(),
            limits: Limits::default(),
            srtp: crypto::Srtp::Null,
            properties: String::new(),
        }
    }

    /// The same with this many shards.
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = shards;
        self
    }

    /// The same with one more line of `flashphoner.properties`.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.properties.push_str(line);
        self.properties.push('\n');
        self
    }

    /// The same, pushing to these nodes too.
    #[must_use]
    pub fn edges(mut self, names: &[&str]) -> Self {
        self.edges.add(names);
        self
    }
}

/// Until when a host stands still.
#[derive(Debug)]
pub(super) struct Stillness {
    pub(super) end: Instant,
    /// Until when what comes waits. It is earlier than the end where that was moved since: what
    /// waits then waits on, and stays in the order in which it came.
    pub(super) next: Instant,
    /// Datagrams that wait.
    pub(super) datagrams: usize,
}

/// A node of the simulation.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) plan: Plan,
    pub(super) ip: IpAddr,
    pub(super) life: u32,
    pub(super) up: bool,
    /// Whether the machine has no power: it does not even say that nobody listens.
    pub(super) dark: bool,
    /// How far the host's clock is ahead of the world's.
    pub(super) ahead: Duration,
    /// How far its calendar is off: a host may believe in any date.
    pub(super) calendar_ahead: Duration,
    /// Whether the host stands still.
    pub(super) still: Option<Stillness>,
    pub(super) shards: Vec<Slot>,
    pub(super) events: Vec<(Duration, ShardId, Event)>,
    pub(super) config: Arc<Config>,
    /// Between its process and everybody else.
    pub(super) balance: Balance,
}

/// One shard and what a runtime would keep for it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) shard: Shard,
    pub(super) send: SendBuffer,
    pub(super) due: Option<Instant>,
    /// The earliest wake-up that is in the queue.
    pub(super) armed: Option<Instant>,
    pub(super) accepted: u64,
    /// Ports of the sockets that it asked for.
    pub(super) sockets: Vec<u16>,
    pub(super) conns: BTreeMap<ConnId, (usize, usize)>,
    /// Connections that were closed under `Linger::Flush` and still have bytes.
    pub(super) flushing: Vec<ConnId>,
    /// Wake-ups in a row without time moving on.
    pub(super) spins: u32,
    pub(super) woken: Option<Instant>,
    /// Wake-ups within one second: which, and how many.
    pub(super) wakes: (u64, u32),
    /// Whether it said that it is done, so that a runtime would end it.
    pub(super) drained: bool,
}

impl Node {
    pub(super) fn new(plan: Plan, ip: IpAddr) -> Self {
        let config = Arc::new(config(&plan, ip));
        Self {
            plan,
            ip,
            life: 0,
            up: false,
            dark: false,
            ahead: Duration::ZERO,
            calendar_ahead: Duration::ZERO,
            still: None,
            shards: Vec::new(),
            events: Vec::new(),
            config,
            balance: Balance::default(),
        }
    }

    /// Starts it, with one seed a shard.
    pub(super) fn start(&mut self, epoch: Epoch, seeds: impl Iterator<Item = [u8; 32]>) {
        self.read().expect("nobody starts a node on files that cannot be used");
        self.life += 1;
        self.balance = Balance::default();
        self.up = true;
        self.dark = false;
        self.shards = (0..self.plan.shards)
            .zip(seeds)
            .map(|(id, seed)| Slot {
                shard: Shard::new(self.config.clone(), ShardId(id), seed, epoch),
                // One datagram at a time on even shards, runs on odd ones: both must do.
                send: SendBuffer::new(if id % 2 == 0 { 1 } else { 16 }),
                due: Some(epoch.instant),
                armed: None,
                accepted: 0,
                sockets: Vec::new(),
                conns: BTreeMap::new(),
                flushing: Vec::new(),
                spins: 0,
                woken: None,
                wakes: (0, 0),
                drained: false,
            })
            .collect();
    }

    pub(super) fn listens(&self, port: u16) -> Option<Service> {
        self.config
            .listening
            .iter()
            .find(|listening| self.up && listening.addr.port() == port)
            .map(|listening| listening.service)
    }

    /// What was on its disk is lost: it makes itself another certificate.
    pub(super) fn replace_disk(&mut self) {
        let mut config = (*self.config).clone();
        let owner = format!("{} {}", self.plan.name, self.life);
        config.dtls = crypto::identity(self.plan.srtp, fnv1a(&[owner.as_bytes()]));
        self.config = Arc::new(config);
    }

    /// It is set up on another host, with its certificate.
    pub(super) fn move_to(&mut self, ip: IpAddr) {
        self.ip = ip;
        let dtls = self.config.dtls.clone();
        self.config = Arc::new(Config { dtls, ..config(&self.plan, ip) });
    }

    /// Its files are read, as runtimes do it: what it is bound to stays, and files that cannot be
    /// used change nothing.
    pub(super) fn read(&mut self) -> Result<(), SettingsError> {
        let settings = settings(&self.plan, self.ip)?;
        settings.check_self(&self.config.listening, &self.config.addresses)?;
        self.config = Arc::new(Config { settings, ..Config::clone(&self.config) });
        Ok(())
    }

    /// Which shard that runs has a socket at a port.
    pub(super) fn shard_at(&self, port: u16) -> Option<usize> {
        if !self.up {
            return None;
        }
        let media = self.config.media.iter().position(|media| media.port() == port);
        media.or_else(|| self.shards.iter().position(|slot| slot.sockets.contains(&port)))
    }
}

/// The address of the `n`th node.
pub(super) fn address(n: usize) -> IpAddr {
    let low = u8::try_from(n + 1).expect("a simulation has fewer than 255 nodes");
    Ipv4Addr::new(10, 1, 0, low).into()
}

fn config(plan: &Plan, ip: IpAddr) -> Config {
    let listening = [(Service::Ws, WS_PORT), (Service::Http, HTTP_PORT)];
    Config {
        settings: settings(plan, ip).expect("a plan makes valid settings"),
        node: plan.name.clone(),
        listening: listening
            .map(|(service, port)| Listening { service, addr: SocketAddr::new(ip, port) })
            .to_vec(),
        media: (0..plan.shards).map(|n| SocketAddr::new(ip, MEDIA_PORT + n)).collect(),
        addresses: vec![ip],
        tls: tls(),
        link_roots: Vec::new(),
        hook_roots: Vec::new(),
        dtls: crypto::identity(plan.srtp, fnv1a(&[plan.name.as_bytes()])),
        crypto: crypto::node_provider(plan.srtp),
        pages: Pages::default(),
        limits: plan.limits.clone(),
    }
}

/// Reads the two files that the plan's operator would have written.
fn settings(plan: &Plan, ip: IpAddr) -> Result<Settings, SettingsError> {
    let balancing = plan.edges.text(|name| (name.to_owned(), WS_PORT));
    let mut properties = format!(
        "ip={ip}\nip_local={ip}\nws.port={WS_PORT}\nwss.port=off\nhttp.port={HTTP_PORT}\n\
         https.port=off\npage.port=off\nmedia_port_from={MEDIA_PORT}\nmedia_port_to={}\n\
         shards={}\nnode.id={}\nload_balancing_enabled={}\n",
        MEDIA_PORT + plan.shards - 1,
        plan.shards,
        plan.name,
        balancing.is_some(),
    );
    properties.push_str(&plan.properties);
    let files = SettingsFiles { properties: &properties, balancing: balancing.as_deref() };
    Settings::parse(files, &[]).map(|(settings, _)| settings)
}

/// Simulated nodes listen without TLS; a shard wants an identity all the same.
fn tls() -> TlsIdentity {
    static IDENTITY: OnceLock<TlsIdentity> = OnceLock::new();
    IDENTITY
        .get_or_init(|| {
            let made = rcgen::generate_simple_self_signed(vec!["node.example".to_owned()])
                .expect("a plain name makes a certificate");
            TlsIdentity {
                chain: vec![made.cert.der().to_vec()],
                key: made.signing_key.serialize_der(),
            }
        })
        .clone()
}
