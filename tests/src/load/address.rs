//! Where a server is and how it is spoken to, as a URL tells.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// What stands for a stream's name in a URL.
const NAME: &str = "{name}";

/// How viewers and publishers speak to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// The WebSDK's messages over a WebSocket.
    WebSdk,
    /// WHEP for viewers, WHIP for publishers.
    Whep,
    /// Janus's HTTP API and its Streaming plugin, for viewers.
    Janus {
        /// What is watched.
        mountpoint: String,
    },
    /// Bare RTP, for publishers: pictures to the port, sound two ports further.
    Rtp,
}

/// A server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Whether that is over TLS.
    pub secure: bool,
    /// As in the URL, with the port if that has one.
    pub host: String,
    /// What follows the host in the URL.
    pub path: String,
    /// Where that is.
    pub socket: SocketAddr,
}

impl Address {
    /// The path at which a stream is found.
    pub fn path_of(&self, stream: &str) -> String {
        self.path.replace(NAME, stream)
    }

    /// Whether several streams can be told apart there.
    pub fn tells_streams_apart(&self) -> bool {
        match self.protocol {
            Protocol::WebSdk => true,
            Protocol::Whep => self.path.contains(NAME),
            Protocol::Janus { .. } | Protocol::Rtp => false,
        }
    }

    /// The host without its port.
    pub(super) fn name(&self) -> &str {
        let (name, _) = split_port(&self.host);
        name.trim_start_matches('[').trim_end_matches(']')
    }
}

impl FromStr for Address {
    type Err = String;

    /// Reads a URL, and looks its host up.
    fn from_str(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (protocol, secure) = match scheme {
            "ws" => (Protocol::WebSdk, false),
            "wss" => (Protocol::WebSdk, true),
            "http" => (Protocol::Whep, false),
            "https" => (Protocol::Whep, true),
            "janus+http" => (mountpoint(path)?, false),
            "janus+https" => (mountpoint(path)?, true),
            "rtp" => (Protocol::Rtp, false),
            _ => {
                return Err("expected ws://, wss://, http://, https://, janus+http://, \
                            janus+https:// or rtp://"
                    .to_owned());
            }
        };
        let (_, port) = split_port(host);
        let full = match (port, &protocol) {
            (Some(_), _) => host.to_owned(),
            (None, Protocol::Rtp) => return Err("rtp:// needs a port".to_owned()),
            (None, _) => format!("{host}:{}", if secure { 443 } else { 80 }),
        };
        let mut found = full.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
        let socket = found.next().ok_or_else(|| format!("{host} has no address"))?;
        let path = match protocol {
            // What identifies the mountpoint is no part of it.
            Protocol::Janus { .. } => path.split('?').next().unwrap_or_default().to_owned(),
            Protocol::WebSdk | Protocol::Whep | Protocol::Rtp => path.to_owned(),
        };
        Ok(Self { protocol, secure, host: host.to_owned(), path, socket })
    }
}

fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        None => (host, None),
    }
}

fn mountpoint(path: &str) -> Result<Protocol, String> {
    let id = path
        .split_once('?')
        .and_then(|(_, query)| query.split('&').find_map(|pair| pair.strip_prefix("id=")));
    match id.filter(|id| !id.is_empty()) {
        Some(id) => Ok(Protocol::Janus { mountpoint: id.to_owned() }),
        None => Err("expected ?id=MOUNTPOINT at the end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Address {
        url.parse().unwrap_or_else(|problem| panic!("{url}: {problem}"))
    }

    #[test]
    fn urls_tell_protocol_host_path_and_port() {
        for (url, protocol, secure, host, path, socket) in [
            ("ws://127.0.0.1", Protocol::WebSdk, false, "127.0.0.1", "/", "127.0.0.1:80"),
            ("wss://127.0.0.1", Protocol::WebSdk, true, "127.0.0.1", "/", "127.0.0.1:443"),
            ("wss://[::1]", Protocol::WebSdk, true, "[::1]", "/", "[::1]:443"),
            ("https://[::1]:9/a/b?c", Protocol::Whep, true, "[::1]:9", "/a/b?c", "[::1]:9"),
            ("rtp://127.0.0.1:5004", Protocol::Rtp, false, "127.0.0.1:5004", "/", "127.0.0.1:5004"),
        ] {
            let socket = socket.parse().unwrap();
            let (host, path) = (host.to_owned(), path.to_owned());
            assert_eq!(read(url), Address { protocol, secure, host, path, socket }, "{url}");
        }
        assert_eq!(read("wss://[::1]:9").name(), "::1");
        assert_eq!(read("wss://127.0.0.1").name(), "127.0.0.1");
    }

    #[test]
    fn the_mountpoint_of_janus_is_no_part_of_its_path() {
        let address = read("janus+http://127.0.0.1:8088/janus?x=1&id=42");
        assert_eq!(address.protocol, Protocol::Janus { mountpoint: "42".to_owned() });
        assert_eq!(address.path, "/janus");
        for url in ["janus+http://127.0.0.1:8088/janus", "janus+http://127.0.0.1/janus?id="] {
            let problem = url.parse::<Address>().unwrap_err();
            assert!(problem.contains("?id=MOUNTPOINT"), "{problem}");
        }
    }

    #[test]
    fn a_name_in_a_path_is_the_streams() {
        let address = read("http://127.0.0.1/{name}/whep");
        assert!(address.tells_streams_apart());
        assert_eq!(address.path_of("load-1"), "/load-1/whep");
        assert!(!read("http://127.0.0.1/whep").tells_streams_apart());
        assert!(read("ws://127.0.0.1").tells_streams_apart());
    }

    #[test]
    fn what_is_no_url_of_these_is_refused() {
        for (url, said) in [
            ("localhost", "expected ws://"),
            ("ftp://127.0.0.1", "expected ws://"),
            ("rtp://127.0.0.1", "needs a port"),
            ("ws://", ""),
        ] {
            let problem = url.parse::<Address>().unwrap_err();
            assert!(problem.contains(said), "{url}: {problem}");
        }
    }
}
