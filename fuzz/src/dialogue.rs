//! The JSON dialogue.

use std::time::Duration;

use distributary_core::Hangup;
use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::Bare;

use crate::answers::responses;
use crate::frames::frames;
use crate::room;

/// A session that is established, and a message a line.
pub fn signal(data: &[u8]) {
    let mut bare = Bare::new(Plan::new("node.example"));
    let conn = room::session(&mut bare);
    for line in data.split(|byte| *byte == b'\n') {
        bare.say(conn, line);
    }
    bare.advance(Duration::from_secs(3));
    bare.close(conn, Hangup::Eof);
    bare.advance(Duration::from_secs(30));
    let answer = bare.take(conn);
    frames(responses(&answer).1);
    room::leave(&mut bare);
}
