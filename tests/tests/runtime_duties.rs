//! What a runtime owes the core and the operator, asked of both: bytes whole and in order, nobody
//! starved, ports honestly taken, and an end in good order.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use distributary_core::config::{Settings, SettingsFiles};
use distributary_core::{Event, Service};
use distributary_tests::http;
use distributary_tests::process::{Runtime, binary};
use distributary_tokio::node::{Plan, Running, StartError, self_signed};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::client::client;
use tungstenite::{Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test once for each runtime, under a name of its own.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod on_mio {
            $(#[test] fn $test() { super::$test(super::Runtime::Mio) })*
        }
        mod on_tokio {
            $(#[test] fn $test() { super::$test(super::Runtime::Tokio) })*
        }
    };
}

on_both! {
    a_page_larger_than_any_buffer_arrives_whole
    a_burst_of_connections_is_served
    a_greedy_connection_starves_nobody
    every_address_of_the_settings_is_served
    a_taken_port_is_named_also_where_shards_share_it
    a_taken_media_port_is_named
    the_ready_line_tells_what_is_on
    a_stop_is_told_and_frees_the_ports
    a_dropped_node_frees_its_ports
    a_check_says_what_is_wrong_and_writes_nothing
    a_signal_ends_the_process_in_good_order
    a_hangup_signal_brings_new_settings_and_refuses_bad_ones
    new_settings_come_over_rest_and_once_they_are_written
    a_certificate_is_replaced_while_sessions_go_on
    connections_are_accepted_again_when_descriptors_are_free
    as_many_descriptors_are_taken_as_the_process_may_have
}

// --- bytes ---

fn a_page_larger_than_any_buffer_arrives_whole(runtime: Runtime) {
    let pages = Folder::new();
    let page: Vec<u8> = (0..24 * 1024 * 1024_u32).map(|n| (n / 7) as u8).collect();
    fs::write(pages.path.join("large.bin"), &page).unwrap();
    let folder = Folder::with(&format!("client_dir={}\nhttp.port=0\n", pages.path.display()));
    let node = folder.start(runtime);

    let mut reader = TcpStream::connect(addr(&node, Service::Http)).unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    reader
        .write_all(b"GET /client2/large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    // Longer than the kernel's buffers last, so that the server has to come back to it.
    thread::sleep(Duration::from_millis(300));
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).unwrap();
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(answer.len() - body, page.len());
    assert!(answer[body..] == page[..], "bytes changed on the way");
}

fn a_burst_of_connections_is_served(runtime: Runtime) {
    let node = start(runtime, "http.port=0\nshards=2\n").unwrap();
    let server = addr(&node, Service::Http);
    let mut connections: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(server).unwrap()).collect();
    for connection in &mut connections {
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection
            .write_all(b"GET /?action=stat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
    }
    for connection in &mut connections {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

fn a_greedy_connection_starves_nobody(runtime: Runtime) {
    let node = start(runtime, "http.port=0\nshards=1\n").unwrap();
    let server = addr(&node, Service::Http);
    let over = Arc::new(AtomicBool::new(false));
    let greedy = TcpStream::connect(server).unwrap();
    let mut asking = greedy.try_clone().unwrap();
    let flood = thread::spawn({
        let over = Arc::clone(&over);
        let requests = b"GET /?action=stat HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
        move || while !over.load(Ordering::Relaxed) && asking.write_all(&requests).is_ok() {}
    });
    let mut answers = greedy.try_clone().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let drain = thread::spawn({
        let served = Arc::clone(&served);
        let mut room = [0; 65_536];
        move || {
            while let Ok(read @ 1..) = answers.read(&mut room) {
                served.fetch_add(read, Ordering::Relaxed);
            }
        }
    });
    let begun = Instant::now();
    while served.load(Ordering::Relaxed) < 100_000 {
        assert!(begun.elapsed() < PATIENCE, "the greedy connection is hardly served at all");
        thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(http::get(server, "/?action=stat").unwrap().status, 200);
        assert!(begun.elapsed() < Duration::from_secs(2), "waited {:?}", begun.elapsed());
    }
    over.store(true, Ordering::Relaxed);
    greedy.shutdown(std::net::Shutdown::Both).unwrap();
    flood.join().unwrap();
    drain.join().unwrap();
}

// --- ports ---

fn every_address_of_the_settings_is_served(runtime: Runtime) {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // This machine has no IPv6.
    }
    let node = start(runtime, "http.port=0\nip_local=127.0.0.1,::1\nshards=2\n").unwrap();
    let listening = node.listening();
    assert_eq!(listening.len(), 2, "{listening:?}");
    assert_eq!(listening[0].addr.port(), listening[1].addr.port());
    for listening in listening {
        assert_eq!(http::get(listening.addr, "/?action=stat").unwrap().status, 200);
    }
}

fn a_taken_port_is_named_also_where_shards_share_it(runtime: Runtime) {
    let first = start(runtime, "http.port=0\nshards=2\n").unwrap();
    let taken = addr(&first, Service::Http).port();
    let error = start(runtime, &format!("http.port={taken}\nshards=2\n")).unwrap_err();
    assert!(matches!(error, StartError::PortTaken { key: "http.port", .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("http.port={taken}")), "{error}");
}

fn a_taken_media_port_is_named(runtime: Runtime) {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let properties = format!("http.port=0\nshards=1\nmedia_port_from={port}\nmedia_port_to=65535");
    let error = start(runtime, &properties).unwrap_err();
    assert!(matches!(error, StartError::PortTaken { key: "media_port_from", .. }), "{error:?}");
}

fn the_ready_line_tells_what_is_on(runtime: Runtime) {
    let node = start(runtime, "http.port=0\nwss.port=0\nshards=2\n").unwrap();
    let line = node.ready_line();
    let (http, wss) = (addr(&node, Service::Http), addr(&node, Service::Wss));
    let [first, second] = node.media() else { panic!("{:?}", node.media()) };
    let expected = format!("ready wss={wss} http={http} media={first},{} node=", second.port());
    let name = line.strip_prefix(&expected).unwrap_or_else(|| panic!("{line}\n{expected}"));
    assert!(!name.is_empty() && !name.contains(' '), "{line}");
    assert!(http.port() != 0 && first.port() != 0 && first != second, "{line}");
}

// --- ends ---

fn a_stop_is_told_and_frees_the_ports(runtime: Runtime) {
    let (events, told) = mpsc::channel();
    let mut plan = plan("http.port=0\nshards=2\n");
    plan.events = Some(events);
    let mut node = run(runtime, plan).unwrap();
    let server = addr(&node, Service::Http);
    let idle = TcpStream::connect(server).unwrap();
    let begun = Instant::now();
    node.stop().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(6), "took {:?}", begun.elapsed());
    let mut drained: Vec<u16> = told
        .try_iter()
        .filter_map(|(shard, event)| (event == Event::Drained).then_some(shard.0))
        .collect();
    drained.sort_unstable();
    assert_eq!(drained, [0, 1]);
    drop(idle);
    assert!(TcpListener::bind(server).is_ok(), "{server} is still taken");
}

fn a_dropped_node_frees_its_ports(runtime: Runtime) {
    let node = start(runtime, "http.port=0\nshards=2\n").unwrap();
    let (server, media) = (addr(&node, Service::Http), node.media()[0]);
    let begun = Instant::now();
    drop(node);
    assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    assert!(TcpListener::bind(server).is_ok(), "{server} is still taken");
    assert!(std::net::UdpSocket::bind(media).is_ok(), "{media} is still taken");
}

// --- the process ---

fn a_check_says_what_is_wrong_and_writes_nothing(runtime: Runtime) {
    let check = |folder: &Folder, more: &[&str]| -> Output {
        let mut command = Command::new(binary(runtime).unwrap());
        command.arg("--check").arg("--config").arg(&folder.path).args(more).output().unwrap()
    };
    let good = Folder::with("http.port=0\nno.such.key=1\n");
    let output = check(&good, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("no.such.key"), "{said}");
    assert_eq!(fs::read_dir(&good.path).unwrap().count(), 1, "a check left a file");

    let output = check(&good, &["--set", "http.port=nowhere"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("http.port") && said.contains("nowhere"), "{said}");

    let output = check(&good, &["--set", "tls.cert=none.pem", "--set", "tls.key=none.pem"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("none.pem"), "{said}");
    assert!(output.stdout.is_empty());
}

fn a_signal_ends_the_process_in_good_order(runtime: Runtime) {
    let folder = Folder::with("http.port=0\nwss.port=0\nshards=1\n");
    let (mut process, _) = Process::start(runtime, &folder, None);
    assert!(folder.path.join("distributary-cert.pem").exists());
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

fn a_hangup_signal_brings_new_settings_and_refuses_bad_ones(runtime: Runtime) {
    let (mut edge, at) = Process::start(runtime, &Folder::with("http.port=0\nshards=1\n"), None);
    let folder = Folder::with("http.port=0\nshards=1\n");
    let (mut process, origin) = Process::start(runtime, &folder, None);
    let balancing = folder.path.join("loadbalancing.xml");
    let enabled = completed("http.port=0\nshards=1\nload_balancing_enabled=true\n");
    let port = |wanted: u16| {
        let began = Instant::now();
        loop {
            let list = http::get(origin, "/?action=server_list").unwrap();
            if list.body.contains(&format!("\"ws\":{wanted}")) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{} in place of {wanted}", list.body);
            thread::sleep(Duration::from_millis(50));
        }
    };
    port(origin.port());

    let node = format!("<node id='1'><ip>127.0.0.1</ip><ws>{}</ws></node>", at.port());
    fs::write(&balancing, format!("<loadbalancer>{node}</loadbalancer>")).unwrap();
    fs::write(folder.path.join("flashphoner.properties"), &enabled).unwrap();
    process.signal("HUP");
    port(at.port());

    fs::write(&balancing, "<loadbalancer>\n<node id='1'/></loadbalancer>").unwrap();
    process.signal("HUP");
    process.says(&["ERROR", "the old ones stay", "loadbalancing.xml:2: node 1: expected <ip>"]);
    port(at.port());

    fs::write(&balancing, "<loadbalancer></loadbalancer>").unwrap();
    process.signal("HUP");
    port(origin.port());
    for process in [&mut process, &mut edge] {
        process.signal("TERM");
        assert_eq!(process.wait(), Some(0));
    }
}

fn new_settings_come_over_rest_and_once_they_are_written(runtime: Runtime) {
    let folder = Folder::with("http.port=0\nshards=2\n");
    let (mut process, node) = Process::start(runtime, &folder, None);
    let write = |settings: &str| {
        let properties = completed(&format!("http.port=0\nshards=2\n{settings}\n"));
        fs::write(folder.path.join("flashphoner.properties"), properties).unwrap();
    };
    let reload = || {
        let request = format!(
            "POST /rest-api/cdn/reload_settings HTTP/1.1\r\nHost: {node}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        http::exchange(node, request.as_bytes()).unwrap()
    };
    // Pages of one origin only may read what is answered, or those of all.
    let shows = |expected: &str| {
        let stat = http::get(node, "/?action=stat").unwrap();
        stat.head.to_lowercase().contains(expected)
    };
    // The shard that was asked answers once it has them itself, maybe before the other one has.
    let comes = |expected: &str| {
        let began = Instant::now();
        while !(0..8).all(|_| shows(expected)) {
            assert!(began.elapsed() < PATIENCE, "{expected} does not come");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let (all, some) = ("access-control-allow-origin: *", "vary: origin");
    assert!(shows(all));

    write("allow_domains=example.com");
    let answer = reload();
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"settings":"NEW"}"#));
    comes(some);

    write("allow_domains=\nplay.wait=soon");
    let answer = reload();
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.body.contains("play.wait"), "{answer:?}");
    process.says(&["ERROR", "the old ones stay", "play.wait: ", "\"soon\""]);
    assert!((0..8).all(|_| shows(some)));

    // The file alone does it, if somebody mends it.
    write("");
    comes(all);
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

fn a_certificate_is_replaced_while_sessions_go_on(runtime: Runtime) {
    let folder = Folder::with(
        "http.port=0\nwss.port=0\nshards=2\ntls.cert=cert.pem\ntls.key=key.pem\n\
         keep_alive.algorithm=NONE\n",
    );
    let made = || generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (first, second) = (made(), made());
    let write = |name: &str, text: &str| fs::write(folder.path.join(name), text).unwrap();
    write("cert.pem", &first.cert.pem());
    write("key.pem", &first.signing_key.serialize_pem());
    let (mut process, _) = Process::start(runtime, &folder, None);
    let server = process.addr("wss");
    let both = [&first, &second];
    // Either shard may be the one that answers.
    let shows = |which: usize| (0..8).all(|_| shown(&connect(server, both), both) == which);
    assert!(shows(0));
    let (mut session, _) = client("ws://localhost/", connect(server, both)).unwrap();
    ask(&mut session, r#"{"message":"connection","data":[{}]}"#, "getUserData");

    let whole = second.cert.pem();
    write("cert.pem", &whole[..whole.len() / 2]);
    process.signal("HUP");
    process.says(&["ERROR", "the old ones stay", "cert.pem", "see tls.cert and tls.key"]);
    assert!(shows(0));
    ask(&mut session, PING, "pong");

    write("key.pem", &second.signing_key.serialize_pem());
    write("cert.pem", &whole);
    let began = Instant::now();
    while !shows(1) {
        assert!(began.elapsed() < PATIENCE, "it still shows the first one");
        thread::sleep(Duration::from_millis(50));
    }
    ask(&mut session, PING, "pong");
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

fn connections_are_accepted_again_when_descriptors_are_free(runtime: Runtime) {
    let folder = Folder::with("http.port=0\nshards=1\n");
    let (mut process, server) = Process::start(runtime, &folder, Some("-n 64"));
    let mut connections: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(server).unwrap()).collect();
    let mut last = connections.pop().unwrap();
    thread::sleep(Duration::from_millis(300));
    drop(connections);
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    last.write_all(b"GET /?action=stat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

fn as_many_descriptors_are_taken_as_the_process_may_have(runtime: Runtime) {
    let folder = Folder::with("http.port=0\nshards=1\n");
    let (process, server) = Process::start(runtime, &folder, Some("-Sn 64"));
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.child.id())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let files: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(files[0], files[1], "soft and hard");
    let connections: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(server).unwrap()).collect();
    assert_eq!(http::get(server, "/?action=stat").unwrap().status, 200);
    drop(connections);
}

// --- pages over TLS ---

const PING: &str = r#"{"message":"ping","data":[]}"#;

type Line = StreamOwned<ClientConnection, TcpStream>;

/// Connects, and takes any of these certificates.
fn connect(server: SocketAddr, certificates: [&CertifiedKey<KeyPair>; 2]) -> Line {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.map(|it| it.cert.der().clone()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    let name = "localhost".try_into().unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    session.complete_io(&mut socket).unwrap();
    StreamOwned::new(session, socket)
}

/// Which of them it was.
fn shown(line: &Line, certificates: [&CertifiedKey<KeyPair>; 2]) -> usize {
    let shown = &line.conn.peer_certificates().unwrap()[0];
    certificates.iter().position(|it| it.cert.der() == shown).unwrap()
}

/// Says something in a session, and waits for the answer.
fn ask(session: &mut WebSocket<Line>, text: &str, answer: &str) {
    session.send(Message::text(text)).unwrap();
    while !session.read().unwrap().to_text().unwrap().contains(answer) {}
}

// --- nodes and processes ---

/// Everything off and on free ports but for what a test sets: the last line of a key counts.
const BASE: [(&str, &str); 9] = [
    ("ip", "127.0.0.1"),
    ("ip_local", "127.0.0.1"),
    ("ws.port", "off"),
    ("wss.port", "off"),
    ("http.port", "off"),
    ("https.port", "off"),
    ("page.port", "off"),
    ("media_port_from", "0"),
    ("media_port_to", "65535"),
];

/// `properties` over the base.
fn completed(properties: &str) -> String {
    let set = |key: &str| properties.lines().any(|line| line.split('=').next() == Some(key));
    let base = BASE.iter().filter(|(key, _)| !set(key));
    base.map(|(key, value)| format!("{key}={value}\n")).chain([properties.to_owned()]).collect()
}

fn plan(properties: &str) -> Plan {
    let files = SettingsFiles { properties: &completed(properties), balancing: None };
    let (settings, _) = Settings::parse(files, &[]).unwrap();
    Plan::new(settings, self_signed().unwrap()).unwrap()
}

fn run(runtime: Runtime, plan: Plan) -> Result<Running, StartError> {
    match runtime {
        Runtime::Mio => distributary_mio::Server::start(plan).map(Running::from),
        Runtime::Tokio => distributary_tokio::Server::start(plan).map(Running::from),
    }
}

fn start(runtime: Runtime, properties: &str) -> Result<Running, StartError> {
    run(runtime, plan(properties))
}

fn addr(node: &Running, service: Service) -> SocketAddr {
    node.listening().iter().find(|it| it.service == service).expect("the listener is on").addr
}

/// A folder that goes with this value.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("distributary-duties-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    fn with(properties: &str) -> Self {
        let folder = Self::new();
        fs::write(folder.path.join("flashphoner.properties"), completed(properties)).unwrap();
        folder
    }

    fn start(&self, runtime: Runtime) -> Running {
        let folder = distributary_tokio::node::Folder::read(Path::new(&self.path), &[]).unwrap();
        run(runtime, folder.plan().unwrap()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A server process; it ends with this value.
struct Process {
    child: Child,
    log: PathBuf,
    /// The line that says where it listens.
    ready: String,
}

impl Process {
    /// Starts one, within this limit of `ulimit`'s, and answers with its `http` address.
    fn start(runtime: Runtime, folder: &Folder, limit: Option<&str>) -> (Self, SocketAddr) {
        let limit = limit.map_or_else(String::new, |limit| format!("ulimit {limit}; "));
        let log = folder.path.join("log");
        let mut child = Command::new("sh")
            .args(["-c", &format!("{limit}exec \"$0\" --config \"$1\"")])
            .arg(binary(runtime).unwrap())
            .arg(&folder.path)
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        let process = Self { child, log, ready: String::from_utf8(line).unwrap() };
        let http = process.addr("http");
        (process, http)
    }

    /// The address of a listener.
    fn addr(&self, name: &str) -> SocketAddr {
        let field = |word: &str| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        let found = self.ready.split(' ').find_map(field);
        found.unwrap_or_else(|| panic!("{:?}", self.ready)).parse().unwrap()
    }

    /// Waits until one line of its log has all these words.
    fn says(&self, words: &[&str]) {
        let began = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log).unwrap();
            if log.lines().any(|line| words.iter().all(|word| line.contains(word))) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{words:?} are not in\n{log}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Its exit code; `None` if it did not end in time.
    fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
