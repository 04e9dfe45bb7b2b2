//! Packets that are lost, attacks, and a soak, each for some seconds: what the commands do is done,
//! what they measure is possible, and nothing of it is left behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use distributary_tests::attack::{Actor, Attack, Kind, Sort, Target};
use distributary_tests::http;
use distributary_tests::lossy::{self, Hop};
use distributary_tests::process::{Runtime, Server};
use distributary_tests::soak::{self, News};

const SOON: Duration = Duration::from_secs(20);
const KINDS: [Kind; 9] = [
    Kind::IdleConnection,
    Kind::GarbageHttp,
    Kind::GarbageWords,
    Kind::TakenName,
    Kind::DeafReader,
    Kind::Connection,
    Kind::Datagram(Sort::Stun),
    Kind::Datagram(Sort::Hello),
    Kind::Datagram(Sort::Rtp),
];

/// Sound is not sent again, so that it tells what was lost on three hops.
#[test]
fn pictures_that_any_hop_loses_come_all_the_same() {
    let plan = lossy::Plan {
        runtime: Runtime::Mio,
        loss: 0.03,
        hop: Hop::All,
        delay: Duration::from_millis(2),
        seed: 1,
        viewers: 3,
        publishers: 1,
        bitrate: 900_000,
        span: Duration::from_secs(3),
    };
    let figures = plan.measure().unwrap();
    assert_eq!(figures.problem, None);
    assert!(figures.pictures < 0.005, "{figures:?}");
    // 50 packets of 140 are sound, of which some 9 % are lost.
    assert!((0.01..0.06).contains(&figures.all), "{figures:?}");
    assert!(figures.p99 >= 3 * plan.delay, "{figures:?}");
}

#[test]
fn attacks_come_as_far_as_they_are_meant_to_and_leave_nothing_behind() {
    let server = Server::start_in_session(
        Runtime::Tokio,
        "ip=127.0.0.1\nip_local=127.0.0.1\nws.port=0\nwss.port=off\nhttp.port=0\nhttps.port=off\n\
         page.port=off\nmedia_port_from=0\n",
        None,
    );
    let server = server.unwrap();
    let target = Target { tcp: server.addr("ws"), media: server.media() };
    let actors = (0..).zip(KINDS).map(|(number, kind)| Actor {
        kind,
        per_second: 20,
        addresses: 3,
        first: Ipv4Addr::new(127, 31, number, 1),
    });
    let attack = Attack::start(&[target], &actors.collect::<Vec<_>>(), "nobodys").unwrap();
    let end = Instant::now() + SOON;
    while attack.tries().iter().any(|tries| tries.through < 3) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let tries = attack.tries();
    drop(attack);
    assert_eq!(tries.iter().map(|it| it.kind).collect::<Vec<_>>(), KINDS);
    assert!(tries.iter().all(|it| it.through >= 3), "{tries:?}");
    let figure = |key| http::figure(server.addr("http"), key).unwrap();
    while figure("connections") != Some(0) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let left = ["connections", "streams_webrtc_in", "core_peers"].map(figure);
    assert_eq!(left, [Some(0); 3], "{}", server.log());
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn a_soak_of_some_seconds_does_all_that_one_of_an_hour_does() {
    let plan = soak::Plan {
        runtime: Runtime::Mio,
        span: Duration::from_secs(5),
        crash_interval: Duration::from_secs(4),
        loss: 0.01,
        seed: 1,
        publishers: 1,
        bitrate: 200_000,
        steady: 2,
        joins_per_second: 4,
    };
    let mut shares = Vec::new();
    let verdict = soak::run(&plan, &AtomicBool::new(false), &mut |news| match news {
        News::Share(share) => shares.push(share),
        News::Line(_) => {}
    });
    let verdict = verdict.unwrap();
    let said = verdict.to_string();
    assert!(verdict.is_fine(), "{said}");
    assert!(verdict.joins.done >= 10 && verdict.crashes >= 1, "{said}");
    assert!(verdict.still > Duration::ZERO, "{said}");
    assert!(verdict.nodes.iter().all(|node| node.kib.0 > 1_000 && node.kib.1 > 1_000), "{said}");
    assert!(verdict.tries.iter().all(|tries| tries.through > 0), "{said}");
    assert!(shares.len() >= 5 && shares.is_sorted(), "{shares:?}");
}

#[test]
fn a_soak_that_is_interrupted_leaves_no_process_behind() {
    let mut soak = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(["--minutes", "5", "--runtime", "mio", "--bitrate", "100000", "--steady", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + SOON;
    let mut nodes = children(soak.id());
    while nodes.len() < 3 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        nodes = children(soak.id());
    }
    assert_eq!(nodes.len(), 3);
    let pid = soak.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    let mut said = String::new();
    soak.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(soak.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    for node in nodes {
        assert!(!std::path::Path::new(&format!("/proc/{node}")).exists(), "{node} goes on");
    }
}

#[test]
fn wrong_arguments_are_refused() {
    for (program, wrong) in [
        (env!("CARGO_BIN_EXE_soak"), ["--minutes", "0"]),
        (env!("CARGO_BIN_EXE_soak"), ["--loss", "70"]),
        (env!("CARGO_BIN_EXE_attack"), ["--viewers", "0"]),
        (env!("CARGO_BIN_EXE_lossy"), ["--loss", "1,x"]),
    ] {
        let run = Command::new(program).args(wrong).output().unwrap();
        assert_eq!(run.status.code(), Some(2), "{wrong:?}");
    }
}

/// Processes that this one started.
fn children(parent: u32) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
        rest.split(' ').nth(1) == Some(&parent.to_string())
    };
    pids.filter(child).collect()
}
