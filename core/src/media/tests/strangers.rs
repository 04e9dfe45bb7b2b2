//! What nobody's datagrams cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::{Event, Metadata, Subscriber, span};

use super::stage::{PORT, Stage, address};
use crate::input::Flow;
use crate::limits::Limits;

/// Counts what this thread logs, at whatever level.
struct Lines(Arc<AtomicUsize>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A STUN request that names this fragment, behind as many odd attributes as a datagram has room
/// for: MAPPED-ADDRESS, ALTERNATE-SERVER, and the network's cost without the cost.
fn odd(fragment: &str) -> Vec<u8> {
    let kinds = [0x0001_u16, 0x8023, 0xc057].into_iter().cycle().take(350);
    let mut attributes: Vec<u8> =
        kinds.flat_map(|kind| [kind.to_be_bytes(), [0, 0]].concat()).collect();
    let name = format!("{fragment}:far");
    attributes.extend([0, 6, 0, u8::try_from(name.len()).unwrap()]);
    attributes.extend(name.bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    let head = [&[0, 1], &length[..], &[0x21, 0x12, 0xa4, 0x42], &[9; 12]].concat();
    [head, attributes].concat()
}

#[test]
fn whoever_names_nobody_is_not_heard_and_fills_no_log() {
    let mut stage = Stage::new(Limits::default());
    stage.admit(1);
    let lines = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Lines(Arc::clone(&lines)));
    for datagram in [odd("aaaaaaaab"), odd(""), odd("?"), odd("aaaaaaaaa")] {
        let flow = Flow { local: address(PORT), remote: address(7001) };
        stage.media.handle_datagrams(&mut stage.bench.ctx(), flow, &datagram, datagram.len());
    }
    assert_eq!(lines.load(Ordering::Relaxed), 0);
    assert!(stage.media.by_path.is_empty());
}
