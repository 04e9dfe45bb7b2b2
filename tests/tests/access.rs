//! Who may publish and play, over loopback on both runtimes: by token, or as a backend says; and
//! what of all that must not be shown is not.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use distributary_tests::browser::Shape;
use distributary_tests::client::Pages;
use distributary_tests::process::{Runtime, Server, binary};
use distributary_tests::token::{self, KEY};
use distributary_tests::world::Party;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
const ADMIN: &str = "4f1c9a7d20b84e0e";

#[test]
fn tokens_decide_on_mio() {
    tokens_decide(Runtime::Mio);
}

#[test]
fn tokens_decide_on_tokio() {
    tokens_decide(Runtime::Tokio);
}

#[test]
fn a_backend_decides_on_mio() {
    a_backend_decides(Runtime::Mio, false);
}

#[test]
fn a_backend_decides_on_tokio() {
    a_backend_decides(Runtime::Tokio, false);
}

#[test]
fn a_backend_decides_over_tls_on_mio() {
    a_backend_decides(Runtime::Mio, true);
}

#[test]
fn a_backend_decides_over_tls_on_tokio() {
    a_backend_decides(Runtime::Tokio, true);
}

#[test]
fn a_check_shows_no_secret() {
    for runtime in [Runtime::Mio, Runtime::Tokio] {
        for (properties, code) in [
            (format!("auth.play=jwt\nauth.jwt.key={KEY}\nadmin.token={ADMIN}\n"), 0),
            (format!("auth.play=jwt\nauth.jwt.key={KEY} {KEY}\n"), 1),
            (format!("auth.play=jwt\nauth.jwt.key={KEY}\nadmin.token={ADMIN}+\n"), 1),
        ] {
            let folder = std::env::temp_dir();
            let folder = folder.join(format!("distributary-access-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("flashphoner.properties"), &properties).unwrap();
            let mut check = Command::new(binary(runtime).unwrap());
            let check = check.arg("--check").arg("--config").arg(&folder).env("RUST_LOG", "trace");
            let output = check.output().unwrap();
            let said =
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            fs::remove_dir_all(&folder).unwrap();
            assert_eq!(output.status.code(), Some(code), "{said}");
            assert!(!said.contains(KEY) && !said.contains(ADMIN), "{said}");
        }
    }
}

/// What a page shows, and where.
enum Shown<'a> {
    Nothing,
    Stream(&'a str),
    Connection(&'a str),
    Url(&'a str),
}

fn open(pages: &mut Pages, server: &Server, shown: &Shown<'_>) -> usize {
    let path = if let Shown::Url(token) = shown { format!("/?token={token}") } else { "/".into() };
    let page = pages.open_at(server.addr("ws"), &path).unwrap();
    match shown {
        Shown::Stream(token) => pages.browser(page).token = Some((*token).to_owned()),
        Shown::Connection(token) => {
            pages.browser(page).session_token = Some((*token).to_owned());
        }
        Shown::Nothing | Shown::Url(_) => {}
    }
    page
}

fn publish(pages: &mut Pages, server: &Server, name: &str, shown: &Shown<'_>) -> Party {
    let page = open(pages, server, shown);
    pages.publish(page, name, Shape::audio_video()).unwrap()
}

fn play(pages: &mut Pages, server: &Server, name: &str, shown: &Shown<'_>) -> Party {
    let page = open(pages, server, shown);
    pages.play(page, name, Shape::audio_video()).unwrap()
}

fn reaches(pages: &mut Pages, party: &Party, status: &str, info: &str) {
    let there = pages.run_until(SOON, |pages| pages.seen(party).status() == status);
    let seen = pages.seen(party);
    assert!(there, "{status} never came: {:?} {:?}", seen.statuses, seen.faults);
    assert_eq!(seen.info(), info);
}

fn watches(pages: &mut Pages, viewer: &Party) {
    let before = pages.seen(viewer).video;
    let seen = pages.run_until(SOON, |pages| pages.seen(viewer).video > before + 50);
    assert!(seen, "{:?}", pages.seen(viewer));
}

fn tokens_decide(runtime: Runtime) {
    let rules = format!("auth.publish=jwt\nauth.play=jwt\nauth.jwt.key={KEY}\nadmin.token={ADMIN}");
    let server = Server::start_telling_all(runtime, &rules).unwrap();
    let mut pages = Pages::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let sign =
        |seconds: u64, claims: Value| token::sign(KEY, now + Duration::from_secs(seconds), claims);
    let (publishes, plays) =
        (sign(600, json!({ "role": "publish" })), sign(600, json!({ "role": "play" })));
    let publisher = publish(&mut pages, &server, "ab12", &Shown::Stream(&publishes));
    reaches(&mut pages, &publisher, "PUBLISHING", "");
    for shown in [Shown::Stream(&plays), Shown::Connection(&plays), Shown::Url(&plays)] {
        let viewer = play(&mut pages, &server, "ab12", &shown);
        reaches(&mut pages, &viewer, "PLAYING", "");
        watches(&mut pages, &viewer);
        pages.leave(viewer.page);
    }
    let refused = play(&mut pages, &server, "ab12", &Shown::Nothing);
    reaches(&mut pages, &refused, "FAILED", "Access token is missing");
    let refused = play(&mut pages, &server, "ab12", &Shown::Url(&publishes));
    reaches(&mut pages, &refused, "FAILED", "Access token does not allow to play");
    // Good for some two seconds more, in spite of the patience with clocks that differ.
    let brief = token::sign(KEY, now - Duration::from_secs(55), json!({}));
    let viewer = play(&mut pages, &server, "ab12", &Shown::Stream(&brief));
    reaches(&mut pages, &viewer, "PLAYING", "");
    reaches(&mut pages, &viewer, "FAILED", "Access token has expired");
    let log = server.log();
    assert!(log.contains("playing denied"), "{log}");
    for secret in [KEY, ADMIN, &publishes, &plays, &brief] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

fn a_backend_decides(runtime: Runtime, secure: bool) {
    let backend = Backend::start(secure);
    let scheme = if secure { "https" } else { "http" };
    let rules = format!(
        "auth.publish=hook\nauth.play=hook\nauth.hook.url={scheme}://localhost:{}/app\n\
         auth.hook.timeout=2000\nauth.hook.ca={}\n",
        backend.addr.port(),
        backend.ca.display(),
    );
    let server = Server::start_telling_all(runtime, &rules).unwrap();
    let mut pages = Pages::default();
    let publisher = publish(&mut pages, &server, "good", &Shown::Stream("a secret of ours"));
    reaches(&mut pages, &publisher, "PUBLISHING", "");
    let viewer = play(&mut pages, &server, "good", &Shown::Nothing);
    reaches(&mut pages, &viewer, "PLAYING", "");
    let (path, asked) = backend.asked.lock().unwrap().first().cloned().unwrap();
    assert_eq!((&*path, &asked["token"]), ("/app/publishStream", &json!("a secret of ours")));
    assert!(asked["sdp"].as_str().unwrap().starts_with("v=0"), "{asked}");
    for (name, info) in [
        ("forbidden", "Refused by the backend"),
        ("broken", "The backend gave no answer"),
        ("garbage", "The backend gave no answer"),
        ("closed", "The backend gave no answer"),
        ("slow", "The backend gave no answer"),
    ] {
        let refused = publish(&mut pages, &server, name, &Shown::Nothing);
        reaches(&mut pages, &refused, "FAILED", info);
        pages.leave(refused.page);
    }
    watches(&mut pages, &viewer);
    assert_eq!(pages.seen(&viewer).faults, [] as [&str; 0]);
    let log = server.log();
    assert!(log.contains("publishing denied") && !log.contains("a secret of ours"), "{log}");
}

/// What decides by a stream's name, in threads that end with the test.
struct Backend {
    addr: SocketAddr,
    /// Its certificate, a file that ends with it.
    ca: PathBuf,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Backend {
    fn start(secure: bool) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let ca = std::env::temp_dir().join(format!("distributary-backend-{}.pem", addr.port()));
        fs::write(&ca, cert.pem()).unwrap();
        let tls = secure.then(|| {
            let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![cert.der().clone()], key);
            Arc::new(config.unwrap())
        });
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (tls, heard) = (tls.clone(), Arc::clone(&heard));
                std::thread::spawn(move || match tls {
                    Some(tls) => {
                        let session = ServerConnection::new(tls).unwrap();
                        decide(StreamOwned::new(session, socket), &heard);
                    }
                    None => decide(socket, &heard),
                });
            }
        });
        Self { addr, ca, asked }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // What is left of a test that failed is no harm.
        let _ = fs::remove_file(&self.ca);
    }
}

/// Reads one question and decides by the stream's name.
fn decide(mut socket: impl Read + Write, asked: &Mutex<Vec<(String, Value)>>) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let (path, question) = loop {
        let Ok(length @ 1..) = socket.read(&mut piece) else { return };
        bytes.extend(piece.iter().take(length));
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(question) = serde_json::from_str::<Value>(body) {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            break (path, question);
        }
    };
    let name = question["name"].as_str().unwrap_or_default().to_owned();
    asked.lock().unwrap().push((path, question));
    let answer = match name.as_str() {
        "good" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "forbidden" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        "broken" => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        "garbage" => "220 good morning\r\n\r\n",
        "slow" => return std::thread::sleep(SOON),
        _ => return,
    };
    // Whoever asked may be gone.
    let _ = socket.write_all(answer.as_bytes());
    let _ = socket.flush();
}
