//! Scenarios in every world: what pages are told and nodes report must be the same in the
//! simulation and over loopback, on mio and on tokio, with one shard and with four.

use std::thread::{self, JoinHandle};

use distributary_tests::process::Runtime;
use distributary_tests::real::Real;
use distributary_tests::scenario::{self, Account};
use distributary_tests::sim::Sim;
use distributary_tests::world::Partition;

/// One test for some scenarios each. Over loopback they mostly wait, so those of one test wait
/// together.
macro_rules! together {
    ($($test:ident: $($name:ident)*;)*) => {
        $(
            #[test]
            fn $test() {
                same_everywhere(&[$(stringify!($name)),*]);
            }
        )*

        #[test]
        fn every_scenario_is_tested() {
            let mut tested = vec![$($(stringify!($name)),*),*];
            let mut names = scenario::names();
            tested.sort_unstable();
            names.sort_unstable();
            assert_eq!(names, tested);
        }
    };
}

together! {
    publishers_come_and_go:
        one_node publisher_returns publisher_starts_again publisher_stays_away two_of_one_name
        codec_changes;
    viewers_come_when_they_like: late_viewer viewer_first two_edges nodes_push_to_each_other;
    publishers_have_something_to_say: mute mute_before_edge data;
    edges_come_and_go: edge_comes_late edge_restarts edge_stands_still drain;
    nodes_take_nobody_more: patient_drain drain_runs_out full_edge out_of_service;
    links_break_and_origins_die:
        link_breaks link_parted unpublish_crosses_answer origin_restarts origin_stays_away
        origin_stands_still;
    keys_keep_strangers_out: links_with_keys;
    tokens_run_out: tokens_end;
    settings_change_while_nodes_run: edges_change;
}

/// What depends most on real sockets and processes, where one datagram of fifty is lost each way:
/// nodes that are killed, stand still, end in good order, are full; links that break, and those
/// that nothing passes; strangers; tokens that expire; settings that change. Some of it in the
/// gate, all of it in the full run.
#[test]
fn loss_changes_nothing_that_anybody_is_told() {
    let all = [
        "edge_restarts",
        "edge_stands_still",
        "link_parted",
        "link_breaks",
        "origin_restarts",
        "origin_stands_still",
        "patient_drain",
        "drain_runs_out",
        "full_edge",
        "links_with_keys",
        "tokens_end",
        "publisher_returns",
        "edges_change",
        "publisher_starts_again",
    ];
    let is_full = std::env::var("DISTRIBUTARY_MATRIX").is_ok_and(|matrix| matrix == "full");
    let names = if is_full { &all[..] } else { &all[..3] };
    same_in(names, |name| {
        vec![
            start(name, "the simulation", 2, || Sim::new(1)),
            start(name, "mio with loss", 2, || Real::with_loss(Runtime::Mio, LOSS)),
            start(name, "tokio with loss", 2, || Real::with_loss(Runtime::Tokio, LOSS)),
        ]
    });
}

/// The share of datagrams that is lost.
const LOSS: f64 = 0.02;

/// Where it is a race whether a stream reaches an edge before its publisher goes, and whether an
/// origin that stood still looks at its clock or at its link first. Who wins may differ, what pages
/// are told may not.
const RACES: [&str; 2] = ["unpublish_crosses_answer", "origin_stands_still"];

/// Plays scenarios in all worlds, all at once, each in a thread that bears its title.
fn same_everywhere(names: &[&'static str]) {
    same_in(names, start_everywhere);
}

fn same_in(names: &[&'static str], start: fn(&'static str) -> Vec<Playing>) {
    let started: Vec<_> = names.iter().map(|name| (*name, start(name))).collect();
    // All of them end before one can fail the test, so that none leaves its servers behind.
    let complaints: Vec<String> =
        started.into_iter().flat_map(|(name, worlds)| compare(name, worlds)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// A world in which a scenario is being played.
struct Playing {
    title: String,
    thread: JoinHandle<Account>,
}

fn start_everywhere(name: &'static str) -> Vec<Playing> {
    let mut worlds = Vec::new();
    for shards in [1, 4] {
        worlds.push(start(name, "the simulation", shards, || Sim::new(1)));
        worlds.push(start(name, "mio", shards, || Real::new(Runtime::Mio)));
        worlds.push(start(name, "tokio", shards, || Real::new(Runtime::Tokio)));
    }
    worlds
}

fn start<W: Partition + 'static>(
    name: &'static str,
    place: &str,
    shards: u16,
    world: fn() -> W,
) -> Playing {
    let title = format!("{name} on {place} with {shards} shards");
    let thread = thread::Builder::new().name(title.clone());
    let thread = thread.spawn(move || scenario::play(name, world(), shards));
    Playing { title, thread: thread.expect("the machine has threads left") }
}

/// What is not as in the first of the worlds.
fn compare(name: &str, worlds: Vec<Playing>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut first: Option<(String, Account)> = None;
    for Playing { title, thread } in worlds {
        let Ok(account) = thread.join() else {
            complaints.push(format!("{title} failed"));
            continue;
        };
        let account = if RACES.contains(&name) { account.pages() } else { account };
        let Some((expected_in, expected)) = &first else {
            assert!(!account.is_empty(), "{title}: nobody was told anything");
            first = Some((title, account));
            continue;
        };
        let differences = expected.differences(&account);
        if !differences.is_empty() {
            complaints.push(format!("{expected_in}, but {title}:\n{}", differences.join("\n")));
        }
    }
    complaints
}
