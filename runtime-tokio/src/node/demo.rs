//! An origin and an edge in one process, for a first look.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use distributary_core::Service;
use distributary_core::config::{Settings, SettingsFiles};

use super::bind::is_free;
use super::certificate::self_signed;
use super::command_line::Start;
use super::error::StartError;
use super::interfaces::{Reach, interface_addresses};
use super::plan::Plan;
use super::running::Running;

const PUBLISH_PAGE: &str =
    "/client2/examples/demo/streaming/two_way_streaming/two_way_streaming.html";
const PLAY_PAGE: &str = "/client2/examples/demo/streaming/embed_player/sample.html";

/// Ports a node has by default: the origin's where they are free.
const PORTS: [(&str, u16); 5] = [
    ("ws.port", 8080),
    ("wss.port", 8443),
    ("http.port", 8081),
    ("https.port", 8444),
    ("page.port", 8888),
];

/// How far above the origin's ports the edge's are, where they are free: addresses that stay the
/// same keep what a browser was allowed for them.
const EDGE_PORTS_ABOVE: u16 = 1000;

/// Two nodes that run, and what to tell whoever started them.
pub(super) struct Demo {
    pub(super) origin: Running,
    pub(super) edge: Running,
    /// The pages to open, in words.
    pub(super) pages: String,
}

/// Starts an edge, then an origin whose only edge it is. No file is written.
pub(super) fn start(start: Start) -> Result<Demo, StartError> {
    let tls = self_signed()?;
    let lan = interface_addresses().into_iter().find(|ip| !ip.is_loopback());
    let plan = |properties: &str, balancing: Option<&str>| {
        let (settings, _) = Settings::parse(SettingsFiles { properties, balancing }, &[])?;
        let mut plan = Plan::new(settings, tls.clone())?;
        plan.reach = Reach::NetworkAndLoopback;
        Ok::<Plan, StartError>(plan)
    };

    let edge_properties = format!("media_port_from=0\n{}", ports_from(EDGE_PORTS_ABOVE));
    let edge = start(plan(&edge_properties, None)?)?;
    let balancing = format!(
        "<loadbalancer mode=\"roundrobin\" stream_distribution=\"webrtc\">\n  \
         <node id=\"1\"><ip>{ip}</ip><ws>{ws}</ws><wss>{wss}</wss>\
         <fingerprint>{fingerprint}</fingerprint></node>\n</loadbalancer>\n",
        // Viewers are told this address, and they may sit at other machines.
        ip = lan.unwrap_or(IpAddr::from(Ipv4Addr::LOCALHOST)),
        ws = port(&edge, Service::Ws),
        wss = port(&edge, Service::Wss),
        fingerprint = edge.fingerprint(),
    );
    let origin_properties = format!("load_balancing_enabled=true\n{}", ports_from(0));
    let origin = start(plan(&origin_properties, Some(&balancing))?)?;
    let pages = pages(&origin, &edge, lan);
    Ok(Demo { origin, edge, pages })
}

/// The default ports and so many more, or any where they are taken.
fn ports_from(above: u16) -> String {
    PORTS.iter().fold(String::new(), |mut text, (key, port)| {
        let port = port + above;
        let _ = writeln!(text, "{key}={}", if is_free(port) { port } else { 0 });
        text
    })
}

fn pages(origin: &Running, edge: &Running, lan: Option<IpAddr>) -> String {
    let (publish, play) = (port(origin, Service::Http), port(edge, Service::Http));
    let mut text = format!(
        "An origin and an edge are running. In a browser on this machine:\n\n  \
         1. Open this page of the origin, press Connect, then Publish:\n     \
         http://localhost:{publish}{PUBLISH_PAGE}\n\n  \
         2. Open this page of the edge, enter the stream name of page 1, press Test now, then the \
         play button:\n     \
         http://localhost:{play}{PLAY_PAGE}\n",
    );
    if let Some(ip) = lan {
        let host = match ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let (publish, play) = (port(origin, Service::Page), port(edge, Service::Page));
        let _ = write!(
            text,
            "\nThe same from another machine, whose browser asks to accept a self-signed \
             certificate:\n\n  \
             1. https://{host}:{publish}{PUBLISH_PAGE}\n  \
             2. https://{host}:{play}{PLAY_PAGE}\n",
        );
    } else {
        text.push_str(
            "\nThis machine has no network address but loopback, and browsers use that for media \
             only if told:\nChromium with --allow-loopback-in-peer-connection, Firefox with \
             media.peerconnection.ice.loopback.\n",
        );
    }
    text.push_str("\nCtrl-C ends both.");
    text
}

fn port(node: &Running, service: Service) -> u16 {
    node.listening().iter().find(|it| it.service == service).map_or(0, |it| it.addr.port())
}
