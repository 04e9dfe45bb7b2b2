//! Settings that change while the node runs.

use super::*;

const PIN: &str = "00";

/// What the file says of an edge.
fn node(n: u8) -> String {
    format!("<node id='{n}'><ip>{}</ip><ws>8080</ws></node>", edge(n))
}

/// Two edges, which are up and have a stream.
fn pushing() -> Site {
    let limits = Limits { poll_interval: Duration::from_secs(100_000), ..Limits::default() };
    let mut site = Site::of_edges(2, "", limits);
    site.edges.insert(edge(3), Edge { stat: "calls=0\n".into(), ..Edge::default() });
    for n in 1..=3 {
        site.edge(n).up = true;
    }
    site.wait_ms(0);
    let page = site.join("10.0.0.1");
    site.live(page, "P", "cam");
    let dialed = |word: &ToMedia| {
        let ToMedia::Dial { peer, node, .. } = word else { return None };
        Some((*peer, u8::try_from(*node).unwrap()))
    };
    for (peer, n) in site.media.iter().filter_map(dialed).collect::<Vec<_>>() {
        site.relay_of(peer, n);
    }
    site.events.clear();
    site
}

#[test]
fn an_edge_that_stays_notices_nothing() {
    let mut site = pushing();
    let (link, words) = (site.link_to(1), site.media.len());
    site.reload(&[node(2), node(1)].concat());
    assert_eq!(site.link_to(1), link);
    assert_eq!(site.media.len(), words, "no relay was touched");
    assert_eq!(site.events, []);
    assert_eq!(site.heard(1, "connection").len(), 1);
    assert_eq!(site.heard(1, "unPublishStream").len(), 0);
    site.wait_ms(10_000);
    assert_eq!(site.events, [], "and it is still pinged");
}

#[test]
fn an_edge_that_is_gone_is_told_so() {
    let mut site = pushing();
    site.reload(&node(1));
    assert_eq!(site.heard(2, "unPublishStream")[0]["name"], "cam");
    let why = "the stream ended".to_owned();
    assert_eq!(site.events, [Event::RelayDown { node: 2, name: "cam".into(), why }]);
    let dials = site.dialed.len();
    site.edge(2).heard.clear();
    site.wait_ms(10_000);
    assert_eq!(site.dialed.len(), dials, "nobody dials it any more");
    assert_eq!(site.edge(2).heard, []);
    assert_eq!(site.heard(1, "unPublishStream").len(), 0);
}

const PATIENT: &str = "drain.timeout=60000\n";

/// The edges of a site that polls them, the second of which has viewers and is taken off the list.
fn leaving() -> Site {
    let mut site = pushing();
    site.bench.config.limits.poll_interval = Duration::from_secs(1);
    site.edge(2).stat = "calls=3\n".into();
    site.reload_with(PATIENT, &node(1));
    site
}

/// How often an edge was told that the stream is over.
fn ended(site: &mut Site, n: u8) -> usize {
    site.heard(n, "unPublishStream").iter().filter(|told| told["name"] == "cam").count()
}

#[test]
fn an_edge_that_is_gone_keeps_what_it_has_until_its_viewers_have_left() {
    let mut site = leaving();
    site.wait_ms(30_000);
    assert_eq!((ended(&mut site, 2), site.events.len()), (0, 0), "it has viewers");
    let host = "origin.example".to_owned();
    let question = Question::ServerList { stream: None, callback: None, host };
    site.edge(1).up = false;
    site.hear(ToNode::Asked { shard: ShardId::NODE, conn: ConnId::accepted(99), question });
    let answer: Value = serde_json::from_slice(site.responses.pop().unwrap().body()).unwrap();
    assert_ne!(answer["server"], edge(2).to_string(), "nobody new is sent there");
    let page = site.join("10.0.0.2");
    site.live(page, "Q", "other");
    assert_eq!(site.heard(2, "publishStream").len(), 1, "nor anything new");
    site.edge(2).stat = "calls=0\n".into();
    site.wait_ms(1_500);
    assert_eq!(ended(&mut site, 2), 1);
    let polls = site.dialed.len();
    site.wait_ms(900);
    assert_eq!(site.dialed.iter().skip(polls).filter(|(_, ip)| *ip == edge(2)).count(), 0);
}

#[test]
fn an_edge_that_is_gone_keeps_what_it_has_for_no_longer_than_a_drain_takes() {
    let mut site = leaving();
    site.wait_ms(59_000);
    assert_eq!(ended(&mut site, 2), 0);
    site.wait_ms(1_000);
    assert_eq!(ended(&mut site, 2), 1);
    let why = "the stream ended".to_owned();
    assert_eq!(site.events, [Event::RelayDown { node: 2, name: "cam".into(), why }]);
}

/// The balancer may have sent somebody there a moment ago.
#[test]
fn an_edge_that_is_gone_has_viewers_for_as_long_as_one_may_be_on_the_way() {
    let mut site = pushing();
    site.bench.config.limits.poll_interval = Duration::from_secs(1);
    site.edge(2).stat = "calls=0\n".into();
    site.reload_with(PATIENT, &node(1));
    let on_the_way = Limits::default().peer_connect_timeout;
    site.wait(on_the_way - Duration::from_millis(100));
    assert_eq!(ended(&mut site, 2), 0);
    site.wait_ms(200);
    assert_eq!(ended(&mut site, 2), 1);
}

#[test]
fn an_edge_that_is_gone_gets_back_what_its_viewers_lost() {
    let mut site = leaving();
    let dials = |site: &Site| {
        let to = |word: &&ToMedia| matches!(word, ToMedia::Dial { node: 2, .. });
        site.media.iter().filter(to).count()
    };
    let before = dials(&site);
    let lost = site.media.iter().find_map(|word| {
        let ToMedia::Dial { peer, node: 2, .. } = word else { return None };
        Some(*peer)
    });
    site.fail(lost.unwrap(), PeerFault::ConsentLost);
    site.wait(Limits::default().relay_retry_interval);
    assert_eq!(dials(&site), before + 1);
    site.relay(2);
    assert_eq!(site.events.last(), Some(&Event::RelayUp { node: 2, name: "cam".into() }));
    assert_eq!(ended(&mut site, 2), 0);
}

#[test]
fn an_edge_that_comes_back_before_it_is_gone_gets_what_came_meanwhile() {
    let mut site = leaving();
    let link = site.link_to(2);
    let page = site.join("10.0.0.2");
    site.live(page, "Q", "other");
    site.reload_with(PATIENT, &[node(1), node(2)].concat());
    assert_eq!(site.link_to(2), link);
    let pushed = site.media.iter().filter(|word| matches!(word, ToMedia::Dial { node: 2, .. }));
    assert_eq!(pushed.count(), 2);
    site.wait_ms(120_000);
    assert_eq!(ended(&mut site, 2), 0);
}

#[test]
fn an_edge_that_is_gone_is_not_dialed_again_when_its_link_breaks() {
    let mut site = leaving();
    let link = site.link_to(2);
    site.node.handle_closed(&mut site.bench.ctx(), link, Hangup::Reset);
    site.settle();
    let dials = site.dialed.len();
    site.wait_ms(10_000);
    let again = site.dialed.iter().skip(dials).filter(|(_, ip)| *ip == edge(2));
    assert_eq!(again.count(), 0);
}

#[test]
fn an_edge_whose_number_is_anothers_now_is_gone_at_once() {
    let mut site = pushing();
    let other = format!("<node id='2'><ip>{}</ip><ws>8080</ws></node>", edge(3));
    site.reload_with(PATIENT, &[node(1), other].concat());
    assert_eq!(ended(&mut site, 2), 1);
}

#[test]
fn what_an_edge_that_is_gone_is_told_waits_until_it_is_written() {
    let mut site = pushing();
    let link = site.link_to(2);
    site.edge(2).slow = true;
    site.reload(&node(1));
    let waiting = site.node.outgoing(link).len();
    assert!(waiting > 100, "{waiting} bytes for the edge");
    site.node.wrote(link, 1);
    assert_eq!(site.node.outgoing(link).len(), waiting - 1);
    site.node.wrote(link, waiting - 1);
    assert_eq!(site.node.outgoing(link), b"");
    assert!(site.node.links.dialer_of(link).is_none(), "nothing is kept of it");
}

#[test]
fn nothing_is_kept_of_a_link_that_breaks_before_its_goodbye_is_written() {
    let mut site = pushing();
    let link = site.link_to(2);
    site.edge(2).slow = true;
    site.reload(&node(1));
    site.node.handle_closed(&mut site.bench.ctx(), link, Hangup::Reset);
    assert_eq!(site.node.outgoing(link), b"");
    assert!(site.node.links.dialer_of(link).is_none());
}

#[test]
fn a_new_edge_is_dialed_and_gets_what_there_is() {
    let mut site = pushing();
    site.reload(&[node(1), node(2), node(3)].concat());
    assert_eq!(site.events, [Event::LinkUp { node: 3 }]);
    site.relay(3);
    assert_eq!(site.heard(3, "publishStream")[0]["name"], "cam");
    assert_eq!(site.heard(1, "publishStream").len(), 1);
}

#[test]
fn another_way_to_an_edge_is_another_link() {
    let way = |ws: u16, wss: u16, flash: u16, pin: &str| {
        let pin = [pin; 32].join(":");
        format!(
            "<node id='1'><ip>{}</ip><ws>{ws}</ws><wss>{wss}</wss><flash>{flash}</flash>\
             <fingerprint>sha-256 {pin}</fingerprint></node>",
            edge(1)
        )
    };
    for (changed, anew) in [
        (way(8080, 8443, 1935, PIN), false),
        (way(8090, 8443, 1936, PIN), false),
        (way(8080, 8444, 1935, PIN), true),
        (way(8080, 8443, 1935, "11"), true),
        (node(1), true),
    ] {
        let mut site = Site::of_edges(1, "", Limits::default());
        site.reload(&way(8080, 8443, 1935, PIN));
        // It does not speak TLS, but its link is dialed.
        *site.edge(1) = Edge { up: true, slow: true, ..Edge::default() };
        site.wait_ms(1000);
        let link = site.link_to(1);
        site.reload(&changed);
        assert_eq!(site.link_to(1) != link, anew, "{changed}");
    }
}

#[test]
fn the_balancer_keeps_what_it_knew_of_an_edge() {
    let mut site = pushing();
    let ask = |site: &mut Site| {
        let host = "origin.example".to_owned();
        let question = Question::ServerList { stream: None, callback: None, host };
        site.hear(ToNode::Asked { shard: ShardId::NODE, conn: ConnId::accepted(99), question });
        let answer = site.responses.pop().unwrap();
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        answer["server"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask(&mut site), edge(1).to_string());
    for n in 1..=2 {
        site.edge(n).silent = true;
    }
    site.reload(&[node(2), node(1)].concat());
    assert_eq!(ask(&mut site), edge(2).to_string(), "the first has one viewer more");
    assert_eq!(ask(&mut site), edge(2).to_string(), "now they are even, and it comes first");
    site.reload(&node(3));
    site.edge(3).silent = true;
    assert_eq!(ask(&mut site), edge(3).to_string());
    site.reload("");
    assert_eq!(ask(&mut site), "origin.example");
}

#[test]
fn a_link_that_stays_goes_by_the_authorities_of_now_when_it_is_dialed_again() {
    let secure = format!("<node id='1'><ip>{}</ip><wss>8443</wss></node>", edge(1));
    let mut site = Site::of_edges(1, "", Limits::default());
    site.reload(&secure);
    let tls = |site: &Site| {
        let link = site.node.links.get(1).expect("the file names it");
        std::sync::Arc::clone(link.dialer.tls().expect("it has <wss>"))
    };
    let before = tls(&site);
    site.reload(&secure);
    assert!(!std::sync::Arc::ptr_eq(&before, &tls(&site)));
}
