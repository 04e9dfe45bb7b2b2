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

/// Ports an origin has by default: taken where they are free.
const ORIGIN_PORTS: [(&str, u16); 5] = [
    ("ws.port", 8080),
    ("wss.port", 8443),
    ("http.port", 8081),
    ("https.port", 8444),
    ("page.port", 8888),
];

const EDGE_PROPERTIES: &str = "\
    ws.port=0\nwss.port=0\nhttp.port=0\nhttps.port=0\npage.port=0\nmedia_port_from=0\n";

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

    let edge = start(plan(EDGE_PROPERTIES, None)?)?;
    let mut origin_properties = "load_balancing_enabled=true\n".to_owned();
    for (key, port) in ORIGIN_PORTS {
        let _ = writeln!(origin_properties, "{key}={}", if is_free(port) { port } else { 0 });
    }
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
    let origin = start(plan(&origin_properties, Some(&balancing))?)?;
    let pages = pages(&origin, &edge, lan);
    Ok(Demo { origin, edge, pages })
}

fn pages(origin: &Running, edge: &Running, lan: Option<IpAddr>) -> String {
    let mut text = format!(
        "An origin and an edge are running.\n\n  \
         publish here:  http://localhost:{}{PUBLISH_PAGE}\n  \
         play there:    http://localhost:{}{PLAY_PAGE}\n",
        port(origin, Service::Http),
        port(edge, Service::Http),
    );
    if let Some(ip) = lan {
        let host = match ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let _ = write!(
            text,
            "\nFrom other machines, once the self-signed certificate is accepted in each:\n\n  \
             publish here:  https://{host}:{}{PUBLISH_PAGE}\n  \
             play there:    https://{host}:{}{PLAY_PAGE}\n",
            port(origin, Service::Page),
            port(edge, Service::Page),
        );
    }
    text.push_str("\nCtrl-C ends both.");
    text
}

fn port(node: &Running, service: Service) -> u16 {
    node.listening().iter().find(|it| it.service == service).map_or(0, |it| it.addr.port())
}
