//! What the shard itself sees to, whatever its parts do: the time, and an end in good order.

use std::time::Duration;

use super::*;
use crate::input::{Flow, Service};
use crate::output::Linger;
use crate::tests::Bench;

const SECOND: Duration = Duration::from_secs(1);

/// A shard with nobody, the moment it was made, and the bounds that it keeps.
fn shard() -> (Shard, Instant) {
    let bench = Bench::new();
    let epoch = Epoch { instant: bench.now, unix: Duration::from_secs(784_111_777) };
    (Shard::new(Arc::new(bench.config), ShardId::NODE, [7; 32], epoch), bench.now)
}

fn accept(shard: &mut Shard, now: Instant, number: u64) {
    let flow =
        Flow { local: ([192, 0, 2, 1], 8080).into(), remote: ([10, 0, 0, 1], 40_000).into() };
    let conn = ConnId::accepted(number);
    shard.handle_input(now, Input::Accepted { conn, service: Service::Http, flow });
}

/// Everything that a shard asks for, and when it wants to be called again.
fn outputs(shard: &mut Shard) -> (Vec<Output>, Option<Instant>) {
    let mut send = SendBuffer::new(1);
    let mut outputs = Vec::new();
    loop {
        let output = shard.poll_output(&mut send);
        if let Output::Timeout(at) = output {
            return (outputs, at);
        }
        outputs.push(output);
        assert!(outputs.len() < 100, "it never comes to rest: {outputs:?}");
    }
}

#[test]
fn time_that_goes_back_counts_as_the_latest_that_was_told() {
    let (mut shard, start) = shard();
    let limits = Bench::new().config.limits;
    shard.handle_input(start + 5 * SECOND, Input::Timeout);
    accept(&mut shard, start, 1);
    let due = start + 5 * SECOND + limits.handshake_timeout;
    assert_eq!(outputs(&mut shard).1, Some(due + limits.timer_slack));
}

#[test]
fn what_may_be_late_has_no_wake_up_of_its_own_if_something_comes_meanwhile() {
    let limits = Bench::new().config.limits;
    for late in [Duration::ZERO, limits.timer_slack] {
        let (mut shard, start) = shard();
        accept(&mut shard, start, 1);
        let due = start + limits.handshake_timeout;
        assert_eq!(outputs(&mut shard).1, Some(due + limits.timer_slack));
        shard.handle_input(due - Duration::from_millis(1), Input::Timeout);
        assert_eq!(outputs(&mut shard).1, Some(due + limits.timer_slack));
        shard.handle_input(due + late, Input::Timeout);
        let (said, next) = outputs(&mut shard);
        assert!(matches!(said[..], [Output::Close { how: Linger::Abort, .. }]), "{said:?}");
        assert_eq!(next, None);
    }
}

#[test]
fn a_shard_without_connections_is_drained_at_once_and_says_so_once() {
    let (mut shard, start) = shard();
    shard.handle_input(start, Input::Command(Command::Drain));
    for _ in 0..2 {
        shard.handle_input(start, Input::Command(Command::Drain));
    }
    let (said, due) = outputs(&mut shard);
    assert!(matches!(said[..], [Output::Event(Event::Drained)]), "{said:?}");
    assert_eq!(due, None);
}
