//! The load tool and the bench against a server of WHIP and WHEP that shares nothing with ours: a
//! few lines around str0m, in this process.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod server;

use std::process::{Command, Output};

use serde_json::Value;

use self::server::Server;

#[test]
fn viewers_play_by_whep_what_publishers_publish_by_whip() {
    let server = Server::start(false);
    let url = |kind: &str| format!("http://{}/{kind}/{{name}}", server.addr);
    let (report, run) = load(&[
        "--url",
        &url("whep"),
        "--publish-url",
        &url("whip"),
        "--publishers",
        "2",
        "--viewers",
        "4",
    ]);
    assert!(run.status.success(), "{report:#}\n{}", stderr(&run));
    everything_came(&report, 4);
    let mut said = server.requests();
    said.sort_unstable();
    let mut expected = vec!["POST /whip/load-0", "POST /whip/load-1"];
    expected.extend(["POST /whep/load-0", "POST /whep/load-1"].repeat(2));
    // Whoever came left, and left what it was given.
    let left: Vec<String> = (0..6).map(|id| format!("DELETE /sessions/{id}")).collect();
    expected.extend(left.iter().map(String::as_str));
    expected.sort_unstable();
    assert_eq!(said, expected);
}

#[test]
fn the_same_goes_over_tls_where_the_certificate_is_believed() {
    let server = Server::start(true);
    let url = |kind: &str| format!("https://{}/{kind}/load-0", server.addr);
    let both = ["--url", &url("whep"), "--publish-url", &url("whip")];
    let viewers = ["--viewers", "3"];
    let with = |trust: &[&str]| load(&[&both[..], &viewers[..], trust].concat());

    let file = std::env::temp_dir().join(format!("whep-{}.pem", std::process::id()));
    std::fs::write(&file, &server.certificate).unwrap();
    let authority = ["--ca", file.to_str().unwrap()];
    for trust in [&["--fingerprint", &server.fingerprint][..], &["--insecure"], &authority] {
        let (report, run) = with(trust);
        assert!(run.status.success(), "{trust:?}: {report:#}\n{}", stderr(&run));
        everything_came(&report, 3);
    }
    std::fs::remove_file(&file).unwrap();
    let (_, run) = with(&authority);
    assert!(stderr(&run).contains(file.to_str().unwrap()), "{}", stderr(&run));
    let wrong = "5e".repeat(32);
    for trust in [&["--fingerprint", wrong.as_str()][..], &[]] {
        let (_, run) = with(trust);
        assert_eq!(run.status.code(), Some(1), "{trust:?}: {}", stderr(&run));
        let said = "publisher of load-0: TLS: invalid peer certificate";
        assert!(stderr(&run).contains(said), "{trust:?}: {}", stderr(&run));
    }
}

#[test]
fn what_the_server_says_of_an_unknown_stream_is_told() {
    let server = Server::start(false);
    let url = format!("http://{}/whep/nobody", server.addr);
    let (report, run) = load(&["--url", &url, "--viewers", "2", "--publishers", "0"]);
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    assert_eq!(report["endings"]["the server answered 404 no such stream"], 2, "{report:#}");
}

#[test]
fn a_server_that_dies_is_noticed_though_nobody_speaks_to_it() {
    let server = Server::start(false);
    let url = |kind: &str| format!("http://{}/{kind}/load-0", server.addr);
    let both = ["--url", &url("whep"), "--publish-url", &url("whip")];
    let dying = std::thread::scope(|scope| {
        let run = scope.spawn(|| load(&[&both[..], &["--viewers", "2"]].concat()));
        server.wait_for("POST /whep/load-0", 2);
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        server.fall_silent();
        run.join().unwrap()
    });
    let (report, run) = dying;
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    assert_eq!(report["silent"], 2, "{report:#}");
}

#[test]
fn the_bench_publishes_to_a_peer_and_plays_from_it() {
    let server = Server::start(false);
    let url = |kind: &str| format!("http://{}/{kind}/{{name}}", server.addr);
    let peer = format!("str0m={},{},{}", url("whep"), url("whip"), std::process::id());
    let length = ["--viewers", "3", "--seconds", "2", "--rounds", "1", "--joins", "0"];
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    let bench = bench.args(["--json", "--only", "str0m", "--peer", &peer]).args(length);
    let run = bench.output().unwrap();
    let said: Value = serde_json::from_slice(&run.stdout).unwrap_or_default();
    assert!(run.status.success(), "{said:#}\n{}", stderr(&run));
    let row = &said["str0m"]["3"];
    let within = |name: &str, least: f64, most: f64| {
        let figure = row[name].as_f64().unwrap_or_else(|| panic!("no {name} in {said:#}"));
        assert!((least..=most).contains(&figure), "{name} is {figure} in {said:#}");
    };
    within("joined", 3.0, 3.0);
    within("packets_per_second_and_viewer", 0.5 * 320.0, 1.4 * 320.0);
    for nothing in ["loss", "refused", "altered"] {
        within(nothing, 0.0, 0.0);
    }
    within("cpu_ns_per_packet", 100.0, 100_000_000.0);
    within("delay_p50_ms", 0.001, 1_000.0);
    assert_eq!(row["srtp"][0], "AEAD_AES_128_GCM", "{said:#}");
    let said = server.requests();
    assert_eq!(said.first().map(String::as_str), Some("POST /whip/bench-0"), "{said:?}");
    assert_eq!(said.iter().filter(|it| *it == "POST /whep/bench-0").count(), 3, "{said:?}");
    // The publisher and the viewers left.
    assert_eq!(said.iter().filter(|it| it.starts_with("DELETE ")).count(), 4, "{said:?}");
}

fn everything_came(report: &Value, viewers: u64) {
    let of = |path: &str| {
        let value = report.pointer(path).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no {path} in {report:#}"))
    };
    assert_eq!(report["joined"], viewers, "{report:#}");
    for nothing in ["/lost", "/samples/refused", "/samples/altered", "/samples/strange"] {
        assert!(of(nothing).abs() < 0.5, "{nothing} in {report:#}");
    }
    // Of each viewer's stream, 90 packets of video and 50 of sound a second for three seconds, less
    // what a busy machine delays.
    let most = viewers as f64 * 140.0 * 3.0;
    let packets = of("/packets");
    assert!((0.5 * most..1.4 * most).contains(&packets), "{report:#}");
    assert!(of("/samples/opened") >= packets / 8.0, "{report:#}");
    assert!((0.001..1_000.0).contains(&of("/delay/p50_ms")), "{report:#}");
    // Transport-wide feedback was agreed on, and is given.
    assert!(of("/feedback/transport") > 10.0 * viewers as f64, "{report:#}");
}

fn load(arguments: &[&str]) -> (Value, Output) {
    let always = ["--bitrate", "900000", "--seconds", "3", "--sample", "8", "--json"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    let run = command.args(arguments).args(always).output().unwrap();
    (serde_json::from_slice(&run.stdout).unwrap_or_default(), run)
}

fn stderr(run: &Output) -> String {
    String::from_utf8_lossy(&run.stderr).into_owned()
}
