//! Pieces of the shard's work, for benchmarks: not a part of the API.

use std::time::Duration;

use crate::signal::Session;
use crate::tests::Bench;

pub use crate::media::bench::{
    AcceptViewer, Arrivals, Demux, Frame, Open, Remember, Rewrite, Seal, Suite,
};

const CONNECTION: &str = include_str!("../../tests/fixtures/captures/chromium-connection.json");
const PLAY: &str = include_str!("../../tests/fixtures/captures/chromium-play-webrtc.json");

/// A page's dialogue up to the wish to play: read, and answered by the session.
pub struct Dialogue(Bench);

impl Default for Dialogue {
    fn default() -> Self {
        Self(Bench::new())
    }
}

impl Dialogue {
    /// Once. Answers with the number of messages that were understood.
    pub fn run(&mut self) -> usize {
        let Bench { now, config, .. } = &mut self.0;
        let mut session = Session::new(*now, &config.limits);
        *now += Duration::from_millis(1);
        let mut hear = |text| session.handle(*now, text, "token", None, &config.limits).is_ok();
        [CONNECTION, PLAY].into_iter().filter(|text| hear(text)).count()
    }
}
