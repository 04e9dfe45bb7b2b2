//! Which edge a viewer is sent to.

use std::collections::BTreeSet;

use super::*;

/// Edges that tell these loads: calls and percent of the processors.
fn loaded(mode: &str, loads: &[(u32, u32)]) -> Site {
    let limits = Limits { poll_interval: Duration::from_secs(10), ..Limits::default() };
    let count = u8::try_from(loads.len()).unwrap();
    let mut site = Site::of_edges(count, mode, limits);
    for (n, (calls, cpu)) in (1..).zip(loads) {
        let stat = format!("-----System Stats-----\ncalls={calls}\nsystemCpuLoad={cpu}\n");
        *site.edge(n) = Edge { up: true, stat, ..Edge::default() };
    }
    site.wait_ms(0);
    site
}

/// Asks where to play; the number of the edge, or `None` for this node itself.
pub(super) fn ask(site: &mut Site, stream: Option<&str>) -> Option<u8> {
    let question = Question::ServerList {
        stream: stream.map(str::to_owned),
        callback: None,
        host: "origin.example".to_owned(),
    };
    let (shard, conn) = (ShardId::NODE, ConnId::accepted(99));
    site.hear(ToNode::Asked { shard, conn, question });
    let answer = body(&site.responses.pop().unwrap());
    let server = answer["server"].as_str().unwrap();
    for port in ["ws", "wss", "flash"] {
        assert!(answer[port].is_u64(), "all four fields: {answer}");
    }
    if server == "origin.example" {
        assert_eq!(answer["ws"], 8080);
        return None;
    }
    Some(server.rsplit('.').next().unwrap().parse().unwrap())
}

fn body(response: &Response) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn picks(site: &mut Site, times: usize) -> Vec<u8> {
    (0..times).map(|_| ask(site, None).unwrap()).collect()
}

#[test]
fn the_fewest_calls_win_and_those_just_sent_count() {
    let mut site = loaded("", &[(5, 0), (2, 99), (3, 0)]);
    assert_eq!(picks(&mut site, 7), [2, 2, 3, 2, 3, 1, 2]);
    // The next poll tells the truth, so the guess is forgotten.
    site.wait_ms(10_000);
    assert_eq!(picks(&mut site, 1), [2]);
}

#[test]
fn nobody_is_sent_to_an_edge_that_is_full() {
    let mut site = loaded("", &[(0, 0), (7, 0)]);
    site.edge(1).stat.push_str("core_accepting=0\n");
    site.wait_ms(10_000);
    assert_eq!(picks(&mut site, 3), [2, 2, 2]);
    site.edge(2).stat.push_str("core_accepting=0\n");
    site.wait_ms(10_000);
    assert_eq!(ask(&mut site, None), None);
}

#[test]
fn a_herd_is_spread() {
    for mode in ["", "mode='LESS_LOADED_NODE'", "mode='RoundRobin'"] {
        let mut site = loaded(mode, &[(0, 0), (0, 0), (0, 0)]);
        let picked = picks(&mut site, 30);
        for n in 1..=3 {
            assert_eq!(picked.iter().filter(|p| **p == n).count(), 10, "{mode}: {picked:?}");
        }
    }
}

#[test]
fn the_least_busy_processors_win() {
    let mut site = loaded("mode='LESS_LOADED_NODE'", &[(0, 50), (9, 20), (0, 21)]);
    assert_eq!(picks(&mut site, 4), [2, 2, 3, 2]);
}

#[test]
fn in_turn_means_each_after_the_other() {
    let mut site = loaded("mode='RoundRobin'", &[(9, 0), (0, 0), (5, 0)]);
    assert_eq!(picks(&mut site, 6), [1, 2, 3, 1, 2, 3]);
}

#[test]
fn at_random_means_any() {
    for mode in ["mode='random'", "randomize='true'"] {
        let mut site = loaded(mode, &[(0, 0), (0, 0), (0, 0), (0, 0)]);
        let first: BTreeSet<u8> = (0..60)
            .map(|_| {
                site.wait_ms(10_000);
                ask(&mut site, None).unwrap()
            })
            .collect();
        assert_eq!(first.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4], "{mode}");
    }
    let mut site = loaded("randomize='true'", &[(3, 0), (1, 0), (2, 0)]);
    assert_eq!(picks(&mut site, 1), [2], "with viewers somewhere it is the fewest again");
}

#[test]
fn an_edge_that_is_down_is_never_picked() {
    for mode in ["", "mode='random'", "mode='RoundRobin'", "mode='LESS_LOADED_NODE'"] {
        let mut site = loaded(mode, &[(0, 0), (9, 9), (9, 9)]);
        site.edge(1).up = false;
        site.cut(1);
        site.edge(3).stat = "no statistics".to_owned();
        site.wait_ms(10_000);
        assert!(picks(&mut site, 12).iter().all(|n| *n == 2), "{mode}");
        site.edge(2).up = false;
        site.cut(2);
        site.wait_ms(10_000);
        assert_eq!(ask(&mut site, None), None, "{mode}: there is still this node");
        site.edge(1).up = true;
        site.wait_ms(10_000);
        assert_eq!(ask(&mut site, None), Some(1), "{mode}");
    }
}

#[test]
fn an_edge_without_the_stream_is_never_picked() {
    for mode in ["", "mode='random'", "mode='RoundRobin'", "mode='LESS_LOADED_NODE'"] {
        let mut site = loaded(mode, &[(0, 0), (9, 9)]);
        let page = site.join("10.0.0.1");
        site.live(page, "P", "cam");
        assert_eq!(ask(&mut site, Some("cam")), None, "{mode}: no edge has it yet");
        site.relay(2);
        for _ in 0..8 {
            assert_eq!(ask(&mut site, Some("cam")), Some(2), "{mode}");
        }
        assert_eq!(ask(&mut site, Some("unknown")), None, "{mode}");
        site.cut(2);
        assert_eq!(ask(&mut site, Some("cam")), None, "{mode}: its link is down");
    }
}

#[test]
fn polls_come_at_their_interval_and_give_up() {
    let limits = Limits {
        poll_interval: Duration::from_secs(4),
        poll_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let mut site = Site::of_edges(1, "", limits);
    site.edge(1).up = true;
    site.wait_ms(0);
    let dials = site.dialed.len();
    site.wait_ms(3999);
    assert_eq!(site.dialed.len(), dials);
    site.wait_ms(1);
    assert_eq!(site.dialed.len(), dials + 1);
    assert_eq!(ask(&mut site, None), Some(1));
    site.edge(1).silent = true;
    site.cut(1);
    site.edge(1).up = true;
    assert_eq!(ask(&mut site, None), None, "its link is down");
    site.wait_ms(5000);
    site.edge(1).silent = false;
    assert_eq!(ask(&mut site, None), None);
    site.wait_ms(10_000);
    assert_eq!(ask(&mut site, None), Some(1));
}

#[test]
fn without_edges_the_node_names_itself() {
    let mut site = Site::new();
    assert_eq!(ask(&mut site, None), None);
    let question = Question::ServerList {
        stream: None,
        callback: Some("jQuery.cb_1".to_owned()),
        host: "a\"b".to_owned(),
    };
    site.hear(ToNode::Asked { shard: ShardId::NODE, conn: ConnId::accepted(99), question });
    let script = String::from_utf8(site.responses[0].body().to_vec()).unwrap();
    assert!(script.starts_with("jQuery.cb_1({") && script.ends_with("});"), "{script}");
    assert!(script.contains(r#""server":"a\"b""#), "{script}");
}

#[test]
fn an_edge_that_answers_polls_over_a_broken_link_is_not_named() {
    let limits = Limits { link_backoff_min: Duration::from_secs(40), ..Limits::default() };
    let mut site = Site::of_edges(1, "", limits);
    *site.edge(1) = Edge { up: true, stat: "calls=0\n".to_owned(), ..Edge::default() };
    site.wait_ms(0);
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    site.relay(1);
    assert_eq!((ask(&mut site, None), ask(&mut site, Some("cam"))), (Some(1), Some(1)));
    site.cut(1);
    let polls = site.dialed.len();
    site.wait_ms(10_000);
    assert!(site.dialed.len() > polls + 5, "it is polled on");
    assert_eq!((ask(&mut site, None), ask(&mut site, Some("cam"))), (None, None));
}

#[test]
fn a_load_beyond_all_numbers_is_only_the_highest() {
    for mode in ["", "mode='LESS_LOADED_NODE'"] {
        let mut site = loaded(mode, &[(0, 0), (3, 3)]);
        let beyond = "calls=1e30\nsystemCpuLoad=1e30\n";
        site.edge(1).stat = beyond.to_owned();
        site.wait_ms(10_000);
        assert_eq!(picks(&mut site, 3), [2, 2, 2], "{mode}");
        site.edge(2).stat = beyond.to_owned();
        site.wait_ms(10_000);
        assert_eq!(picks(&mut site, 3), [1, 1, 1], "{mode}: sending adds nothing to the highest");
    }
}

#[test]
fn a_server_is_named_as_it_stands_in_a_url() {
    let mut site = Site::new();
    let ours = site.bench.config.addresses[0].to_string();
    for (host, server) in [
        ("2001:db8::9", "[2001:db8::9]"),
        ("192.0.2.9", "192.0.2.9"),
        ("origin.example", "origin.example"),
        ("", &ours),
    ] {
        assert_eq!(named(&mut site, host), server, "{host:?}");
    }
    site.bench.config.addresses.remove(0);
    assert_eq!(named(&mut site, ""), "[2001:db8::1]");
    let node = "<node id='1'><ip>2001:db8::7</ip><ws>8080</ws></node>";
    let xml = format!("<loadbalancer>{node}</loadbalancer>");
    let mut site = Site::with("load_balancing_enabled=true\n", Some(&xml), Limits::default());
    let far: IpAddr = "2001:db8::7".parse().unwrap();
    site.edges.insert(far, Edge { up: true, stat: "calls=0\n".into(), ..Edge::default() });
    site.wait_ms(0);
    assert_eq!(named(&mut site, "origin.example"), "[2001:db8::7]");
}

/// The server in the answer to whoever asked this host.
fn named(site: &mut Site, host: &str) -> String {
    let question = Question::ServerList { stream: None, callback: None, host: host.to_owned() };
    site.hear(ToNode::Asked { shard: ShardId::NODE, conn: ConnId::accepted(99), question });
    body(&site.responses.pop().unwrap())["server"].as_str().unwrap().to_owned()
}

#[test]
fn an_edge_is_polled_with_the_token_that_all_nodes_have() {
    for (own, expected) in [("admin.token=0123456789abcdef\n", Some(1)), ("", None)] {
        let nodes = format!("<node id='1'><ip>{}</ip><ws>8080</ws></node>", edge(1));
        let xml = format!("<loadbalancer>{nodes}</loadbalancer>");
        let properties = format!("load_balancing_enabled=true\n{own}");
        let mut site = Site::with(&properties, Some(&xml), Limits::default());
        let admin_token = Some("Bearer 0123456789abcdef".to_owned());
        let stat = "calls=0\n".to_owned();
        site.edges.insert(edge(1), Edge { up: true, stat, admin_token, ..Edge::default() });
        site.wait_ms(0);
        assert_eq!(ask(&mut site, None), expected, "{own}");
    }
}
