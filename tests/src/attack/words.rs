//! Dialogues that lead nowhere.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::Work;
use super::datagrams::noise;
use crate::browser::{Shape, connection_request, publish_request};
use crate::websocket::{Incoming, Wire};
use serde_json::{Value, json};

/// What is no message of the dialogue.
const WORDS: [&str; 8] = [
    "",
    "{",
    "[]",
    "{\"message\":7,\"data\":{}}",
    "{\"message\":\"playStream\",\"data\":[null]}",
    "{\"message\":\"publishStream\",\"data\":[{\"name\":[[[[[[[[[]]]]]]]]]}]}",
    "{\"message\":\"setRemoteSDP\",\"data\":[\"a\",\"v=0\"]}",
    "\u{0}\u{fffd}\"\\",
];
/// Offers that are none.
const OFFERS: [&str; 4] =
    ["", "v=0", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 1 2 3\r\na=rtpmap:1 \r\n", "\r\n\r\n\r\n"];
/// Bytes taken in at once.
const ROOM: usize = 16 * 1024;

/// A WebSocket over a connection that waits a moment for everything.
struct Talk {
    socket: TcpStream,
    wire: Wire,
}

impl Talk {
    /// Opens one, if the server has it.
    fn open(work: &Work, number: u64) -> Option<Self> {
        let host = work.target(number)?.tcp.to_string();
        let mut talk = Self { socket: work.dial(number)?, wire: Wire::new(&host, "/") };
        talk.flush()?;
        talk.hear(|heard| *heard == Incoming::Opened)?;
        Some(talk)
    }

    fn say(&mut self, text: &str) -> Option<()> {
        self.wire.send(text);
        self.flush()
    }

    fn ask(&mut self, message: &str, argument: Value) -> Option<()> {
        self.say(&json!({"message": message, "data": [argument]}).to_string())
    }

    fn flush(&mut self) -> Option<()> {
        let outgoing = self.wire.take_outgoing();
        self.socket.write_all(&outgoing).ok()
    }

    /// Waits for this to be heard, but not for long.
    fn hear(&mut self, wanted: impl Fn(&Incoming) -> bool) -> Option<()> {
        let mut room = [0; ROOM];
        loop {
            while let Some(heard) = self.wire.poll() {
                if wanted(&heard) {
                    return Some(());
                }
            }
            let length = self.socket.read(&mut room).ok().filter(|length| *length > 0)?;
            self.wire.receive(room.get(..length).unwrap_or_default());
        }
    }
}

pub(super) fn garbage(work: &Work) {
    work.at_pace(|number| {
        let mut talk = Talk::open(work, number)?;
        let turn = usize::try_from(number).unwrap_or_default() % (WORDS.len() + 1);
        match WORDS.get(turn) {
            Some(words) => talk.say(words)?,
            None => talk.socket.write_all(&noise(500)).ok()?,
        }
        // An answer, or the end.
        talk.hear(|_| true)
    });
}

pub(super) fn taken_name(work: &Work) {
    work.at_pace(|number| take_name(work, number));
}

fn take_name(work: &Work, number: u64) -> Option<()> {
    let mut talk = Talk::open(work, number)?;
    talk.ask("connection", connection_request())?;
    talk.hear(says("getUserData"))?;
    let shape = Shape::audio_video();
    let request = publish_request(&id(), &work.taken, &shape, "v=0\r\n");
    talk.ask("publishStream", request)?;
    talk.hear(says("FAILED"))?;
    let turn = usize::try_from(number).unwrap_or_default() % OFFERS.len();
    let offer = OFFERS.get(turn).copied().unwrap_or_default();
    talk.ask("publishStream", publish_request(&id(), "not-taken", &shape, offer))?;
    talk.hear(says("FAILED"))
}

fn says(what: &'static str) -> impl Fn(&Incoming) -> bool {
    move |heard| if let Incoming::Text(text) = heard { text.contains(what) } else { false }
}

fn id() -> String {
    format!("00000001-e705-11f1-810b-{:012x}", fastrand::u64(..1 << 48))
}
