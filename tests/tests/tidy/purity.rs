//! Who asks the machine, and who knows protocols.

use std::fs;

use crate::code::{code_of, contains_path, uses, without_unit_tests, words};
use crate::none;
use crate::source::{Source, at, root, sources};

/// What the state machine must be told instead of asking for it.
const AMBIENT: [&str; 30] = [
    "Instant::now",
    "SystemTime::now",
    "Utc::now",
    "Local::now",
    ".elapsed()",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "thread::spawn",
    "thread::sleep",
    "available_parallelism",
    "io::stdin",
    "to_socket_addrs",
    "fastrand::",
    "thread_local!",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "OsRng",
    "SystemRandom",
    "RandomState",
    "getrandom",
    "rand::rng",
    "rand::random",
    "rand::fill",
    "thread_rng",
    "tokio::",
    "mio::",
];

/// What is needed all the same, and why it tells core nothing.
const NEEDED: [(&str, &str, &str); 1] = [(
    "core/src/media/handshake.rs",
    "thread_local!",
    "hands a value down one call that goes through str0m, and is empty before and after",
)];

/// Crates that do I/O.
const IO_CRATES: [&str; 4] = ["mio", "quinn-udp", "socket2", "tokio"];

/// Where a protocol is named all the same: what a node is set up with has the names of what it is
/// for. `main.rs` may name any.
const NAMED: [(&str, &[&str], &str); 7] = [
    ("bind.rs", &["dtls", "http", "tls"], "ports and certificates, each for its protocol"),
    ("certificate.rs", &["tls"], "the certificate that TLS is set up with"),
    ("command_line.rs", &["json"], "a format of the log"),
    ("demo.rs", &["http", "tls"], "addresses to open, settings of two nodes"),
    ("folder.rs", &["tls"], "names of files"),
    ("plan.rs", &["tls"], "the certificate that TLS is set up with"),
    ("running.rs", &["tls"], "the certificate is taken in anew"),
];
const NAMED_IN: &str = "runtime-tokio/src/node/";

/// Names of protocols; what moves bytes needs none of them.
const PROTOCOLS: [&str; 13] = [
    "dtls",
    "http",
    "ice",
    "json",
    "rtcp",
    "rtmp",
    "rtp",
    "sdp",
    "srtp",
    "stun",
    "tls",
    "webrtc",
    "websocket",
];

#[test]
fn core_asks_nothing_of_the_machine() {
    none(sources("core/src").iter().flat_map(ambient_words));
}

#[test]
fn core_depends_on_no_crate_that_does_io() {
    let manifest = fs::read_to_string(root().join("core/Cargo.toml")).expect("core has a manifest");
    none(io_dependencies(&manifest));
}

#[test]
fn runtimes_know_no_protocol_but_to_set_a_node_up() {
    let runtimes = ["runtime-mio/src", "runtime-tokio/src"].map(sources).concat();
    none(runtimes.iter().flat_map(protocol_words));
    none(idle_exceptions(&runtimes));
}

fn ambient_words(source: &Source) -> Vec<String> {
    let grouped = uses(&without_unit_tests(&code_of(&source.text)));
    let mut number = 0;
    source.complain(|line| {
        let grouped = grouped.iter().filter(|(at, path)| *at == number && !line.contains(path));
        let named: Vec<&str> = grouped.map(|(_, path)| path.as_str()).chain([line]).collect();
        number += 1;
        let asks = |word: &&&str| named.iter().any(|name| contains_path(name, word));
        let is_needed = |word: &&&str| {
            NEEDED.iter().any(|(path, needed, _)| *path == source.path && needed == *word)
        };
        let found = AMBIENT.iter().filter(|word| !is_needed(word)).find(asks)?;
        Some(format!("{found}: core is told such things, it does not ask"))
    })
}

fn io_dependencies(manifest: &str) -> Vec<String> {
    let named = |line: &str, name: &str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
            || line.contains(&format!("dependencies.{name}]"))
    };
    IO_CRATES
        .iter()
        .filter(|name| manifest.lines().any(|line| named(line, name)))
        .map(|name| format!("core/Cargo.toml: {name} does I/O, which is for the runtimes"))
        .collect()
}

fn protocol_words(source: &Source) -> Vec<String> {
    if source.path.ends_with("/main.rs") {
        return Vec::new();
    }
    let file = source.path.strip_prefix(NAMED_IN);
    let named = NAMED.iter().find(|(name, ..)| Some(*name) == file);
    let named = named.map_or(&[][..], |(_, words, _)| words);
    source.complain(|line| {
        let words = words(line);
        let mut found = PROTOCOLS.iter().filter(|name| words.contains(**name));
        let found = found.find(|name| !named.contains(name))?;
        Some(format!("{found}: runtimes move bytes and leave protocols to core"))
    })
}

/// Exceptions that nothing needs any more.
fn idle_exceptions(sources: &[Source]) -> Vec<String> {
    let needs = |file: &str, word: &str| {
        let source = sources.iter().find(|source| source.path == format!("{NAMED_IN}{file}"));
        source.is_some_and(|source| {
            !source.complain(|line| words(line).contains(word).then(String::new)).is_empty()
        })
    };
    let exceptions = NAMED.iter().flat_map(|(file, words, _)| words.iter().map(move |w| (file, w)));
    let idle = exceptions.filter(|(file, word)| !needs(file, word));
    idle.map(|(file, word)| format!("{NAMED_IN}{file}: {word} need not be excepted")).collect()
}

#[test]
fn a_clock_in_core_is_found_but_not_in_a_comment_a_string_or_a_test() {
    let clock = at("core/src/a.rs", "fn f() {\n    let now = std::time::Instant::now();\n}\n");
    let found = "core/src/a.rs:2: Instant::now: core is told such things, it does not ask";
    assert_eq!(ambient_words(&clock), [found]);
    for fine in [
        "// Instant::now\n",
        "/* a\nUdpSocket */\n",
        "let why = \"no \\\" Instant::now\";\n",
        "let raw = r#\"std::fs \" \"#;\n",
        "let quote = '\"'; let also = b'\\''; // std::fs\n",
        "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n",
        "#[cfg(test)]\n#[expect(\n    dead_code\n)]\nmod tests {\n    use std::fs;\n}\n",
        "use str0m::fastmio::x;\n",
    ] {
        assert_eq!(ambient_words(&at("core/src/a.rs", fine)), [""; 0], "{fine}");
    }
    assert!(ambient_words(&at("core/src/config/tests.rs", "use std::fs;\n")).is_empty());
    let after_declaration = at("core/src/a.rs", "#[cfg(test)]\nmod tests;\nuse std::fs;\n");
    assert_eq!(ambient_words(&after_declaration).len(), 1);
    let grouped = at("core/src/a.rs", "use std::{\n    fmt, thread,\n    fs::read,\n};\n");
    assert_eq!(ambient_words(&grouped).len(), 1);
    let after_lifetime = at("core/src/a.rs", "fn f<'a>(x: &'a str) { std::fs::read(x); }\n");
    assert_eq!(ambient_words(&after_lifetime).len(), 1);
}

#[test]
fn an_io_crate_in_core_is_found() {
    let refused = ["mio.workspace = true", "tokio = \"1\"", "[dependencies.socket2]"];
    for line in refused {
        assert_eq!(io_dependencies(&format!("[dependencies]\n{line}\n")).len(), 1, "{line}");
    }
    assert!(io_dependencies("[dependencies]\nmio-like = \"1\"\n").is_empty());
}

#[test]
fn a_protocol_in_a_runtime_is_found() {
    for code in ["fn read_rtp() {}", "struct RtpHeader;", "use a::WebSocket;", "mod sdp;"] {
        assert_eq!(protocol_words(&at("runtime-mio/src/tcp.rs", code)).len(), 1, "{code}");
    }
    for fine in ["// WebSocket", "struct Device;", "fn notice() {}", "fn sort_path() {}"] {
        assert_eq!(protocol_words(&at("runtime-mio/src/tcp.rs", fine)), [""; 0], "{fine}");
    }
    let setting_up = |file: &str, code| protocol_words(&at(&format!("{NAMED_IN}{file}"), code));
    assert_eq!(setting_up("bind.rs", "dtls();"), [""; 0]);
    assert_eq!(setting_up("bind.rs", "dtls(sdp);").len(), 1);
    assert_eq!(setting_up("interfaces.rs", "dtls();").len(), 1);
    assert_eq!(protocol_words(&at("runtime-mio/src/main.rs", "rtp();")), [""; 0]);
    let unused = idle_exceptions(&[at(&format!("{NAMED_IN}plan.rs"), "fn plan() {} // tls")]);
    assert!(unused.contains(&format!("{NAMED_IN}plan.rs: tls need not be excepted")));
}
