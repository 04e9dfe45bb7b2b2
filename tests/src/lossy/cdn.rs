//! An origin and its edges as processes, and a path before each media port: whatever goes from a
//! publisher to the origin, from there to an edge and from an edge to a viewer can be lost.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::path::{LossyPath, Terms};
use crate::load::Address;
use crate::process::{Runtime, Server};
use crate::real::{HTTP_PORT, MEDIA_PORT, Network, WS_PORT};

/// From a node's address to the one that it announces.
const ANNOUNCED: usize = 100;
/// The origin's host; those of its edges follow.
const FIRST_NODE: usize = 2;

/// Where packets are lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// On all of these.
    All,
    /// From a publisher to the origin.
    Publisher,
    /// From the origin to an edge.
    Link,
    /// From an edge to a viewer.
    Viewer,
}

/// What a CDN is made of.
#[derive(Clone, PartialEq, Debug)]
pub struct Make {
    /// The event loop of all nodes.
    pub runtime: Runtime,
    /// How many edges the origin has.
    pub edges: usize,
    /// Shards of each node.
    pub shards: u16,
    /// What becomes of datagrams on each hop.
    pub terms: Terms,
    /// On which hop they are lost.
    pub hop: Hop,
    /// More lines of each node's `flashphoner.properties`.
    pub properties: String,
}

/// A CDN. Its processes end with the thread that started them, and with this value.
#[derive(Debug)]
pub struct Cdn {
    /// The origin, then its edges.
    pub nodes: Vec<Node>,
    pub(crate) network: Network,
}

/// A node, and the paths to its media ports.
#[derive(Debug)]
pub struct Node {
    /// What it is called, such as `edge1`.
    pub name: String,
    /// Its process.
    pub server: Server,
    /// To each of its media ports.
    pub paths: Vec<LossyPath>,
    ip: IpAddr,
}

impl Cdn {
    /// Starts edges and origin.
    ///
    /// # Errors
    ///
    /// In words, with what the node logged that did not get ready.
    pub fn start(make: &Make) -> Result<Self, String> {
        let mut cdn = Self { nodes: Vec::new(), network: Network::take() };
        let mut balancing = String::from("<loadbalancer stream_distribution=\"webrtc\">\n");
        for number in 1..=make.edges {
            let edge = cdn.node(make, number, None)?;
            let ip = edge.ip;
            balancing.push_str(&format!(
                "<node id=\"{number}\"><ip>{ip}</ip><ws>{WS_PORT}</ws></node>\n"
            ));
            cdn.nodes.push(edge);
        }
        balancing.push_str("</loadbalancer>\n");
        let origin = cdn.node(make, 0, Some(&balancing))?;
        cdn.nodes.insert(0, origin);
        Ok(cdn)
    }

    /// From where links come.
    fn origin(&self) -> IpAddr {
        self.network.address(FIRST_NODE)
    }

    fn node(&self, make: &Make, number: usize, balancing: Option<&str>) -> Result<Node, String> {
        let name = if number == 0 { "origin".to_owned() } else { format!("edge{number}") };
        let host = FIRST_NODE + number;
        let (ip, announced) = (self.network.address(host), self.network.address(ANNOUNCED + host));
        let Make { shards, properties, .. } = make;
        let terms = make.hop.terms(number == 0, self.origin(), make.terms);
        let mut paths = Vec::new();
        for port in MEDIA_PORT..MEDIA_PORT + shards {
            let seed = terms.seed.wrapping_mul(1_000_003).wrapping_add((host as u64) << 16);
            let terms = Terms { seed: seed.wrapping_add(port.into()), ..terms };
            let path = LossyPath::new((announced, port).into(), (ip, port).into(), terms);
            paths.push(path.map_err(|error| format!("the path to {name}: {error}"))?);
        }
        let properties = format!(
            "ip={announced}\nip_local={ip}\nws.port={WS_PORT}\nwss.port=off\n\
             http.port={HTTP_PORT}\nhttps.port=off\npage.port=off\nmedia_port_from={MEDIA_PORT}\n\
             shards={shards}\nnode.id={name}\n{properties}\n"
        );
        let server = Server::start_in_session(make.runtime, &properties, balancing)
            .map_err(|problem| format!("{name}: {problem}"))?;
        Ok(Node { name, server, paths, ip })
    }
}

impl Hop {
    /// Those of a node's paths.
    fn terms(self, origin: bool, from: IpAddr, terms: Terms) -> Terms {
        // Publishers and viewers come from there, links do not.
        let page = Ipv4Addr::LOCALHOST.into();
        let (exposed, spared) = match self {
            Self::All => (true, None),
            Self::Publisher => (origin, None),
            Self::Link => (!origin, Some(page)),
            Self::Viewer => (!origin, Some(from)),
        };
        Terms { loss: if exposed { terms.loss } else { 0.0 }, spared, ..terms }
    }
}

impl Node {
    /// Where viewers and publishers connect.
    pub fn ws(&self) -> SocketAddr {
        (self.ip, WS_PORT).into()
    }

    /// Where it tells its statistics.
    pub fn http(&self) -> SocketAddr {
        (self.ip, HTTP_PORT).into()
    }

    /// Its media ports, without the paths before them.
    pub fn media(&self) -> Vec<SocketAddr> {
        let ports = (MEDIA_PORT..).take(self.paths.len());
        ports.map(|port| (self.ip, port).into()).collect()
    }

    /// The same for the load tool.
    pub fn url(&self) -> Address {
        let url = format!("ws://{}", self.ws());
        url.parse().expect("an address and a port make a URL")
    }
}
