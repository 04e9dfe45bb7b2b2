//! Which keys `flashphoner.properties` may have.

/// One key of `flashphoner.properties`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// As written, letter case included.
    pub name: &'static str,
    /// The value of a key that is not written; empty where nothing is set then.
    pub default: &'static str,
    /// What it means, with its unit, in one line.
    pub meaning: &'static str,
    /// What it does here.
    pub effect: Effect,
}

/// What a key does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// What its meaning says.
    Works,
    /// Nothing: whoever writes it is warned. The text says why, or what to use.
    NoEffect(&'static str),
}

/// Every known key, in the order of a manual. Whatever is not here draws a warning.
pub const KEYS: &[Key] = &[
    works("ip", "", "addresses told to peers, comma-separated IPv4 and IPv6; unset: every usable"),
    works("ip_local", "", "addresses to bind, comma-separated IPv4 and IPv6; unset: all"),
    works("ws.port", "8080", "TCP port without TLS, WebSocket; a number, 0 (any) or off"),
    works("wss.port", "8443", "TCP port with TLS, WebSocket; a number, 0 (any) or off"),
    works("http.port", "8081", "TCP port without TLS, statistics and balancer; number, 0 or off"),
    works("https.port", "8444", "TCP port with TLS, statistics and balancer; number, 0 or off"),
    works("page.port", "8888", "TCP port with TLS, the demo pages; a number, 0 (any) or off"),
    inert("rtmp.port", "off", "TCP port of RTMP", "RTMP is not served; write off"),
    works("client_dir", "", "folder served at /client2/; unset: the built-in pages"),
    works("tls.cert", "", "PEM file of the TLS listeners' certificate chain; unset: self-signed"),
    works("tls.key", "", "PEM file of the private key that belongs to tls.cert"),
    works("shards", "", "threads that serve, each with a media port; unset: one per core"),
    works("node.id", "", "name of this node among those that know each other; unset: made up"),
    works("media_port_from", "31001", "first UDP media port, one per shard; 0: any"),
    works("media_port_to", "32000", "last UDP media port that may be used"),
    works("codecs", "opus,alaw,ulaw,h264,vp8,vp9,av1", "codecs, best first"),
    works("codecs_exclude_streaming", "", "codecs to leave out of codecs"),
    works("load_balancing_enabled", "false", "push streams to the nodes of loadbalancing.xml"),
    works("cdn_require_tls", "false", "refuse nodes of loadbalancing.xml without <wss>"),
    works("cdn_ca", "", "PEM file of authorities that sign nodes' certificates; unset: system's"),
    works(
        "cdn_auth_key",
        "",
        "secret that the nodes of a CDN share; of two, the first signs, both count",
    ),
    works(
        "cdn_role_strict",
        "",
        "only links may publish; unset: true with cdn_auth_key on an edge",
    ),
    works("publisher.grace", "5000", "ms that viewers wait for a lost publisher's return"),
    works("link.grace", "90000", "ms that viewers wait for the return of a stream's lost origin"),
    works("play.wait", "1000", "ms that a viewer waits for an unknown stream to appear"),
    works("keep_alive.algorithm", "HIGH_LEVEL", "how sessions are kept alive; NONE: not at all"),
    works("keep_alive.server_interval", "5000", "ms between two pings of a session"),
    works("keep_alive.probes", "10", "unanswered pings that end a session"),
    works("webrtc_cc_min_bitrate", "30000", "least bit/s asked of a publisher"),
    works("webrtc_cc_max_bitrate", "10000000", "most bit/s asked of a publisher"),
    works("webrtc_cc2_twcc", "true", "transport-wide congestion control"),
    works(
        "inbound_video_rate_stat_send_interval",
        "0",
        "s between words to publishers on the rate of their picture; 0: none",
    ),
    works(
        "outbound_video_rate_stat_send_interval",
        "0",
        "s between words to viewers on the rate of their picture; 0: none",
    ),
    works(
        "incoming_bitrate_stat_send_interval",
        "0",
        "older name of inbound_video_rate_stat_send_interval",
    ),
    works("periodic_fir_request", "false", "ask publishers for key frames on a timer"),
    works("rtp_receive_buffer_size", "4194304", "bytes of a media socket's receive buffer"),
    works("rtp_send_buffer_size", "4194304", "bytes of a media socket's send buffer"),
    works("limit.viewers", "", "viewers at once, more are refused; unset: as many as fit"),
    works("limit.sessions", "", "sessions at once, more are refused; unset: as many as fit"),
    works("limit.bitrate_out", "", "bit/s of media sent, past which nobody new is served"),
    works("limit.cpu", "", "processor load in per cent, past which nobody new is served"),
    works("address.connections", "1000", "TCP connections of one address at once, on each shard"),
    works("address.connections_per_second", "50", "those it may open, 5 s at once, on each shard"),
    works("address.joins_per_second", "50", "streams it may ask for, 5 s at once, on each shard"),
    works("address.streams", "1000", "streams it may publish and play at once, on the node"),
    works("address.exempt", "127.0.0.0/8,::1", "addresses and networks that are not counted"),
    works("drain.timeout", "0", "ms that a draining node waits for its viewers to leave"),
    works("allow_domains", "*", "hosts whose pages may connect, such as *.a.com,!*.evil.com"),
    works("auth.publish", "open", "who may publish: open, jwt (a token) or hook (a backend says)"),
    works("auth.play", "open", "who may play: open, jwt (a token) or hook (a backend says)"),
    works("auth.jwt.key", "", "key of tokens (HS256); of two with a comma, both count"),
    works("auth.hook.url", "", "http or https URL of the backend that is asked"),
    works("auth.hook.timeout", "3000", "ms that the backend's answer may take"),
    works("auth.hook.on_error", "refuse", "what no answer of the backend means: refuse or allow"),
    works("auth.hook.ca", "", "PEM file of authorities that sign the backend's; unset: system's"),
    works("admin.token", "", "what statistics and REST have to be asked with from afar"),
    inert(
        "wcs_agent_ssl",
        "",
        "TLS between nodes",
        "a link uses TLS as soon as its node in loadbalancing.xml has <wss>",
    ),
    inert(
        "client_acl_property_name",
        "",
        "field of a session's custom object that carries an access key",
        "streams have no access lists",
    ),
    dynamic_cdn("cdn_enabled", "join a dynamic CDN"),
    dynamic_cdn("cdn_ip", "address of this node in a dynamic CDN"),
    dynamic_cdn("cdn_port", "port of this node in a dynamic CDN"),
    dynamic_cdn("cdn_point_of_entry", "node through which to join a dynamic CDN"),
    dynamic_cdn("cdn_nodes_resolve_ip", "resolve the names of a dynamic CDN's nodes"),
    dynamic_cdn("cdn_nodes_timeout", "time after which a silent node leaves a dynamic CDN"),
    dynamic_cdn("cdn_role", "role of this node in a dynamic CDN"),
    dynamic_cdn("cdn_groups", "groups of this node in a dynamic CDN"),
];

impl Key {
    /// Finds a key by its exact name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

const fn works(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, default, meaning, effect: Effect::Works }
}

const fn inert(
    name: &'static str,
    default: &'static str,
    meaning: &'static str,
    why: &'static str,
) -> Key {
    Key { name, default, meaning, effect: Effect::NoEffect(why) }
}

const fn dynamic_cdn(name: &'static str, meaning: &'static str) -> Key {
    let why = "there is no dynamic CDN; list the edges in the origin's loadbalancing.xml";
    Key { name, default: "", meaning, effect: Effect::NoEffect(why) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_meanings_are_one_line() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), KEYS.len());
        for key in KEYS {
            assert!(!key.meaning.is_empty() && !key.meaning.contains(['\n', '|']), "{}", key.name);
        }
    }

    #[test]
    fn a_key_is_found_by_its_exact_name() {
        assert_eq!(Key::named("ws.port").map(|key| key.default), Some("8080"));
        assert_eq!(Key::named("WS.port"), None);
    }
}
