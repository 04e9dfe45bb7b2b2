//! What each key takes, refuses and defaults to.

use std::net::SocketAddr;

use super::super::access::{Hook, Rule};
use super::super::balancing::Mode;
use super::super::capacity::Network;
use super::super::keys::{Effect, KEYS};
use super::super::secret::Secret;
use super::*;
use crate::input::Service;

mod authentication;
mod generated;

fn parse(text: &str) -> Result<(Settings, Vec<Warning>), SettingsError> {
    Settings::parse(SettingsFiles { properties: text, balancing: None }, &[])
}

fn settings(text: &str) -> Settings {
    let (settings, warnings) = parse(text).expect(text);
    assert_eq!(warnings, [], "{text}");
    settings
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

fn warned(text: &str) -> Vec<String> {
    parse(text).expect(text).1.into_iter().map(|warning| warning.0).collect()
}

fn set(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn port(number: u16) -> Port {
    Port::Number(NonZeroU16::new(number).expect("not 0"))
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let codecs = ["opus", "alaw", "ulaw", "h264", "vp8", "vp9", "av1"];
    let expected = Settings {
        ip: vec![],
        ip_local: vec![],
        ports: Ports {
            ws: port(8080),
            wss: port(8443),
            http: port(8081),
            https: port(8444),
            page: port(8888),
        },
        media_port_from: 31001,
        media_port_to: 32000,
        shards: None,
        node_id: None,
        balancing: None,
        codecs: codecs.map(str::to_owned).to_vec(),
        keep_alive: Some(KeepAlive { interval: Duration::from_secs(5), probes: 10 }),
        congestion: Congestion { bitrate_min: 30_000, bitrate_max: 10_000_000, twcc: true },
        inbound_rate_interval: None,
        outbound_rate_interval: None,
        periodic_keyframes: false,
        udp_receive_bytes: 4 * 1024 * 1024,
        udp_send_bytes: 4 * 1024 * 1024,
        allow_domains: vec!["*".to_owned()],
        access: Access::default(),
        publisher_grace: Duration::from_secs(5),
        link_grace: Duration::from_secs(90),
        play_wait: Duration::from_secs(1),
        capacity: Capacity {
            viewers: None,
            sessions: None,
            bitrate_out: None,
            cpu_percent: None,
            connections: 1_000,
            connections_per_second: 50,
            joins_per_second: 50,
            streams: 1_000,
            exempt: ["127.0.0.0/8", "::1"].iter().filter_map(|it| Network::parse(it)).collect(),
            drain_wait: Duration::ZERO,
        },
        cdn_require_tls: false,
        cdn_ca: None,
        cdn_auth_keys: None,
        cdn_role_strict: false,
        client_dir: None,
        tls_files: None,
    };
    assert_eq!(settings(""), expected);
    assert_eq!(Settings::default(), expected);
}

/// Every default can be written out, and means the same then.
#[test]
fn a_file_of_all_defaults_is_an_empty_file() {
    let works = KEYS.iter().filter(|key| key.effect == Effect::Works);
    let text: String = works.map(|key| format!("{}={}\n", key.name, key.default)).collect();
    assert_eq!(settings(&text), Settings::default());
}

#[test]
fn every_key_without_effect_draws_one_warning() {
    for key in KEYS {
        if let Effect::NoEffect(why) = key.effect {
            let name = key.name;
            let expected = format!("flashphoner.properties:2: {name}: no effect: {why}");
            assert_eq!(warned(&format!("\n{name}=1\n")), [expected]);
            let (same, warnings) = Settings::parse(
                SettingsFiles { properties: "", balancing: None },
                &set(&[(name, "1")]),
            )
            .expect(name);
            assert_eq!(warnings, [Warning(format!("--set {name}: no effect: {why}"))]);
            assert_eq!(same, Settings::default());
        }
    }
}

#[test]
fn rtmp_off_is_what_happens_anyway() {
    assert_eq!(settings("rtmp.port = OFF"), Settings::default());
    assert!(refused("rtmp.port=x").starts_with("flashphoner.properties:1: rtmp.port: expected a"));
}

#[test]
fn unknown_keys_draw_a_warning_with_a_hint() {
    assert_eq!(
        warned("record_dir=/x\nws.prot=1\nWSS.port=2\n"),
        [
            "flashphoner.properties:1: record_dir: unknown key, ignored",
            "flashphoner.properties:2: ws.prot: unknown key, ignored; did you mean ws.port?",
            "flashphoner.properties:3: WSS.port: unknown key, ignored; did you mean wss.port?",
        ]
    );
}

#[test]
fn keys_that_nobody_would_write_are_quoted() {
    let long = "k".repeat(65);
    assert_eq!(
        warned(&format!("=1\na\\nb=1\n{long}=1")),
        [
            "flashphoner.properties:1: \"\": unknown key, ignored".to_owned(),
            "flashphoner.properties:2: \"a\\nb\": unknown key, ignored".to_owned(),
            format!("flashphoner.properties:3: \"{}\"…: unknown key, ignored", &long[1..]),
        ]
    );
}

/// What operators bring along must start, whatever else it says.
#[test]
fn a_configuration_of_web_call_server_starts() {
    let text = "#server ip
ip                  =203.0.113.7
ip_local            =10.0.0.7
#webrtc ports range
media_port_from        =31001
media_port_to          =32000
codecs=opus,alaw,ulaw,g729,speex16,g722,mpeg4-generic,telephone-event,h264,vp8,flv,mpv
codecs_exclude_sip=mpeg4-generic,flv,mpv
codecs_exclude_streaming=flv,telephone-event
ws.port             =8080
wss.port            =8443
keep_alive.algorithm=HIGH_LEVEL
cdn_enabled=false
";
    let (settings, warnings) = parse(text).expect("nothing is wrong");
    assert_eq!(settings.codecs, ["opus", "alaw", "ulaw", "g722", "h264", "vp8"]);
    let warned: Vec<_> = warnings.iter().filter_map(|w| w.0.split(": ").nth(1)).collect();
    assert_eq!(warned, ["codecs_exclude_sip", "cdn_enabled"]);
}

#[test]
fn the_last_of_two_counts() {
    let (settings, warnings) = parse("shards=x\n\nshards=2\n").expect("the last one is valid");
    assert_eq!(settings.shards, NonZeroU16::new(2));
    let expected = "flashphoner.properties:3: shards: written before, at \
                    flashphoner.properties:1; the last counts";
    assert_eq!(warnings, [Warning(expected.to_owned())]);
}

#[test]
fn overrides_win_over_the_file() {
    let files = SettingsFiles { properties: "ws.port=1\nshards=2", balancing: None };
    let (settings, warnings) =
        Settings::parse(files, &set(&[(" ws.port ", " off "), ("shards", "3"), ("shards", "4")]))
            .expect("valid");
    assert_eq!((settings.ports.ws, settings.shards), (Port::Off, NonZeroU16::new(4)));
    let expected = "--set shards: written before, at --set; the last counts";
    assert_eq!(warnings, [Warning(expected.to_owned())]);

    let error = Settings::parse(files, &set(&[("ws.port", "x")])).expect_err("x is no port");
    assert_eq!((error.file, error.line, error.key.as_deref()), ("--set", 0, Some("ws.port")));
    let expected =
        "--set ws.port: expected a port from 1 to 65535, 0 (pick a free one) or off, found \"x\"";
    assert_eq!(error.to_string(), expected);

    let (_, warnings) = Settings::parse(files, &set(&[("shard", "1")])).expect("valid");
    let expected = "--set shard: unknown key, ignored; did you mean shards?";
    assert_eq!(warnings, [Warning(expected.to_owned())]);
}

/// Every key that works, with a value that is not its default.
const EVERY_KEY: &str = "ip = 192.0.2.1, 2001:db8::1, ::ffff:192.0.2.1
ip_local : 0.0.0.0
ws.port=0
wss.port=off
http.port=1
https.port=65535
page.port=443
media_port_from=40000
media_port_to=40003
shards=4
node.id=origin-1@frankfurt
codecs=opus,vp8,\\
       mpeg4-generic,h264
codecs_exclude_streaming=h264
keep_alive.algorithm=high_level
keep_alive.server_interval=100
keep_alive.probes=1
webrtc_cc_min_bitrate=0
webrtc_cc_max_bitrate=1
webrtc_cc2_twcc=FALSE
inbound_video_rate_stat_send_interval=1
outbound_video_rate_stat_send_interval=3600
incoming_bitrate_stat_send_interval=7
periodic_fir_request=True
rtp_receive_buffer_size=8388608
rtp_send_buffer_size=16777216
allow_domains=*.A.com, !*.evil.com
publisher.grace=0
link.grace=1
play.wait=86400000
cdn_require_tls=true
cdn_ca=/etc/ca.pem
limit.viewers=500
limit.sessions=1000
limit.bitrate_out=900000000
limit.cpu=90
address.connections=20
address.connections_per_second=2
address.joins_per_second=3
address.streams=4
address.exempt=
drain.timeout=600000
client_dir=C:\\\\pages
tls.cert=cert.pem
tls.key=key.pem
";

#[test]
fn every_working_key_reaches_its_field() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let expected = Settings {
        ip: vec![ip("192.0.2.1"), ip("2001:db8::1")],
        ip_local: vec![ip("0.0.0.0")],
        ports: Ports {
            ws: Port::Any,
            wss: Port::Off,
            http: port(1),
            https: port(65535),
            page: port(443),
        },
        media_port_from: 40000,
        media_port_to: 40003,
        shards: NonZeroU16::new(4),
        node_id: Some("origin-1@frankfurt".to_owned()),
        balancing: None,
        codecs: vec!["opus".to_owned(), "vp8".to_owned()],
        keep_alive: Some(KeepAlive { interval: Duration::from_millis(100), probes: 1 }),
        congestion: Congestion { bitrate_min: 0, bitrate_max: 1, twcc: false },
        inbound_rate_interval: Some(Duration::from_secs(1)),
        outbound_rate_interval: Some(Duration::from_secs(3_600)),
        periodic_keyframes: true,
        udp_receive_bytes: 8 * 1024 * 1024,
        udp_send_bytes: 16 * 1024 * 1024,
        allow_domains: vec!["*.a.com".to_owned(), "!*.evil.com".to_owned()],
        publisher_grace: Duration::ZERO,
        link_grace: Duration::from_millis(1),
        play_wait: Duration::from_secs(86_400),
        capacity: Capacity {
            viewers: Some(500),
            sessions: Some(1_000),
            bitrate_out: Some(900_000_000),
            cpu_percent: Some(90),
            connections: 20,
            connections_per_second: 2,
            joins_per_second: 3,
            streams: 4,
            exempt: vec![],
            drain_wait: Duration::from_secs(600),
        },
        cdn_require_tls: true,
        cdn_ca: Some("/etc/ca.pem".into()),
        client_dir: Some("C:\\pages".into()),
        tls_files: Some(("cert.pem".into(), "key.pem".into())),
        ..Settings::default()
    };
    assert_eq!(settings(EVERY_KEY), expected);
}

#[test]
fn the_older_name_of_a_publishers_rate_counts_where_the_newer_one_is_not_written() {
    let (older, newer) =
        ("incoming_bitrate_stat_send_interval=2\n", "inbound_video_rate_stat_send_interval=0\n");
    assert_eq!(settings("").inbound_rate_interval, None);
    assert_eq!(settings(older).inbound_rate_interval, Some(Duration::from_secs(2)));
    assert_eq!(settings(&format!("{newer}{older}")).inbound_rate_interval, None);
}

#[test]
fn every_working_key_of_access_reaches_its_field() {
    let text = "\
auth.publish=Hook
auth.play=jwt
auth.jwt.key=ABCDEF0123456789abcdef0123456789
auth.hook.url=https://[2001:db8::5]:9000/rest/app/
auth.hook.timeout=1
auth.hook.on_error=Allow
auth.hook.ca=hook.pem
admin.token=0123456789-._~aB
";
    let expected = Access {
        publish: Rule::Hook,
        play: Rule::Jwt,
        jwt_keys: Some(TokenKeys::new(b"ABCDEF0123456789abcdef0123456789", None)),
        hook: Some(Hook {
            secure: true,
            host: "2001:db8::5".to_owned(),
            port: 9000,
            path: "/rest/app".to_owned(),
            timeout: Duration::from_millis(1),
            allow_on_error: true,
            ca: Some("hook.pem".into()),
        }),
        admin_token: Some(Secret::new("0123456789-._~aB")),
    };
    assert_eq!(settings(text).access, expected);
}

#[test]
fn values_that_do_not_parse_are_refused() {
    const PORT: &str = "a port from 1 to 65535, 0 (pick a free one) or off";
    const TIME: &str = "a number of milliseconds from 0 to 86400000";
    const FLAG: &str = "true or false";
    const ADDRESSES: &str = "IPv4 or IPv6 addresses with commas between them";
    const HOSTS: &str = "hosts without scheme and port such as *.a.com,!*.evil.com (other than \
                         ASCII in punycode)";
    for (key, value, expected) in [
        ("ws.port", "65536", PORT),
        ("wss.port", "-1", PORT),
        ("http.port", "+80", PORT),
        ("https.port", "on", PORT),
        ("page.port", "", PORT),
        ("rtmp.port", "1935/tcp", PORT),
        ("media_port_from", "65536", "a number from 0 to 65535"),
        ("media_port_to", "off", "a number from 0 to 65535"),
        ("shards", "0", "a number from 1 to 65535"),
        ("node.id", "a b", "1 to 64 ASCII characters without spaces"),
        ("node.id", "ж", "1 to 64 ASCII characters without spaces"),
        ("load_balancing_enabled", "yes", FLAG),
        ("cdn_require_tls", "1", FLAG),
        ("webrtc_cc2_twcc", "", FLAG),
        ("periodic_fir_request", "on", FLAG),
        ("inbound_video_rate_stat_send_interval", "0.5", "a number from 0 to 3600"),
        ("outbound_video_rate_stat_send_interval", "3601", "a number from 0 to 3600"),
        ("incoming_bitrate_stat_send_interval", "on", "a number from 0 to 3600"),
        ("publisher.grace", "5s", TIME),
        ("link.grace", "86400001", TIME),
        ("play.wait", "-1", TIME),
        ("keep_alive.algorithm", "PING", "HIGH_LEVEL or NONE"),
        ("keep_alive.server_interval", "99", "a number of milliseconds from 100 to 86400000"),
        ("keep_alive.probes", "0", "a number from 1 to 1000"),
        ("webrtc_cc_min_bitrate", "1.5", "a number from 0 to 10000000000"),
        ("webrtc_cc_max_bitrate", "0", "a number from 1 to 10000000000"),
        ("rtp_receive_buffer_size", "4M", "a number from 1 to 1073741824"),
        ("rtp_send_buffer_size", "99999999999999999999", "a number from 1 to 1073741824"),
        ("ip", "edge.example.com", ADDRESSES),
        ("ip", "192.0.2.1, 224.0.0.1", ADDRESSES),
        ("ip", "0.0.0.0", "addresses that peers can reach, or no ip at all for all"),
        ("ip_local", "192.0.2.300", ADDRESSES),
        ("allow_domains", "https://a.com", HOSTS),
        ("allow_domains", "a.com:8888", HOSTS),
        ("allow_domains", "!", HOSTS),
        ("allow_domains", "жж", HOSTS),
        ("auth.publish", "closed", "open, jwt or hook"),
        ("auth.play", "no", "open, jwt or hook"),
        ("auth.hook.timeout", "0", "a number of milliseconds from 1 to 86400000"),
        ("auth.hook.on_error", "fail", "refuse or allow"),
        ("cdn_ca", "a\0b", "a path"),
        ("cdn_role_strict", "strict", FLAG),
    ] {
        let error = parse(&format!("# a comment\n{key}={value}")).expect_err(key);
        assert_eq!((error.file, error.line), ("flashphoner.properties", 2), "{key}");
        assert_eq!(
            error.to_string(),
            format!("flashphoner.properties:2: {key}: expected {expected}, found {value:?}")
        );
    }
}

#[test]
fn two_listeners_need_two_ports() {
    let own = |line, key, number, other| {
        format!(
            "flashphoner.properties:{line}: {key}: expected a port of its own, 0 or off: \
             {number} is also {other}"
        )
    };
    assert_eq!(refused("http.port=9\nws.port=9"), own(1, "http.port", 9, "ws.port"));
    assert_eq!(refused("\nws.port=8888"), own(2, "ws.port", 8888, "page.port"));
    assert_eq!(refused("wss.port=8080"), own(1, "wss.port", 8080, "ws.port"));
    settings("ws.port=0\nhttp.port=0\nwss.port=off\npage.port=off");
}

#[test]
fn the_media_ports_hold_all_shards() {
    let from_to = "flashphoner.properties:1: media_port_from: expected media_port_to at or above \
                   media_port_from, found 32000 below 40000";
    assert_eq!(refused("media_port_from=40000"), from_to);
    let to_from = "flashphoner.properties:1: media_port_to: expected media_port_to at or above \
                   media_port_from, found 0 below 31001";
    assert_eq!(refused("media_port_to=0"), to_from);
    let shards = "flashphoner.properties:1: shards: expected at most 2, one for each port from \
                  media_port_from=65534 to media_port_to=65535, found 3";
    assert_eq!(refused("shards=3\nmedia_port_from=65534\nmedia_port_to=65535"), shards);
    settings("shards=2\nmedia_port_from=65534\nmedia_port_to=65535");
    assert_eq!(settings("shards=65535\nmedia_port_from=0").media_port_from, 0);
}

#[test]
fn keep_alive_can_be_switched_off() {
    assert_eq!(settings("keep_alive.algorithm=none").keep_alive, None);
    let expected = "flashphoner.properties:1: keep_alive.algorithm: no effect: HIGH_LEVEL is used \
                    instead";
    assert_eq!(warned("keep_alive.algorithm=INTERNAL"), [expected]);
}

#[test]
fn contradictions_are_refused() {
    assert_eq!(
        refused("webrtc_cc_min_bitrate=20000000"),
        "flashphoner.properties:1: webrtc_cc_min_bitrate: expected webrtc_cc_max_bitrate at or \
         above webrtc_cc_min_bitrate, found 10000000 below 20000000"
    );
    assert_eq!(
        refused("tls.cert=a.pem"),
        "flashphoner.properties:1: tls.cert: expected tls.key beside it"
    );
    assert_eq!(
        refused("tls.key=a.pem"),
        "flashphoner.properties:1: tls.key: expected tls.cert beside it"
    );
    assert_eq!(
        refused(&format!("node.id={}", "x".repeat(65))),
        format!(
            "flashphoner.properties:1: node.id: expected 1 to 64 ASCII characters without spaces, \
             found \"{}\"…",
            "x".repeat(64)
        )
    );
}

#[test]
fn small_socket_buffers_are_raised() {
    let (settings, warnings) = parse("rtp_receive_buffer_size=131072").expect("valid");
    assert_eq!(settings, Settings::default());
    let expected = "flashphoner.properties:1: rtp_receive_buffer_size: 131072 is raised to \
                    4194304: one media socket serves all peers of a shard";
    assert_eq!(warnings, [Warning(expected.to_owned())]);
}

#[test]
fn a_broken_escape_is_refused() {
    assert!(refused("\nnode.id=\\u00").starts_with("flashphoner.properties:2: broken escape"));
}

const EDGES: &str = "<loadbalancer>
  <node id='1'><ip>192.0.2.1</ip><wss>8443</wss></node>
  <node id='2'><ip>192.0.2.2</ip><ws>8080</ws></node>
</loadbalancer>";

fn balanced(properties: &str) -> Result<(Settings, Vec<Warning>), SettingsError> {
    Settings::parse(SettingsFiles { properties, balancing: Some(EDGES) }, &[])
}

#[test]
fn the_edges_are_read_when_wanted() {
    let (settings, warnings) = balanced("load_balancing_enabled=true").expect("valid");
    let balancing = settings.balancing.expect("wanted");
    assert_eq!((balancing.mode, balancing.nodes.len()), (Mode::FewestCalls, 2));
    let expected =
        "loadbalancing.xml:3: node 2 (192.0.2.2) has no <wss>: its link is not encrypted";
    assert_eq!(warnings, [Warning(expected.to_owned())]);
}

#[test]
fn the_file_of_edges_is_ignored_when_not_wanted() {
    for text in [EDGES, "no xml at all"] {
        let files = SettingsFiles { properties: "", balancing: Some(text) };
        assert_eq!(Settings::parse(files, &[]), Ok((Settings::default(), vec![])));
    }
}

#[test]
fn balancing_needs_its_file() {
    let error = parse("load_balancing_enabled=true").expect_err("no file");
    assert_eq!((error.file, error.line), ("loadbalancing.xml", 0));
    assert_eq!(
        error.to_string(),
        "loadbalancing.xml: there is no such file, but load_balancing_enabled=true; expected \
         <loadbalancer> with a <node> for each edge"
    );
}

#[test]
fn tls_can_be_required_of_all_edges() {
    let error = balanced("load_balancing_enabled=true\ncdn_require_tls=true").expect_err("node 2");
    assert_eq!(
        error.to_string(),
        "loadbalancing.xml:3: node 2 (192.0.2.2): cdn_require_tls=true expects <wss>, found none"
    );
}

#[test]
fn a_node_is_not_its_own_edge() {
    let (settings, _) = balanced("load_balancing_enabled=true").expect("valid");
    let listening = |addr: &str| {
        [Listening { service: Service::Wss, addr: addr.parse::<SocketAddr>().expect("valid") }]
    };
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let ours = [address("192.0.2.2")];
    assert_eq!(settings.check_self(&listening("0.0.0.0:8443"), &ours), Ok(()));
    assert_eq!(settings.check_self(&[], &ours), Ok(()));
    let error = settings.check_self(&listening("0.0.0.0:8080"), &ours).expect_err("node 2");
    assert_eq!(
        error.to_string(),
        "loadbalancing.xml:3: node 2 (192.0.2.2, port 8080) is this node itself; expected only \
         other nodes"
    );
    assert_eq!(Settings::default().check_self(&listening("0.0.0.0:8080"), &ours), Ok(()));
}
