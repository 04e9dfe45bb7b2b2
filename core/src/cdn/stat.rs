//! What the node answers when it is asked over HTTP: where to play, and how it is.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use serde_json::json;

use super::play::Phase;
use super::relay::Links;
use super::{Node, PeerUse};
use crate::config::Config;
use crate::id::{ConnId, ShardId};
use crate::input::Service;
use crate::message::{Message, Question, ToConnection};
use crate::outbox::Ctx;
use crate::stream::http::Response;

impl Node {
    pub(super) fn answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        shard: ShardId,
        conn: ConnId,
        question: &Question,
    ) {
        let response = match question {
            Question::ServerList { stream, callback, host } => {
                self.server_list(ctx, stream.as_deref(), callback.as_deref(), host)
            }
            Question::Stat => {
                Response::ok("text/plain; charset=utf-8", self.stat(ctx).into_bytes())
            }
            Question::State => self.tell_state(),
            Question::Enforce(state) => {
                self.enforce(ctx, *state);
                self.tell_state()
            }
        };
        let word = ToConnection::Respond(Box::new(response));
        ctx.out.post(shard, Message::Connection { conn, word });
    }

    fn tell_state(&self) -> Response {
        Response::json(200, &json!({ "state": self.state() }).to_string())
    }

    /// Always a server, and always all four fields: the clients have no way to be refused. With
    /// no edge fit, it is this node itself, under the name by which the client knows it.
    fn server_list(
        &mut self,
        ctx: &mut Ctx<'_>,
        stream: Option<&str>,
        callback: Option<&str>,
        host: &str,
    ) -> Response {
        let stream = stream.map(|name| self.names.get(name).copied());
        let own_address = ctx.config.addresses.first().map(ToString::to_string);
        let host = match (host, &own_address) {
            ("", Some(address)) => address,
            _ => host,
        };
        let Self { balancer, links, .. } = self;
        let links: &Links = links;
        let server = match balancer.pick(ctx.rng, links, stream) {
            Some(edge) => json!({
                "server": in_url(&edge.host),
                "ws": edge.ws.get(),
                "wss": edge.wss.get(),
                "flash": edge.flash.get(),
            }),
            None => json!({
                "server": in_url(host),
                "ws": own_port(ctx.config, &[Service::Ws, Service::Http]),
                "wss": own_port(ctx.config, &[Service::Wss, Service::Https, Service::Page]),
                "flash": 0,
            }),
        };
        match callback {
            Some(callback) => {
                let script = format!("{callback}({server});");
                Response::ok("text/javascript; charset=utf-8", script.into_bytes())
            }
            None => Response::json(200, &server.to_string()),
        }
    }

    fn stat(&self, ctx: &Ctx<'_>) -> String {
        let live = self.streams.values().filter(|stream| stream.is_playable()).count();
        let viewers = self.plays.values();
        let viewers = viewers.filter(|play| matches!(play.phase, Phase::Playing { .. })).count();
        let relays = self.peers.values();
        let relays = relays.filter(|peer| matches!(peer.of, PeerUse::Relay { .. })).count();
        let mut text = String::new();
        let mut section = |name: &str, values: &[(&str, usize)]| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "-----{name} Stats-----");
            for (key, value) in values {
                let _ = writeln!(text, "{key}={value}");
            }
        };
        section(
            "Connection",
            &[
                ("connections", self.sessions.len()),
                ("connections_websocket", self.sessions.len()),
                ("connections_link", self.load.links),
            ],
        );
        section(
            "Stream",
            &[
                ("streams_webrtc_in", live),
                ("streams_webrtc_out", viewers + relays),
                ("streams_rtmp_in", 0),
                ("streams_rtmp_out", 0),
                ("streams_viewers", viewers),
                ("streams_relayed", relays),
            ],
        );
        section("Call", &[("calls", viewers)]);
        let bitrate_out = usize::try_from(self.load.bitrate_out(ctx.now)).unwrap_or(usize::MAX);
        section(
            "System",
            &[
                ("systemCpuLoad", usize::from(self.load.cpu_percent)),
                ("core_accepting", usize::from(self.is_accepting(ctx))),
                ("core_bitrate_out", bitrate_out),
                ("core_peers", self.peers.len()),
                ("core_shards", self.placed.len()),
            ],
        );
        text
    }
}

/// A host as it stands in a URL, which is where the clients put it: an IPv6 address in brackets
/// (RFC 3986, section 3.2.2).
fn in_url(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

/// The port of the first of these listeners that is on; 0 if none is.
fn own_port(config: &Config, services: &[Service]) -> u16 {
    let port = |service: &Service| {
        let mut listening = config.listening.iter();
        listening.find(|listening| listening.service == *service).map(|found| found.addr.port())
    };
    services.iter().find_map(port).unwrap_or(0)
}
