//! The load tool against real servers of both runtimes: it counts what comes, opens what it says
//! it opens, and tells who got nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use distributary_tests::browser::{Codec, Shape};
use distributary_tests::client::Pages;
use distributary_tests::http;
use distributary_tests::process::{Runtime, Server};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn viewers_of_mio_get_everything() {
    everything(Runtime::Mio);
}

#[test]
fn viewers_of_tokio_get_everything() {
    everything(Runtime::Tokio);
}

fn everything(runtime: Runtime) {
    let server = Server::start(runtime, "shards=1", None).unwrap();
    let url = format!("ws://{}", server.addr("ws"));
    let picture = std::env::temp_dir().join(format!("load-{}.svg", server.pid()));
    let run = load(&[
        "--url",
        &url,
        "--viewers",
        "10",
        "--publishers",
        "2",
        "--bitrate",
        "900000",
        "--seconds",
        "3",
        "--sample",
        "8",
        "--pid",
        &server.pid().to_string(),
        "--plot",
        picture.to_str().unwrap(),
        "--json",
    ]);
    let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_default();
    assert!(run.status.success(), "{report:#}\n{}\n{}", stderr(&run), server.log());
    let of = |path: &str| {
        let value = report.pointer(path).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no {path} in {report:#}"))
    };
    // The bounds are wide where other tests that run beside this one matter.
    let within = |path: &str, least: f64, most: f64| {
        let figure = of(path);
        assert!((least..=most).contains(&figure), "{path} is {figure} in {report:#}");
    };

    within("/joined", 10.0, 10.0);
    // Of each viewer's stream, 90 packets of video and 50 of sound a second, less what the load
    // delays.
    within("/packets", 10.0 * 140.0 * 2.0, 10.0 * 140.0 * 4.0);
    within("/lost", 0.0, 0.0);
    within("/gaps", 0.0, 0.0);
    // All that came was opened, one of 8 all the time.
    let least = of("/packets") / 8.0;
    within("/samples/opened", least, 4.0 * least);
    within("/delay/count", 0.8 * least, 1.2 * least);
    within("/samples/refused", 0.0, 0.0);
    within("/samples/altered", 0.0, 0.0);
    within("/samples/strange", 0.0, 0.0);

    within("/joins/join/count", 10.0, 10.0);
    within("/joins/first_packet/p50_ms", 0.01, 10_000.0);
    within("/joins/join/p50_ms", of("/joins/first_packet/p50_ms"), 10_000.0);
    within("/joins/first_key_frame/count", 10.0, 10.0);
    within("/delay/p50_ms", 0.001, 1_000.0);
    within("/delay/p999_ms", of("/delay/p50_ms"), 5_000.0);

    // 20 a second of each viewer.
    within("/feedback/transport", 300.0, 4_000.0);
    within("/servers/0/cpu_ns_per_packet", 100.0, 10_000_000.0);
    within("/servers/0/rss_kib", 1_000.0, 1_000_000.0);
    within("/load/cpu_ns_per_packet", 100.0, 10_000_000.0);

    let drawn = std::fs::read_to_string(&picture).unwrap();
    assert!(drawn.contains("10 of 10 viewers, 0.000 % lost"), "{drawn}");
    std::fs::remove_file(picture).unwrap();
}

/// Sound is not asked for again, pictures are.
#[test]
fn what_viewers_throw_away_they_get_again() {
    let server = Server::start(Runtime::Mio, "shards=1", None).unwrap();
    let url = format!("ws://{}", server.addr("ws"));
    let run = load(&[
        "--url",
        &url,
        "--viewers",
        "5",
        "--seconds",
        "3",
        "--loss",
        "4",
        "--profile",
        "aes-cm",
        "--json",
    ]);
    let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_default();
    assert!(run.status.success(), "{report:#}\n{}\n{}", stderr(&run), server.log());
    assert_eq!(report["srtp"], serde_json::json!({"AES128_CM_SHA1_80": 5}), "{report:#}");
    let of = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap();
    // 4 % of 320 packets a second, for more than 3 s.
    assert!(of("/discarded") > 0.04 * 320.0 * 5.0 * 3.0 / 2.0, "{report:#}");
    // As many as are video.
    assert!(of("/feedback/retransmitted") > of("/discarded") / 2.0, "{report:#}");
    assert!(of("/feedback/nack") > 50.0, "{report:#}");
    // What is left is sound, 50 packets of 320.
    assert!((0.001..0.015).contains(&of("/loss")), "{report:#}");
    assert_eq!(of("/samples/refused"), 0.0, "{report:#}");
}

#[test]
fn a_viewer_offers_the_profile_that_it_is_told_to() {
    let server = Server::start(Runtime::Tokio, "shards=1", None).unwrap();
    let url = format!("ws://{}", server.addr("ws"));
    for (profile, agreed) in [("gcm-128", "AEAD_AES_128_GCM"), ("gcm-256", "AEAD_AES_256_GCM")] {
        let options = ["--url", &url, "--viewers", "2", "--seconds", "1", "--profile", profile];
        let run = load(&[&options[..], &["--json"]].concat());
        let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_default();
        assert!(run.status.success(), "{report:#}\n{}", stderr(&run));
        assert_eq!(report["srtp"], serde_json::json!({agreed: 2}), "{report:#}");
        assert_eq!(report["samples"]["refused"], 0, "{report:#}");
    }
}

#[test]
fn viewers_and_publishers_over_tls_believe_the_certificate_that_they_are_told_of() {
    let server = Server::start(Runtime::Mio, "shards=1\nwss.port=0", None).unwrap();
    let url = format!("wss://{}", server.addr("wss"));
    let log = server.log();
    let (_, rest) = log.split_once("SHA-256 fingerprint of the certificate: ").unwrap();
    let fingerprint = rest.get(..32 * 3 - 1).unwrap();
    for trust in [&["--fingerprint", fingerprint][..], &["--insecure"]] {
        let arguments = ["--url", &url, "--viewers", "3", "--seconds", "1", "--json"];
        let run = load(&[&arguments[..], trust].concat());
        let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_default();
        assert!(run.status.success(), "{trust:?}: {report:#}\n{}", stderr(&run));
        assert_eq!((&report["joined"], &report["lost"]), (&3.into(), &0.into()), "{report:#}");
        assert!(report["packets"].as_f64().unwrap() > 300.0, "{report:#}");
    }
    let wrong = "5e".repeat(32);
    let system: &[&str] = &[];
    for trust in [&["--fingerprint", wrong.as_str()][..], system] {
        let nobody = ["--url", &url, "--viewers", "2", "--publishers", "0"];
        let run = load(&[&nobody[..], trust].concat());
        assert_eq!(run.status.code(), Some(1), "{trust:?}: {}", stderr(&run));
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(said.contains("2: TLS: invalid peer certificate"), "{trust:?}: {said}");
    }
}

#[test]
fn a_server_that_goes_fails_the_run_at_once() {
    let mut server = Server::start(Runtime::Mio, "shards=1", None).unwrap();
    let url = format!("ws://{}", server.addr("ws"));
    let run = spawn(&["--url", &url, "--viewers", "3", "--seconds", "600", "--json"]);
    wait_for_viewers(&server, 3);
    // Into the time in which packets are counted.
    std::thread::sleep(Duration::from_millis(1_500));
    server.kill();
    let begun = Instant::now();
    let run = run.wait_with_output().unwrap();
    assert!(begun.elapsed() < PATIENCE, "took {:?}", begun.elapsed());
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["joined"], 3, "{report:#}");
    // Whether it hung up or reset the connection is the kernel's choice.
    let over: u64 = report["endings"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(over, 3, "{report:#}");
}

#[test]
fn viewers_that_get_nothing_any_more_fail_the_run() {
    let server = Server::start(Runtime::Tokio, "shards=1", None).unwrap();
    let mut pages = Pages::default();
    let page = pages.open(server.addr("ws")).unwrap();
    let shape = Shape::audio_video().only(Codec::H264);
    let publisher = pages.publish(page, "still", shape).unwrap();
    let up = |pages: &Pages| {
        let stream = pages.page(page).browser.stream(&publisher.id).unwrap();
        stream.status() == "PUBLISHING" && stream.is_connected()
    };
    assert!(pages.run_until(PATIENCE, up));

    let url = format!("ws://{}", server.addr("ws"));
    let of_others = ["--publishers", "0", "--name", "still"];
    let run =
        spawn(&[&["--url", &url, "--viewers", "3", "--seconds", "4"], &of_others[..]].concat());
    let joined = |_: &Pages| viewers(&server) == Some(3);
    assert!(pages.run_until(PATIENCE, joined), "{}", server.log());
    // Into the time in which packets are counted.
    pages.run(Duration::from_millis(1_500));
    pages.browser(page).forget_media(&publisher.id);
    let run = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(1), "{said}\n{}", stderr(&run));
    assert!(said.contains("3: nothing in the last second"), "{said}");
    assert!(said.contains("viewers  3 of 3 got media"), "{said}");
}

#[test]
fn viewers_without_a_stream_are_told_apart_and_fail_the_run() {
    let server = Server::start(Runtime::Mio, "shards=1\nplay.wait=10", None).unwrap();
    let url = format!("ws://{}", server.addr("ws"));
    let run = load(&["--url", &url, "--viewers", "3", "--publishers", "0", "--json"]);
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["joined"], 0, "{report:#}");
    assert_eq!(report["endings"]["FAILED: Stream not found"], 3, "{report:#}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    // A port that was free a moment ago.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{addr}");
    let run = load(&["--url", &url, "--viewers", "2"]);
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    let said = "publisher of load-0: the connection failed: Connection refused";
    assert!(stderr(&run).contains(said), "{}", stderr(&run));

    let run = load(&["--url", &url, "--viewers", "2", "--publishers", "0"]);
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(said.contains("2: the connection failed: Connection refused"), "{said}");
}

#[test]
fn more_viewers_than_there_may_be_descriptors_are_refused() {
    let limited = "ulimit -n 70 && exec \"$0\" --url ws://127.0.0.1:1 --viewers 4";
    let run = Command::new("sh").args(["-c", limited, env!("CARGO_BIN_EXE_load")]).output();
    let run = run.unwrap();
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    let said = "4 viewers need 72 file descriptors and may have 70";
    assert!(stderr(&run).contains(said), "{}", stderr(&run));
}

#[test]
fn wrong_arguments_are_refused() {
    for (wrong, said) in [
        (vec![], "--url"),
        (vec!["--url", "localhost"], "expected ws://"),
        (vec!["--url", "rtp://localhost:5004"], "nobody can play"),
        (vec!["--url", "janus+http://localhost:8088/janus?id=1"], "--publish-url rtp://"),
        (vec!["--url", "http://localhost/whep", "--publishers", "2"], "{name}"),
        (vec!["--url", "wss://localhost", "--fingerprint", "5e"], "32 bytes"),
        (vec!["--url", "wss://localhost", "--insecure", "--ca", "x"], "cannot be used with"),
        (vec!["--url", "ws://127.0.0.1:1", "--viewers", "0"], "--viewers"),
        (vec!["--url", "ws://127.0.0.1:1", "--sample", "0"], "--sample"),
        (vec!["--url", "ws://127.0.0.1:1", "--loss", "51"], "--loss"),
        (vec!["--url", "ws://127.0.0.1:1", "--profile", "gcm"], "no profile is called gcm"),
    ] {
        let run = load(&wrong);
        assert_eq!(run.status.code(), Some(2), "{wrong:?}: {}", stderr(&run));
        assert!(stderr(&run).contains(said), "{wrong:?}: {}", stderr(&run));
    }
}

fn load(arguments: &[&str]) -> Output {
    spawn(arguments).wait_with_output().unwrap()
}

fn spawn(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn viewers(server: &Server) -> Option<u64> {
    http::figure(server.addr("http"), "streams_viewers").unwrap()
}

fn wait_for_viewers(server: &Server, count: u64) {
    let end = Instant::now() + PATIENCE;
    while viewers(server) != Some(count) {
        assert!(Instant::now() < end, "not {count} viewers: {}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn stderr(run: &Output) -> String {
    String::from_utf8_lossy(&run.stderr).into_owned()
}
