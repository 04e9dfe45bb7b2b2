//! What targets have in common before and after their bytes.

use std::time::Duration;

use distributary_core::{ConnId, Hangup, Service};
use distributary_tests::browser::{Session, Shape, Source};
use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::{Bare, CONNECTION, UPGRADE, Visitor};
use distributary_tests::sim::crypto::Srtp;

/// Longer than anything waits for anybody: `link.grace` is the longest.
const EVERYTHING_IS_OVER: Duration = Duration::from_secs(120);

/// A node that is alone, with media that any bytes can be.
pub(crate) fn plan() -> Plan {
    Plan { srtp: Srtp::Unchecked, ..Plan::new("node.example") }
}

/// A session that is established.
pub(crate) fn session(bare: &mut Bare) -> ConnId {
    let conn = bare.connect(Service::Ws);
    bare.receive(conn, UPGRADE);
    bare.say(conn, CONNECTION);
    conn
}

/// A page that publishes `name`, connected.
pub(crate) fn publisher(bare: &mut Bare, number: u8, name: &str, shape: Shape) -> Visitor {
    let mut visitor = Visitor::new(bare, number);
    // As little as goes: what targets send is what counts.
    visitor.page.browser.source = Source {
        frame_interval: Duration::from_millis(100),
        packets_per_frame: 1,
        audio_interval: Duration::from_millis(100),
        key_frame_interval: None,
        video_bytes: 20,
    };
    let mut visitors = [visitor];
    established(bare, &mut visitors);
    let [visitor] = &mut visitors;
    let id = visitor.page.browser.publish(bare.now(), name, shape, visitor.addr);
    reaches(bare, &mut visitors, &id, "PUBLISHING");
    let [visitor] = visitors;
    visitor
}

/// A page that plays `name` while `publisher` publishes it; both are given back.
pub(crate) fn viewer(
    bare: &mut Bare,
    publisher: Visitor,
    number: u8,
    name: &str,
    shape: Shape,
) -> [Visitor; 2] {
    let viewer = Visitor::new(bare, number);
    let mut visitors = [viewer, publisher];
    established(bare, &mut visitors);
    let [viewer, _] = &mut visitors;
    let id = viewer.page.browser.play(bare.now(), name, shape, viewer.addr);
    reaches(bare, &mut visitors, &id, "PLAYING");
    let [viewer, publisher] = visitors;
    [publisher, viewer]
}

/// The session of the first page comes up.
fn established(bare: &mut Bare, visitors: &mut [Visitor]) {
    bare.meet(visitors, Duration::ZERO);
    let session = visitors.first().map(|visitor| visitor.page.browser.session());
    assert_eq!(session, Some(Session::Established));
}

/// The first page's stream comes so far.
fn reaches(bare: &mut Bare, visitors: &mut [Visitor], id: &str, status: &str) {
    for _ in 0..200 {
        bare.meet(visitors, Duration::from_millis(10));
        let stream = visitors.first().and_then(|visitor| visitor.page.browser.stream(id));
        if stream.is_some_and(|stream| stream.status() == status) {
            return;
        }
    }
    panic!("{status} never comes");
}

/// Everybody leaves a node that has no links, and nothing is left.
pub(crate) fn leave(bare: &mut Bare) {
    bare.oblige();
    for conn in bare.conns() {
        bare.close(conn, Hangup::Reset);
    }
    bare.advance(EVERYTHING_IS_OVER);
    assert_empty(bare);
    assert_eq!(bare.due(), None, "the node waits for something that nobody is there for");
}

/// Nobody is on the node, by its own account.
pub(crate) fn assert_empty(bare: &mut Bare) {
    for (key, value) in bare.statistics() {
        let counts = !matches!(&*key, "systemCpuLoad" | "core_shards" | "core_accepting");
        assert!(!counts || value == 0, "{key}={value} when everybody has left");
    }
}
