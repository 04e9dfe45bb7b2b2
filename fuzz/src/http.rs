//! HTTP requests, whole and in pieces.

use std::time::Duration;

use distributary_core::{ConnId, Service};
use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::Bare;

use crate::answers::{Response, responses};
use crate::bytes::Bytes;
use crate::frames::frames;
use crate::room;

/// Two bytes that say where the others are cut, and those: what a far side sends to a listener,
/// requests, bodies and requests sent ahead.
///
/// It is sent twice, at once and in pieces; the answers must be the same, and each well-formed.
pub fn http(data: &[u8]) {
    let mut data = Bytes::new(data);
    let (Some(seed), Some(piece)) = (data.byte(), data.byte()) else { return };
    let sent = data.rest();
    let mut bare = Bare::new(Plan::new("node.example"));
    let at_once = bare.connect(Service::Http);
    bare.receive(at_once, sent);
    let in_pieces = bare.connect(Service::Http);
    let mut cuts = fastrand::Rng::with_seed(seed.into());
    let mut rest = Bytes::new(sent);
    loop {
        let bytes = rest.piece(1 + cuts.usize(0..=piece.into()));
        if bytes.is_empty() {
            break;
        }
        bare.receive(in_pieces, bytes);
    }
    let answers = [at_once, in_pieces].map(|conn| (judge(&mut bare, conn), bare.is_open(conn)));
    let [(whole, _), (pieces, _)] = &answers;
    // What is sent ahead is bounded, and less waits where it comes in pieces: those who send too
    // much ahead may get more answers before they are cut off.
    let common = whole.len().min(pieces.len());
    assert_eq!(whole.get(..common), pieces.get(..common), "cuts change the answers");
    let [(_, whole_open), (_, pieces_open)] = &answers;
    if *whole_open && *pieces_open {
        assert_eq!(whole.len(), pieces.len(), "cuts change how many answers there are");
    }
    // Whatever they said, the node answers the next one.
    assert!(bare.statistics().contains_key("connections"));
    // A session has no end while its far side answers pings; this one does not.
    bare.advance(Duration::from_secs(120));
    assert_eq!(bare.conns(), [], "somebody who says nothing may stay");
    room::leave(&mut bare);
}

fn judge(bare: &mut Bare, conn: ConnId) -> Vec<Response> {
    let bytes = bare.take(conn);
    let (mut responses, rest) = responses(&bytes);
    frames(rest);
    let last = responses.last();
    assert!(last.is_none_or(|last| !last.closes || !bare.is_open(conn)), "goodbye was said");
    // Only who waits is told to go on (RFC 9110, section 10.1.1).
    responses.retain(|response| response.status != 100);
    responses
}
