//! Where the search begins: what real far sides would say, as the bytes of a target.

use crate::{offers, sdp};

/// A target, the name of a seed in its corpus, and the bytes.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// The seeds that are made of messages in this repository.
pub fn seeds() -> Vec<Seed> {
    [http(), websocket(), descriptions(), tls(), media(), shards(), worlds(), tokens()].concat()
}

fn http() -> Vec<Seed> {
    let heads = [
        ("page", "GET /client2/ HTTP/1.1\r\nHost: n\r\nIf-None-Match: \"x\"\r\n\r\n"),
        ("head", "HEAD / HTTP/1.1\r\nHost: n\r\n\r\nGET /nothing HTTP/1.1\r\nHost: n\r\n\r\n"),
        (
            "balancer",
            "GET /?action=server_list&streamName=a%20b&callback=f HTTP/1.1\r\n\
             Host: n\r\n\r\n",
        ),
        ("statistics", "GET /?action=stat HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        (
            "bodies",
            "POST /a HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabc\
             POST /b HTTP/1.1\r\nHost: n\r\nExpect: 100-continue\r\n\
             Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nT: u\r\n\r\n",
        ),
        (
            "upgrade",
            "GET /ws HTTP/1.1\r\nHost: n\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: websocket\r\nOrigin: null\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\u{8}\u{0}",
        ),
        (
            "embed",
            "GET /embed_player?urlServer=wss://n&streamName=s HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        ),
        (
            "options",
            "OPTIONS * HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\nPUT / HTTP/2.0\r\n\r\n",
        ),
    ];
    heads.map(|(name, head)| ("http", name, [&[3, 7], head.as_bytes()].concat())).to_vec()
}

fn tokens() -> Vec<Seed> {
    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
    let tokens = [
        ("plays", 6, HEADER, r#"{"exp":1767229200,"role":"play","streams":["a","cam-*"]}"#),
        ("publishes", 0, HEADER, r#"{"exp":1767229200.5,"nbf":1767225600,"iat":null}"#),
        ("both", 12, HEADER, r#"{"exp":1767225545,"role":["play","publish"]}"#),
        ("expired", 8, HEADER, r#"{"exp":1767225540}"#),
        ("early", 8, HEADER, r#"{"exp":1767229200,"nbf":1767225700}"#),
        ("endless", 8, HEADER, r#"{"role":"both"}"#),
        ("another-key", 9, HEADER, r#"{"exp":1767229200}"#),
        ("no-algorithm", 8, r#"{"alg":"none"}"#, r#"{"exp":1767229200}"#),
        ("critical", 8, r#"{"alg":"HS256","crit":["exp"]}"#, r#"{"exp":1767229200}"#),
    ];
    let seed = |how: u8, header: &str, claims: &str| {
        [&[how], &counted(header.as_bytes())[..], claims.as_bytes()].concat()
    };
    tokens.map(|(name, how, header, claims)| ("token", name, seed(how, header, claims))).to_vec()
}

/// A frame of the target `websocket`.
fn frame(first: u8, how: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, how], &counted(payload)[..]].concat()
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a seed is short");
    [&length.to_be_bytes(), bytes].concat()
}

fn websocket() -> Vec<Seed> {
    let call = offers::publish("m", "n", false);
    let seeds: [(&str, Vec<Vec<u8>>); 6] = [
        ("session", vec![frame(0x81, 8, b""), frame(0x81, 0, br#"{"message":"pong","data":[]}"#)]),
        ("call", vec![frame(0x81, 8, b""), frame(0x81, 1, call.as_bytes())]),
        (
            "fragments",
            vec![
                frame(1, 0, b"{\"mess"),
                frame(0x89, 0, b"ping"),
                frame(0, 0, b"age"),
                frame(0x80, 2, b""),
            ],
        ),
        (
            "goodbye",
            vec![frame(0x81, 8, b""), frame(0x88, 0, b"\x03\xe8bye"), frame(0x81, 0, b"more")],
        ),
        ("binary", vec![frame(0x82, 1, &[0; 300]), frame(0x8a, 0, b"pong"), frame(0x89, 0, b"")]),
        ("wrong", vec![frame(0x81, 4, b"bare"), frame(0xf3, 0, b"?"), frame(0x81, 3, b"long")]),
    ];
    seeds.map(|(name, frames)| ("websocket", name, frames.concat())).to_vec()
}

fn descriptions() -> Vec<Seed> {
    let (_, _, pushed) = sdp::pushed();
    let pushed =
        pushed.get("sdp").and_then(|sdp| sdp.as_str()).expect("an offer has SDP").to_owned();
    let of = |role: u8, sdp: &str| [&[role], sdp.as_bytes()].concat();
    vec![
        ("sdp", "publish-sound", of(0, offers::offer(false, true))),
        ("sdp", "publish-both", of(0, offers::offer(true, true))),
        ("sdp", "publish-pushed", of(0, &pushed)),
        ("sdp", "play-sound", of(1, offers::offer(false, false))),
        ("sdp", "play-both", of(1, offers::offer(true, false))),
        ("sdp", "answer", of(2, &sdp::answered(&pushed))),
    ]
}

fn tls() -> Vec<Seed> {
    let get = counted(b"GET /?action=stat HTTP/1.1\r\nHost: n\r\n\r\n");
    let asks = [&[0, 0, 6], &get[..]].concat();
    let step = |steps: &[&[u8]]| steps.concat();
    vec![
        ("tls", "asks", step(&[&[0], &asks, &[9, 0]])),
        ("tls", "asks-tls12", step(&[&[1], &asks, &[0, 9, 0]])),
        ("tls", "pieces", step(&[&[0], &[1, 5, 1, 200, 0, 1, 30], &asks])),
        ("tls", "bent-hello", step(&[&[0], &[2, 0, 20, 1], &asks])),
        ("tls", "bent-finished", step(&[&[1], &[0, 2, 0, 90, 8, 0], &asks])),
        ("tls", "twice", step(&[&[0], &[0, 3, 0], &asks])),
        ("tls", "again", step(&[&[0], &asks, &[10], &asks, &[8, 0x7f, 0xff]])),
        ("tls", "no-tls", step(&[&[0], &[5], &get])),
        (
            "tls",
            "records",
            step(&[&[1], &[7, 1, 0, 2, 1, 0], &[7, 3, 0, 1, 9, 7, 2, 0, 4, 1, 0, 0, 0]]),
        ),
    ]
}

fn media() -> Vec<Seed> {
    let rtp = |track: u8, first: u8, body: &[u8]| {
        [&[1, track, 9, 33, first, 0x80], &counted(body)[..]].concat()
    };
    let rtcp = |op: u8, kind: u8, format: u8, track: u8, body: &[u8]| {
        [&[op, kind - 200, format, track], &counted(body)[..]].concat()
    };
    let vp8 = [0x90, 0x80, 0x80, 1, 0x10, 2, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0, 7, 7, 7];
    let idr = [0x78, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 2, 0x68, 0xce, 0, 2, 0x65, 1];
    let extensions = [0xbe, 0xde, 0, 2, 0x10, 0x85, 0x22, 1, 2, 3, 0x40, 0x30, 0x7c, 1, 2, 3];
    let nack = [0, 0, 0xff, 0xff, 0, 9, 0, 3];
    let twcc = [0, 1, 0, 2, 0, 0, 1, 0, 0x20, 2, 4, 4];
    let flat = |steps: &[Vec<u8>]| steps.concat();
    let wait = vec![7, 40];
    vec![
        ("media", "vp8", flat(&[vec![0], rtp(0, 0, &vp8), rtp(1, 0, &[0x7c, 1]), wait.clone()])),
        ("media", "h264", flat(&[vec![1], rtp(0, 0, &idr), rtp(0, 0, &[0x61, 9]), wait.clone()])),
        (
            "media",
            "extensions",
            flat(&[vec![0], rtp(1, 0x10, &extensions), rtp(0, 0x20, &[1, 2, 2])]),
        ),
        (
            "media",
            "feedback",
            flat(&[
                vec![0],
                rtp(0, 0, &vp8),
                rtcp(5, 206, 1, 0, &[]),
                rtcp(5, 205, 1, 0, &nack),
                rtcp(5, 205, 15, 1, &twcc),
                rtcp(5, 206, 15, 0, b"REMB\x01\x0a\xff\xff\0\0\0\x01"),
                rtcp(5, 206, 4, 0, &[0, 0, 0, 1, 1, 0, 0, 0]),
                wait.clone(),
            ]),
        ),
        (
            "media",
            "reports",
            flat(&[
                vec![1],
                rtcp(6, 200, 1, 0, &[7; 40]),
                rtcp(5, 201, 1, 1, &[1; 24]),
                rtcp(6, 202, 1, 0, &[1, 3, b'a', b'b', b'c', 0, 0, 0]),
                rtcp(6, 203, 1, 0, &[]),
                rtcp(5, 207, 0, 0, &[4, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]),
                wait,
            ]),
        ),
        ("media", "arrivals", arrivals()),
        (
            "media",
            "raw",
            [&[0, 0], &counted(&[0x90; 40])[..], &[3], &counted(&[0x81, 200, 0, 9])].concat(),
        ),
    ]
}

/// Reports on when packets came, in every kind of chunk, with a time that runs back.
fn arrivals() -> Vec<u8> {
    let one_bit = [0, 0, 0, 14, 0, 0, 2, 0, 0xaa, 0xaa, 1, 1, 9, 9, 0, 0, 0, 1, 0, 0];
    let two_bits = [0, 9, 0, 7, 0, 0, 3, 1, 0xd8, 0x18, 1, 0xff, 0xf0, 2, 0, 0, 0, 0];
    let run = [0, 20, 0, 9, 0, 0, 4, 2, 0, 3, 0x40, 6, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6];
    let report = |body: &[u8]| [&[5, 5, 15, 1], &counted(body)[..], &[7, 40]].concat();
    let reports = [&one_bit[..], &two_bits, &one_bit, &run].map(report);
    [vec![0], reports.concat()].concat()
}

fn shards() -> Vec<Seed> {
    // A session at connection `n`; posts are delivered before and behind it.
    let session = |shard: u8, n: u8| vec![0, shard, 0, 2, n, 3, n, 8, 0, 8, 0];
    let ask = |n: u8, which: u8| vec![5, n, which, 8, 0, 8, 0, 8, 0, 8, 0];
    let time = |ms: u16| [&[14, 0], &ms.to_be_bytes()[..]].concat();
    let stun =
        counted(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let datagram = [&[18, 0, 1, 0, 0], &stun[..]].concat();
    let flat = |steps: &[Vec<u8>]| steps.concat();
    let two = flat(&[session(1, 0), session(0, 1), ask(0, 1), ask(1, 3), time(2_000)]);
    vec![
        (
            "shard",
            "call",
            flat(&[vec![0], session(0, 0), ask(0, 0), ask(0, 2), datagram.clone(), time(500)]),
        ),
        ("shard", "shards", flat(&[vec![1], two.clone(), ask(0, 4), ask(1, 5), vec![6, 0, 1]])),
        (
            "shard",
            "link",
            flat(&[
                vec![0x80],
                vec![8, 0, 8, 0, 12, 0, 12, 0],
                session(0, 1),
                ask(1, 0),
                time(9_000),
            ]),
        ),
        ("shard", "drain", flat(&[vec![2], two.clone(), vec![17, 0, 0], time(7_000)])),
        (
            "shard",
            "reload",
            flat(&[vec![0x81], two.clone(), vec![17, 0, 1, 8, 0, 9, 0], time(3_000)]),
        ),
        (
            "shard",
            "slow",
            flat(&[vec![0], session(0, 0), vec![7, 0, 0], ask(0, 1), ask(0, 3), vec![7, 0, 1]]),
        ),
        (
            "shard",
            "unheard-of",
            flat(&[
                vec![1],
                vec![19, 0, 1, 20, 1, 1, 21, 0, 1, 1, 22, 1, 1, 23, 0, 1],
                two,
                vec![15, 0, 9, 9, 16, 0, 9, 9],
            ]),
        ),
    ]
}

/// Steps of three bytes: what happens, how long after the step before, and to whom.
fn worlds() -> Vec<Seed> {
    let seeds: [(&str, &[u8]); 8] = [
        ("nothing", &[0]),
        ("weather", &[1, 0, 10, 1, 0, 100, 2, 0, 100, 3]),
        ("crashes", &[2, 1, 10, 1, 1, 200, 2, 2, 200, 3]),
        ("clocks", &[3, 3, 10, 1, 4, 100, 2, 3, 200, 4]),
        ("links", &[4, 5, 10, 1, 6, 100, 2, 13, 10, 3, 6, 100, 4]),
        ("people", &[5, 7, 10, 1, 8, 50, 2, 9, 50, 3, 10, 50, 4, 11, 50, 5, 12, 50, 6]),
        ("shards", &[6, 14, 10, 1, 15, 10, 2, 16, 10, 3, 17, 10, 4]),
        ("wishes", &[7, 18, 10, 1, 19, 10, 2, 18, 10, 3, 19, 10, 4]),
    ];
    seeds.map(|(name, bytes)| ("world", name, bytes.to_vec())).to_vec()
}
