//! The bench, run for a few seconds: what it prints has the shape that it promises, the floor and a
//! server send the same packets, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use serde_json::Value;

#[test]
fn the_floor_and_a_server_are_measured_alike() {
    let folder = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
    let out = folder.to_str().unwrap();
    // With tests beside it that keep it from its cores, what it says is no use: then once more.
    let said = (1..=ATTEMPTS).map(|_| measure(out)).find(|said| !disturbed(said));
    let said = said.unwrap_or_else(|| measure(out));
    let of = |place: &str| {
        let value = said.pointer(place).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no {place} in {said:#}"))
    };
    let within = |place: &str, least: f64, most: f64| {
        let figure = of(place);
        assert!((least..=most).contains(&figure), "{place} is {figure} in {said:#}");
    };
    // The bounds are wide: other tests run beside this one, and nothing here is optimised.
    for contender in ["floor", "mio"] {
        let within = |name: &str, least: f64, most: f64| {
            within(&format!("/{contender}/3/{name}"), least, most);
        };
        within("joined", 3.0, 3.0);
        within("packets_per_second_and_viewer", 0.95 * 320.0, 1.05 * 320.0);
        within("loss", 0.0, 0.0);
        within("gaps", 0.0, 0.0);
        within("refused", 0.0, 0.0);
        within("altered", 0.0, 0.0);
        within("cpu_ns_per_packet", 100.0, 10_000_000.0);
        within("delay_p50_ms", 0.001, 1_000.0);
        within("delay_p999_ms", of(&format!("/{contender}/3/delay_p50_ms")), 5_000.0);
        let srtp = said.pointer(&format!("/{contender}/3/srtp/0"));
        assert_eq!(srtp.and_then(Value::as_str), Some("AEAD_AES_128_GCM"), "{said:#}");
    }
    // Feedback every 50 ms, and a report each second.
    within("/floor/3/reports_per_second_and_viewer", 0.85 * 21.0, 1.15 * 21.0);
    within("/floor/3/packets_per_run", 2.0, 10.0);
    within("/floor_ns_per_packet", of("/floor/3/cpu_ns_per_packet"), f64::MAX);
    within("/mio/3/rss_kb", 1_000.0, 1_000_000.0);
    // Three viewers may find room in memory that the server has anyway.
    within("/mio/3/rss_kb_per_viewer", 0.0, 100_000.0);
    within("/mio/3/joins_per_second", 0.1, 1_000.0);
    within("/mio/3/ratio_to_floor", 0.1, 1_000.0);

    for (name, part) in [
        ("table.md", "| mio | 3 |"),
        ("figures.json", "\"floor_ns_per_packet\""),
        ("cpu.svg", ">3</text>"),
        ("delay.svg", "p99.9"),
    ] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(text.contains(part), "{name}: {text}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

const ATTEMPTS: usize = 2;

fn measure(out: &str) -> Value {
    let length = ["--viewers", "3", "--seconds", "2", "--rounds", "1", "--joins", "0"];
    let what = ["--json", "--only", "floor,mio", "--out", out];
    let run = bench(&[&length[..], &what].concat());
    let said = serde_json::from_slice(&run.stdout).unwrap_or_default();
    assert!(run.status.success(), "{said:#}\n{}", stderr(&run));
    said
}

fn disturbed(said: &Value) -> bool {
    let notes = ["/floor/3/notes", "/mio/3/notes"].map(|place| said.pointer(place));
    notes.iter().flatten().any(|notes| notes.to_string().contains("disturbed"))
}

#[test]
fn wrong_arguments_are_refused() {
    for (wrong, said) in [
        (["--only", "nginx"], "nothing is called nginx"),
        (["--peer", "janus"], "NAME=URL,PID"),
        (["--peer", "tokio=ws://127.0.0.1:80,1"], "cannot be a peer's name"),
        (["--profile", "null"], "gcm-128"),
        (["--seconds", "0"], "--seconds"),
        (["--viewers", "0"], "--viewers"),
        (["--loss", "51"], "--loss"),
    ] {
        let run = bench(&wrong);
        assert_eq!(run.status.code(), Some(2), "{wrong:?}: {}", stderr(&run));
        assert!(stderr(&run).contains(said), "{wrong:?}: {}", stderr(&run));
    }
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().unwrap()
}

fn stderr(run: &Output) -> String {
    String::from_utf8_lossy(&run.stderr).into_owned()
}
