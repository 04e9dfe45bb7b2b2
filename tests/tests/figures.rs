//! The program that measures the servers, run for a few seconds: it works on both runtimes, and
//! what it says is possible.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::process::Command;

use serde_json::Value;

#[test]
fn figures_of_mio() {
    sane("mio");
}

#[test]
fn figures_of_tokio() {
    sane("tokio");
}

#[test]
fn wrong_arguments_are_refused() {
    for wrong in [["--runtime", "none"], ["--part", "none"], ["--joins", "0"], ["--what", "1"]] {
        let run = Command::new(env!("CARGO_BIN_EXE_figures")).args(wrong).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(2), "{wrong:?}: {said}");
        assert!(said.contains("usage: figures"), "{said}");
    }
}

fn sane(runtime: &str) {
    let run = Command::new(env!("CARGO_BIN_EXE_figures"))
        .args(["--json", "--runtime", runtime, "--joins", "2", "--costed-joins", "3"])
        .args(["--viewers", "3", "--seconds", "1"])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let said: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert!(said["machine"]["cores"].as_u64() >= Some(1), "{said:#}");
    let all = &said["runtimes"];
    assert_eq!(all.as_object().unwrap().len(), 1, "{said:#}");
    let of = |path: &str| {
        let value = all.pointer(&format!("/distributary-{runtime}/{path}"));
        value.and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {said:#}"))
    };
    // The bounds are wide: other tests run beside this one, on servers that are not optimised.
    let within = |path: &str, least: f64, most: f64| {
        let figure = of(path);
        assert!((least..=most).contains(&figure), "{path} is {figure} in {said:#}");
    };

    within("join/joins", 2.0, 2.0);
    within("join/first_packet/p50_ms", 0.01, 5_000.0);
    within("join/first_picture/p50_ms", of("join/first_packet/p50_ms"), 10_000.0);
    within("join/first_picture/p95_ms", of("join/first_picture/p50_ms"), 20_000.0);

    // 270 packets of video and 50 of sound in the one second, less what the load delays.
    within("hop/packets", 100.0, 700.0);
    within("hop/origin/p50_ms", 0.001, 1_000.0);
    within("hop/edge/p50_ms", 0.001, 1_000.0);
    within("hop/added/p99_ms", 0.001, 5_000.0);

    within("load/viewers", 3.0, 3.0);
    within("load/packets", 300.0, 2_100.0);
    within("load/lost", 0.0, 0.0);
    within("load/origin/cpu_percent", 0.01, 250.0);
    within("load/edge/cpu_percent", 0.01, 250.0);
    within("load/edge_ns_per_packet", 100.0, 10_000_000.0);
    within("load/edge_rss_kib", 1_000.0, 1_000_000.0);

    within("cost/joins", 3.0, 3.0);
    within("cost/cpu_ms_per_join", 0.001, 1_000.0);
}
