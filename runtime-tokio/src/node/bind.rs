//! Opening the sockets of a node, and what follows from where they ended up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use distributary_core::config::{Config, Listening, Port, Settings};
use distributary_core::{Epoch, Event, Service, ShardId};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::warn;

use super::datagrams::Datagrams;
use super::descriptors;
use super::error::StartError;
use super::interfaces::{candidates, interface_addresses};
use super::plan::{Plan, crypto, random};
use super::wishes::Wishes;

/// Connections that may wait to be accepted, per listener; the kernel caps it at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// One UDP socket serves thousands of viewers, so it gets at least this much, whatever the
/// settings say.
const UDP_BUFFER_BYTES_MIN: usize = 4 * 1024 * 1024;

/// `media_port_from` where an operator wrote none: then, and only then, ports that others use are
/// stepped over.
const MEDIA_PORT_DEFAULT: u16 = 31_001;

/// A plan with its sockets open.
#[derive(Debug)]
pub struct Bound {
    /// What every shard is told.
    pub config: Arc<Config>,
    /// What each shard gets, in their order.
    pub shards: Vec<ShardStart>,
    /// Where the shards' events go besides the log.
    pub events: Option<Sender<(ShardId, Event)>>,
    /// Where shards wish to have the settings read again.
    pub wishes: Wishes,
}

/// What one shard gets.
#[derive(Debug)]
pub struct ShardStart {
    /// Its number.
    pub id: ShardId,
    /// Its media socket.
    pub media: MediaSocket,
    /// What opens more of them.
    pub sockets: MediaSockets,
    /// Its listeners, not blocking. Every shard has one for each port, and the kernel spreads
    /// connections over them.
    pub listeners: Vec<(Service, TcpListener)>,
    /// Seed of all its randomness.
    pub seed: [u8; 32],
    /// One moment on both clocks.
    pub epoch: Epoch,
}

/// A UDP socket, not blocking, and what reads and writes it.
#[derive(Debug)]
pub struct MediaSocket {
    /// The socket.
    pub socket: UdpSocket,
    /// What reads and writes it.
    pub datagrams: Datagrams,
}

/// Opens the UDP sockets that a shard asks for besides its media port.
#[derive(Debug)]
pub struct MediaSockets {
    /// The address that the media port is bound to.
    bound: IpAddr,
    own: Arc<[IpAddr]>,
    only: Arc<[IpAddr]>,
    config: Arc<Config>,
}

impl MediaSockets {
    /// Opens one on any free port.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(&self) -> io::Result<MediaSocket> {
        let socket = open_media(SocketAddr::new(self.bound, 0))?;
        grow_buffers(&socket, &self.config.settings);
        self.wrap(socket)
    }

    fn wrap(&self, socket: UdpSocket) -> io::Result<MediaSocket> {
        let datagrams = Datagrams::new(&socket, &self.own, Arc::clone(&self.only))?;
        Ok(MediaSocket { socket, datagrams })
    }
}

impl Plan {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a port is taken or not ours to open, if the machine has no address, or
    /// if the settings turn out to name this very node as its own edge.
    pub fn bind(self) -> Result<Bound, StartError> {
        let Self { settings, limits, pages, tls, link_roots, hook_roots, name, reach, events } =
            self;
        let shards = shard_count(&settings);
        descriptors::make_room(shards, &limits);
        let media = bind_media(&settings, shards)?;
        let listeners = bind_listeners(&settings, shards)?;

        let with_ipv6 = media.iter().any(|(_, addr)| addr.is_ipv6());
        let interfaces = interface_addresses();
        let addresses = candidates(&settings, &interfaces, reach, with_ipv6);
        if addresses.is_empty() {
            return Err(StartError::NoAddress);
        }
        let listening: Vec<Listening> = listeners.iter().map(|it| it.listening).collect();
        let own: Vec<IpAddr> = interfaces.iter().chain(&addresses).copied().collect();
        settings.check_self(&listening, &own)?;

        let crypto = crypto();
        let dtls = crypto.dtls_provider.generate_certificate().ok_or_else(|| {
            StartError::Certificate("the cryptography library has no generator".to_owned())
        })?;
        let only: Arc<[IpAddr]> = several(&settings.ip_local).into();
        let epoch = Epoch {
            instant: Instant::now(),
            unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        };
        let config = Config {
            settings,
            node: name,
            listening,
            media: media.iter().map(|&(_, addr)| addr).collect(),
            addresses,
            tls,
            link_roots,
            hook_roots,
            dtls,
            crypto,
            pages,
            limits,
        };
        let config = Arc::new(config);
        let mut starts = Vec::with_capacity(shards);
        for (index, (socket, _)) in media.into_iter().enumerate() {
            let sockets = MediaSockets {
                bound: socket.local_addr().map_err(system("a media socket has no address"))?.ip(),
                own: interfaces.clone().into(),
                only: Arc::clone(&only),
                config: Arc::clone(&config),
            };
            let media = sockets.wrap(socket).map_err(system("cannot set a UDP socket up"))?;
            starts.push(ShardStart {
                id: ShardId(u16::try_from(index).expect("Settings::shards is a u16")),
                media,
                sockets,
                listeners: Vec::with_capacity(listeners.len()),
                seed: random()?,
                epoch,
            });
        }
        for Listeners { listening, sockets } in listeners {
            for (start, socket) in starts.iter_mut().zip(sockets) {
                start.listeners.push((listening.service, socket));
            }
        }
        Ok(Bound { config, shards: starts, events, wishes: Wishes::new(shards) })
    }
}

fn shard_count(settings: &Settings) -> usize {
    match settings.shards {
        Some(shards) => usize::from(shards.get()),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Whether a TCP port can be listened at, on every address.
pub(super) fn is_free(port: u16) -> bool {
    open_listener(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), false).is_ok()
}

/// The settings key of a listener.
pub(super) fn port_key(service: Service) -> &'static str {
    match service {
        Service::Ws => "ws.port",
        Service::Wss => "wss.port",
        Service::Http => "http.port",
        Service::Https => "https.port",
        Service::Page => "page.port",
    }
}

/// One listening address with a socket for each shard.
struct Listeners {
    listening: Listening,
    sockets: Vec<TcpListener>,
}

fn bind_listeners(settings: &Settings, shards: usize) -> Result<Vec<Listeners>, StartError> {
    let ports = settings.ports;
    let mut bound = Vec::new();
    for (service, port) in [
        (Service::Ws, ports.ws),
        (Service::Wss, ports.wss),
        (Service::Http, ports.http),
        (Service::Https, ports.https),
        (Service::Page, ports.page),
    ] {
        let mut number = match port {
            Port::Off => continue,
            Port::Any => 0,
            Port::Number(number) => number.get(),
        };
        for ip in wildcard_or(&settings.ip_local) {
            let listeners = bind_listener(service, SocketAddr::new(ip, number), shards)?;
            // With several addresses, "any port" means the same one on all of them.
            number = listeners.listening.addr.port();
            bound.push(listeners);
        }
    }
    Ok(bound)
}

fn bind_listener(
    service: Service,
    addr: SocketAddr,
    shards: usize,
) -> Result<Listeners, StartError> {
    let key = port_key(service);
    // Sockets that share a port do not notice other programs that share theirs, so one that does
    // not share looks first.
    if addr.port() != 0 {
        open_listener(addr, false).map_err(|source| bind_error(key, addr, source))?;
    }
    let mut sockets = Vec::with_capacity(shards);
    let mut addr = addr;
    for _ in 0..shards {
        let listener =
            open_listener(addr, shards > 1).map_err(|source| bind_error(key, addr, source))?;
        addr = listener.local_addr().map_err(system("a listener has no address"))?;
        sockets.push(listener);
    }
    Ok(Listeners { listening: Listening { service, addr }, sockets })
}

fn open_listener(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    with_ipv4_fallback(addr, |addr| {
        let socket = open_socket(addr, Type::STREAM, Protocol::TCP)?;
        // Without it a restart fails while old connections are still in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    })
}

fn bind_media(
    settings: &Settings,
    shards: usize,
) -> Result<Vec<(UdpSocket, SocketAddr)>, StartError> {
    const KEY: &str = "media_port_from";
    let (from, to) = (settings.media_port_from, settings.media_port_to);
    let ip = match settings.ip_local.as_slice() {
        [one] => *one,
        all if !all.is_empty() && all.iter().all(IpAddr::is_ipv4) => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut bound = Vec::with_capacity(shards);
    let mut next = from;
    while bound.len() < shards {
        if from != 0 && (next > to || next < from) {
            return Err(StartError::MediaPorts { from, to, shards, free: bound.len() });
        }
        let addr = SocketAddr::new(ip, next);
        match open_media(addr) {
            Ok(socket) => {
                let addr = socket.local_addr().map_err(system("a media socket has no address"))?;
                grow_buffers(&socket, settings);
                if bound.is_empty() {
                    warn_of_small_buffers(&socket, settings);
                }
                bound.push((socket, addr));
            }
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && from == MEDIA_PORT_DEFAULT => {}
            Err(error) => return Err(bind_error(KEY, addr, error)),
        }
        if from != 0 {
            // Wrapping shows as `next < from` above.
            next = next.wrapping_add(1);
        }
    }
    Ok(bound)
}

fn open_media(addr: SocketAddr) -> io::Result<UdpSocket> {
    with_ipv4_fallback(addr, |addr| {
        let socket = open_socket(addr, Type::DGRAM, Protocol::UDP)?;
        socket.bind(&addr.into())?;
        Ok(socket.into())
    })
}

fn open_socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        // The unspecified address takes IPv4 as well.
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Opens `addr`, or, if that is the unspecified IPv6 address and IPv6 is switched off on this
/// machine, the unspecified IPv4 address.
fn with_ipv4_fallback<T>(
    addr: SocketAddr,
    open: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    match open(addr) {
        Err(error)
            if addr.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED)
                && matches!(
                    error.raw_os_error().map(nix::errno::Errno::from_raw),
                    Some(
                        nix::errno::Errno::EAFNOSUPPORT
                            | nix::errno::Errno::EADDRNOTAVAIL
                            | nix::errno::Errno::EPROTONOSUPPORT
                    )
                ) =>
        {
            open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), addr.port()))
        }
        result => result,
    }
}

fn grow_buffers(socket: &UdpSocket, settings: &Settings) {
    let socket = SockRef::from(socket);
    // A refusal shows in what can be read back.
    let _ = socket.set_recv_buffer_size(settings.udp_receive_bytes.max(UDP_BUFFER_BYTES_MIN));
    let _ = socket.set_send_buffer_size(settings.udp_send_bytes.max(UDP_BUFFER_BYTES_MIN));
}

/// Warns once for each direction in which the system grants less than was asked for.
fn warn_of_small_buffers(socket: &UdpSocket, settings: &Settings) {
    let socket = SockRef::from(socket);
    for (direction, setting, got, sysctl) in [
        ("receive", settings.udp_receive_bytes, socket.recv_buffer_size(), "net.core.rmem_max"),
        ("send", settings.udp_send_bytes, socket.send_buffer_size(), "net.core.wmem_max"),
    ] {
        let wanted = setting.max(UDP_BUFFER_BYTES_MIN);
        // Linux reports twice what it grants, the other half being its own bookkeeping.
        let divisor = if cfg!(target_os = "linux") { 2 } else { 1 };
        let granted = got.map_or(0, |bytes| bytes / divisor);
        if granted < wanted {
            warn!(
                "the system grants a {direction} buffer of {granted} bytes instead of {wanted}; \
                 bursts may be lost; raise it with: sysctl -w {sysctl}={wanted}"
            );
        }
    }
}

fn wildcard_or(ips: &[IpAddr]) -> Vec<IpAddr> {
    if ips.is_empty() { vec![Ipv6Addr::UNSPECIFIED.into()] } else { ips.to_vec() }
}

/// The addresses that datagrams may come to, if the socket itself does not see to it: a shard has
/// one media socket, which binds one address or all.
fn several(ip_local: &[IpAddr]) -> &[IpAddr] {
    if ip_local.len() > 1 && !ip_local.iter().any(IpAddr::is_unspecified) { ip_local } else { &[] }
}

fn bind_error(key: &'static str, addr: SocketAddr, source: io::Error) -> StartError {
    if source.kind() == io::ErrorKind::AddrInUse {
        StartError::PortTaken { key, addr }
    } else {
        StartError::Bind { key, addr, source }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}
