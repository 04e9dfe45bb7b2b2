//! Who is served by a node that has enough to do, or that ends.

use super::*;

const FULL: &str = "This server is full, try another one or try again later";
const PASSIVE: &str = "This server is out of service, try another one";
const MANY: &str = "Too many streams of this address, end one first";
const ENDS: &str = "This server is shutting down";

fn site(properties: &str) -> Site {
    Site::with(properties, None, Limits::default())
}

fn failed(info: &str) -> (String, String) {
    ("FAILED".to_owned(), info.to_owned())
}

fn stat(site: &mut Site, key: &str) -> String {
    let (shard, conn) = (ShardId::NODE, ConnId::accepted(99));
    site.hear(ToNode::Asked { shard, conn, question: Question::Stat });
    let text = String::from_utf8(site.responses.pop().unwrap().body().to_vec()).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap().to_owned()
}

#[test]
fn one_viewer_too_many_is_refused_and_comes_in_when_another_leaves() {
    let mut site = site("limit.viewers=2\n");
    let publisher = site.join("10.0.0.1");
    site.live(publisher, "p", "a");
    let viewer = site.join("10.0.0.2");
    site.watch(viewer, "v1", "a");
    assert_eq!(stat(&mut site, "core_accepting"), "1");
    // Whoever still waits for a name counts as well.
    site.play(viewer, "v2", "not there");
    assert_eq!(stat(&mut site, "core_accepting"), "0");
    let another = site.join("10.0.0.3");
    site.play(another, "v3", "a");
    assert_eq!(site.status(another, "v3"), failed(FULL));
    assert_eq!(site.status(viewer, "v1").0, "PLAYING");
    site.stop(viewer, "v2");
    site.watch(another, "v4", "a");
    assert_eq!(site.status(another, "v4").0, "PLAYING");
    site.live(another, "p2", "b");
    assert_eq!(site.status(another, "p2").0, "PUBLISHING", "publishers are no viewers");
}

#[test]
fn a_node_that_sends_enough_takes_nobody_new_until_it_sends_less() {
    let mut site = site("limit.bitrate_out=1000000\n");
    let publisher = site.join("10.0.0.1");
    site.live(publisher, "p", "a");
    let viewer = site.join("10.0.0.2");
    let sends = |bits_per_second| ToNode::Sent { shard: ShardId::NODE, bits_per_second };
    site.hear(sends(999_999));
    site.watch(viewer, "v1", "a");
    assert_eq!(site.status(viewer, "v1").0, "PLAYING");
    site.hear(sends(1_000_000));
    assert_eq!(stat(&mut site, "core_bitrate_out"), "1000000");
    site.play(viewer, "v2", "a");
    assert_eq!(site.status(viewer, "v2"), failed(FULL));
    site.publish(viewer, "p2", "b");
    assert_eq!(site.status(viewer, "p2"), failed(FULL));
    // What an origin brings is another matter: viewers are sent here for it.
    let link = site.link("10.0.0.9", "origin");
    site.live(link, "l", "c");
    assert_eq!(site.status(link, "l").0, "PUBLISHING");
    // Whoever sends nothing says nothing.
    site.wait_ms(3_000);
    assert_eq!(stat(&mut site, "core_bitrate_out"), "0");
    site.watch(viewer, "v3", "a");
    assert_eq!(site.status(viewer, "v3").0, "PLAYING");
}

#[test]
fn busy_processors_turn_people_away() {
    let mut site = site("limit.cpu=90\n");
    let publisher = site.join("10.0.0.1");
    site.node.set_cpu_load(89);
    site.live(publisher, "p", "a");
    site.node.set_cpu_load(90);
    site.play(publisher, "v", "a");
    assert_eq!(site.status(publisher, "v"), failed(FULL));
    assert_eq!(stat(&mut site, "core_accepting"), "0");
}

#[test]
fn whoever_came_in_as_a_link_plays_nothing() {
    let mut site = site("limit.sessions=1\n");
    let publisher = site.join("10.0.0.1");
    site.live(publisher, "p", "a");
    let link = site.link("10.0.0.9", "origin");
    site.play(link, "v", "a");
    assert_eq!(site.status(link, "v"), failed("Links are for publishing only"));
    assert!(site.node.plays.is_empty());
}

#[test]
fn sessions_beyond_the_limit_find_the_door_shut_and_links_do_not_count() {
    let mut site = site("limit.sessions=2\n");
    site.link("10.0.0.9", "origin");
    let one = site.join("10.0.0.1");
    assert_eq!(site.doors, []);
    assert_eq!(stat(&mut site, "core_accepting"), "1");
    site.join("10.0.0.2");
    assert_eq!(site.doors, [Door::Full]);
    assert_eq!(stat(&mut site, "core_accepting"), "0", "nobody is to be sent to a closed door");
    site.leave(one);
    assert_eq!(site.doors, [Door::Full, Door::Open]);
    assert_eq!(stat(&mut site, "core_accepting"), "1");
}

fn enforce(site: &mut Site, state: NodeState) {
    let (shard, conn) = (ShardId::NODE, ConnId::accepted(99));
    site.hear(ToNode::Asked { shard, conn, question: Question::Enforce(state) });
    let told = site.responses.pop().unwrap().body().to_vec();
    site.hear(ToNode::Asked { shard, conn, question: Question::State });
    assert_eq!(told, site.responses.pop().unwrap().body());
}

#[test]
fn a_node_out_of_service_takes_links_only_until_it_is_put_back() {
    let mut site = site("");
    let publisher = site.join("10.0.0.1");
    site.live(publisher, "p", "a");
    site.watch(publisher, "v1", "a");
    for _ in 0..2 {
        enforce(&mut site, NodeState::Passive);
    }
    assert_eq!(site.doors, [Door::Passive]);
    assert_eq!(stat(&mut site, "core_accepting"), "0");
    site.play(publisher, "v2", "a");
    assert_eq!(site.status(publisher, "v2"), failed(PASSIVE));
    site.publish(publisher, "p2", "b");
    assert_eq!(site.status(publisher, "p2"), failed(PASSIVE));
    let link = site.link("10.0.0.9", "origin");
    site.live(link, "l", "c");
    assert_eq!(site.status(link, "l").0, "PUBLISHING");
    assert_eq!(site.status(publisher, "v1").0, "PLAYING");
    enforce(&mut site, NodeState::Active);
    assert_eq!(site.doors, [Door::Passive, Door::Open]);
    site.watch(publisher, "v3", "c");
    assert_eq!(site.status(publisher, "v3").0, "PLAYING");
    // A node that ends is not put back.
    site.node.drain(&mut site.bench.ctx());
    enforce(&mut site, NodeState::Active);
    assert_eq!(stat(&mut site, "core_accepting"), "0");
}

#[test]
fn a_node_that_ends_serves_whom_it_has_and_nobody_else() {
    let mut site = site("");
    let publisher = site.join("10.0.0.1");
    site.live(publisher, "p", "a");
    site.watch(publisher, "v1", "a");
    let link = site.link("10.0.0.9", "origin");
    site.node.drain(&mut site.bench.ctx());
    site.settle();
    assert_eq!(site.doors, [Door::Draining]);
    assert_eq!(stat(&mut site, "core_accepting"), "0");
    site.play(publisher, "v2", "a");
    assert_eq!(site.status(publisher, "v2"), failed(ENDS));
    for (session, id) in [(publisher, "p2"), (link, "l")] {
        site.publish(session, id, "b");
        assert_eq!(site.status(session, id), failed(ENDS));
    }
    assert_eq!(site.status(publisher, "v1").0, "PLAYING");
    assert!(site.node.has_viewers());
    site.stop(publisher, "v1");
    assert!(!site.node.has_viewers());
}

#[test]
fn an_address_has_so_many_streams_at_once_on_whatever_sessions() {
    let mut site = site("address.streams=3\nplay.wait=60000\n");
    let [one, two, other] = ["10.0.0.1", "10.0.0.1", "10.0.0.2"].map(|from| site.join(from));
    site.live(one, "p", "a");
    site.watch(two, "v1", "a");
    // Whoever still waits for a name counts as well.
    site.play(two, "v2", "not there");
    site.play(one, "v3", "a");
    site.publish(two, "p2", "b");
    assert_eq!(site.status(one, "v3"), failed(MANY));
    assert_eq!(site.status(two, "p2"), failed(MANY));
    let why = "too many streams of one address (address.streams)".to_owned();
    let refused =
        |event: &&Event| matches!(event, Event::Refused { why: told, .. } if *told == why);
    assert_eq!(site.events.iter().filter(refused).count(), 2);
    site.watch(other, "v", "a");
    assert_eq!(site.status(other, "v").0, "PLAYING", "another does not mind");
    site.stop(two, "v2");
    site.live(one, "p2", "b");
    assert_eq!(site.status(one, "p2").0, "PUBLISHING");
    site.leave(two);
    site.watch(one, "v4", "a");
    assert_eq!(site.status(one, "v4").0, "PLAYING");
    site.play(one, "v5", "a");
    assert_eq!(site.status(one, "v5"), failed(MANY));
}

#[test]
fn a_network_of_ipv6_has_as_many_streams_as_one_address_and_the_exempt_have_any_number() {
    let mut site = site("address.streams=1\naddress.exempt=10.0.0.9\n");
    let [one, two] = ["2001:db8::1", "2001:db8::2"].map(|from| site.join(from));
    site.live(one, "p", "a");
    site.play(two, "v", "a");
    assert_eq!(site.status(two, "v"), failed(MANY));
    let exempt = site.join("10.0.0.9");
    for id in ["v1", "v2", "v3"] {
        site.watch(exempt, id, "a");
        assert_eq!(site.status(exempt, id).0, "PLAYING");
    }
}

#[test]
fn a_link_has_any_number_of_streams_once_it_proved_what_it_is() {
    let mut site = site("address.streams=1\n");
    let claimed = site.link("10.0.0.1", "origin");
    site.live(claimed, "1", "a");
    site.publish(claimed, "2", "b");
    assert_eq!(site.status(claimed, "2"), failed(MANY));
    let proven = authentication::proven(&mut site, "10.0.0.2", "origin");
    for (id, name) in [("3", "c"), ("4", "d")] {
        site.live(proven, id, name);
        assert_eq!(site.status(proven, id).0, "PUBLISHING");
    }
    // It takes nothing from who shares its address.
    let viewer = site.join("10.0.0.2");
    site.watch(viewer, "v", "c");
    assert_eq!(site.status(viewer, "v").0, "PLAYING");
    site.stop(proven, "4");
    site.leave(proven);
    site.play(viewer, "v2", "c");
    assert_eq!(site.status(viewer, "v2"), failed(MANY));
    site.leave(viewer);
    site.leave(claimed);
    assert!(site.node.held.is_empty());
}

#[test]
fn whoever_waits_for_a_backend_has_a_stream_already() {
    let hook = hooks::HOOK;
    let mut site = site(&format!("{hook}address.streams=2\n"));
    site.edges.insert(edge(200), Edge { up: true, ..Edge::default() });
    let page = site.join("10.0.0.1");
    for id in ["1", "2", "3"] {
        site.play(page, id, "a");
    }
    assert_eq!(site.node.questions(), 2);
    assert_eq!(site.status(page, "3"), failed(MANY));
    site.stop(page, "1");
    site.play(page, "4", "a");
    assert_eq!(site.node.questions(), 2);
}
