//! An edge that dies without a warning, again and again, and is started again.

use std::time::{Duration, Instant};

use super::churn::Churn;
use super::{MORTAL_EDGE, Plan, TURN};
use crate::http;
use crate::load::Audience;
use crate::lossy::Cdn;

/// How long it is dead.
const DEAD: Duration = Duration::from_secs(2);
/// How long after its start it may be without a stream.
const BACK: Duration = Duration::from_secs(15);
/// Between two looks at that.
const LOOK: Duration = Duration::from_millis(250);

/// When it dies, and when it was back.
#[derive(Debug)]
pub(super) struct Crashes {
    streams: u64,
    interval: Duration,
    due: Instant,
    count: u64,
    back_after: Duration,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Up,
    Dead {
        until: Instant,
    },
    /// It runs, but may have no streams yet.
    Started {
        at: Instant,
        look: Instant,
    },
}

impl Crashes {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            streams: plan.publishers as u64,
            interval: plan.crash_interval,
            due: Instant::now(),
            count: 0,
            back_after: Duration::ZERO,
            state: State::Up,
        }
    }

    /// From now on; the first comes after half the time between two.
    pub(super) fn begin(&mut self, now: Instant) {
        self.due = now + self.interval / 2;
    }

    /// How often it died.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How long after its start it had its streams at the latest.
    pub(super) fn back_after(&self) -> Duration {
        self.back_after
    }

    /// Whether viewers find their streams there.
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Does what is due.
    pub(super) fn turn(
        &mut self,
        cdn: &mut Cdn,
        audience: &mut Audience,
        churn: &mut Churn,
    ) -> Result<(), String> {
        let now = Instant::now();
        match self.state {
            State::Up if self.due <= now => {
                self.due += self.interval;
                self.count += 1;
                let edge = cdn.nodes.get_mut(MORTAL_EDGE).ok_or("no second edge")?;
                edge.server.kill();
                churn.cut(audience, MORTAL_EDGE);
                self.state = State::Dead { until: now + DEAD };
            }
            State::Dead { until } if until <= now => {
                let edge = cdn.nodes.get_mut(MORTAL_EDGE).ok_or("no second edge")?;
                let mut problem = None;
                let start = edge.server.start_again(|| {
                    problem = audience.run_until(Instant::now() + TURN).err().or(problem.take());
                });
                start.and(problem.map_or(Ok(()), Err))?;
                self.state = State::Started { at: Instant::now(), look: now };
            }
            State::Started { at, look } if look <= now => {
                if self.has_streams(cdn, MORTAL_EDGE) {
                    self.back_after = self.back_after.max(at.elapsed());
                    self.state = State::Up;
                } else if at.elapsed() > BACK {
                    return Err(format!("edge2 has no streams {BACK:?} after its start"));
                } else {
                    self.state = State::Started { at, look: now + LOOK };
                }
            }
            State::Up | State::Dead { .. } | State::Started { .. } => {}
        }
        Ok(())
    }

    /// Lets it die no more, and waits until viewers find their streams there.
    pub(super) fn end(
        &mut self,
        cdn: &mut Cdn,
        audience: &mut Audience,
        churn: &mut Churn,
    ) -> Result<(), String> {
        while !self.is_up() {
            audience.run_until(Instant::now() + TURN)?;
            self.turn(cdn, audience, churn)?;
        }
        Ok(())
    }

    /// Waits until all streams can be played at a node.
    pub(super) fn wait_for_streams(
        &self,
        cdn: &Cdn,
        audience: &mut Audience,
        node: usize,
    ) -> Result<(), String> {
        let end = Instant::now() + BACK;
        while !self.has_streams(cdn, node) {
            if Instant::now() > end {
                let log = cdn.nodes.get(node).map(|node| node.server.log()).unwrap_or_default();
                return Err(format!("an edge got no streams; its log:\n{log}"));
            }
            audience.run_until(Instant::now() + LOOK)?;
        }
        Ok(())
    }

    fn has_streams(&self, cdn: &Cdn, node: usize) -> bool {
        let figure = |node| http::figure(node, "streams_webrtc_in").ok().flatten();
        cdn.nodes.get(node).and_then(|node| figure(node.http())) == Some(self.streams)
    }
}
