//! A TCP connection to a server, which is opened when there is something to say.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::address::Address;
use super::tls::{Line, Trust};

/// A server, and how to dial it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: Address,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Server {
    pub(super) fn new(address: &Address, trust: &Trust) -> Result<Arc<Self>, String> {
        let tls = if address.secure {
            let name = ServerName::try_from(address.name().to_owned());
            let name = name.map_err(|error| format!("{}: {error}", address.host))?;
            Some((trust.config()?, name))
        } else {
            None
        };
        Ok(Arc::new(Self { address: address.clone(), tls }))
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    server: Arc<Server>,
    token: Token,
    socket: Option<TcpStream>,
    /// Whether the far side took it.
    taken: bool,
    line: Line,
    backlog: Vec<u8>,
}

impl Connection {
    /// Begins to connect.
    pub(super) fn open(
        server: &Arc<Server>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut backlog = Vec::new();
        Ok(Self {
            server: Arc::clone(server),
            token,
            socket: Some(dial(server, registry, token)?),
            taken: false,
            line: Line::open(server.tls.as_ref(), &mut backlog).map_err(io::Error::other)?,
            backlog,
        })
    }

    /// The address at this end.
    pub(super) fn ip(&self) -> io::Result<IpAddr> {
        let socket = self.socket.as_ref().ok_or(ErrorKind::NotConnected)?;
        Ok(socket.local_addr()?.ip())
    }

    /// Takes in what there is, which is appended to `plain`. Answers whether the connection is up,
    /// and what is said now would be heard; after the far side closed it, it is not.
    pub(super) fn read(&mut self, plain: &mut Vec<u8>) -> Result<bool, String> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        if let Ok(Some(error)) | Err(error) = socket.take_error() {
            return Err(format!("the connection failed: {}", complaint(&error)));
        }
        self.taken |= socket.peer_addr().is_ok();
        let mut room = [0; 16 * 1024];
        loop {
            match socket.read(&mut room) {
                Ok(0) => {
                    self.close();
                    return Ok(false);
                }
                Ok(length) => {
                    let wire = room.get(..length).unwrap_or_default();
                    self.line.receive(wire, plain, &mut self.backlog)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // It is not up yet.
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(format!("the connection broke: {error}")),
            }
        }
        self.flush()?;
        Ok(self.taken && self.line.is_up())
    }

    /// Whether there is none, because the far side closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.socket.is_none()
    }

    /// Says something, over a new connection if the old one was closed.
    pub(super) fn write(&mut self, registry: &Registry, plain: &[u8]) -> Result<(), String> {
        if self.socket.is_none() && !plain.is_empty() {
            let dialed = dial(&self.server, registry, self.token);
            self.socket = Some(dialed.map_err(|error| complaint(&error))?);
            self.taken = false;
            self.backlog.clear();
            self.line = Line::open(self.server.tls.as_ref(), &mut self.backlog)?;
        }
        self.line.send(plain, &mut self.backlog);
        self.flush()
    }

    /// Ends it.
    pub(super) fn close(&mut self) {
        self.socket = None;
    }

    fn flush(&mut self) -> Result<(), String> {
        let Some(socket) = self.socket.as_mut().filter(|_| self.taken) else { return Ok(()) };
        while !self.backlog.is_empty() {
            match socket.write(&self.backlog) {
                Ok(length) => {
                    self.backlog.drain(..length);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("the connection broke: {error}")),
            }
        }
        Ok(())
    }
}

fn dial(server: &Server, registry: &Registry, token: Token) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(server.address.socket)?;
    // Without it small messages would wait for each other.
    socket.set_nodelay(true)?;
    registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(socket)
}

/// An error of the system, and what to do about it where that is not plain.
pub(super) fn complaint(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(23 | 24) => "no file descriptor left; `ulimit -n` raises the limit".to_owned(),
        _ => error.to_string(),
    }
}
