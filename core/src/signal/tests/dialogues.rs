//! A dialogue in any order of words and silences, against its rules.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What a page may do to a dialogue, and what time may.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Request,
    Ping,
    Pong,
    Report,
    Unusable,
    Garbage,
    /// Lets so many ms pass, stopping at every deadline on the way.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Connect),
        3 => Just(Step::Request),
        3 => select(vec![Step::Ping, Step::Pong, Step::Report, Step::Unusable]),
        1 => Just(Step::Garbage),
        6 => (0u64..9_000).prop_map(Step::Wait),
    ]
}

/// A dialogue by its rules: what it knows is when things happened.
struct Plain {
    now: u64,
    connected: Option<u64>,
    /// When the far side last said anything.
    heard: u64,
    pinged: Vec<u64>,
    keep_alive: Option<(u64, usize)>,
}

impl Plain {
    const PATIENCE: u64 = 10_000;

    /// When the next ping is due, or the end.
    fn deadline(&self) -> Option<u64> {
        match (self.connected, self.keep_alive) {
            (None, _) => Some(Self::PATIENCE),
            (Some(_), None) => None,
            (Some(connected), Some((interval, _))) => {
                Some(self.pinged.last().unwrap_or(&connected) + interval)
            }
        }
    }

    /// What its deadline brings.
    fn alarm(&mut self) -> Result<Option<String>, SessionFault> {
        let Some((_, probes)) = self.keep_alive.filter(|_| self.connected.is_some()) else {
            return Err(SessionFault::Silent);
        };
        let newest = self.pinged.len().checked_sub(probes).map(|at| self.pinged.get(at));
        // Dead is whoever said nothing since the first of as many pings as it is given.
        if newest.is_some_and(|at| at.is_none_or(|at| *at > self.heard)) {
            return Err(SessionFault::Dead);
        }
        self.pinged.push(self.now);
        Ok(Some(ping()))
    }

    /// What a message leads to, in a word.
    fn hear(&mut self, step: Step) -> Result<&'static str, SessionFault> {
        self.heard = self.now;
        let connected = self.connected.is_some();
        match step {
            Step::Connect if connected => Err(SessionFault::ConnectedTwice),
            Step::Connect => {
                self.connected = Some(self.now);
                Ok("getUserData")
            }
            Step::Request if connected => Ok("request"),
            Step::Request => Err(SessionFault::NotConnected),
            Step::Ping => Ok("pong"),
            Step::Pong | Step::Report => Ok("nothing"),
            Step::Unusable => Ok("fail"),
            Step::Garbage | Step::Wait(_) => Err(SessionFault::Malformed),
        }
    }
}

fn said(step: super::Step) -> String {
    match step {
        super::Step::Establish { reply, .. } | super::Step::Reply(reply) => {
            value(&reply)["message"].as_str().unwrap().to_owned()
        }
        super::Step::Request(_) => "request".to_owned(),
        super::Step::Nothing => "nothing".to_owned(),
    }
}

proptest! {
    #[test]
    fn a_dialogue_goes_by_its_rules(
        steps in prop::collection::vec(step(), 1..40),
        keep_alive in prop::option::weighted(0.8, (1u64..8_000, 1u32..4)),
    ) {
        let start = Bench::new().now;
        let limits = Limits {
            session_timeout: Duration::from_millis(Plain::PATIENCE),
            ..Limits::default()
        };
        let at = |ms| start + Duration::from_millis(ms);
        let mut session = Session::new(start, &limits);
        let (mut now, pulse) = (0, keep_alive.map(|(interval, probes)| {
            KeepAlive { interval: Duration::from_millis(interval), probes }
        }));
        let keep_alive = keep_alive.map(|(interval, probes)| (interval, probes as usize));
        let mut plain = Plain { now, connected: None, heard: 0, pinged: vec![], keep_alive };
        for step in steps {
            let text = match step {
                Step::Wait(ms) => {
                    let end = now + ms;
                    while let Some(due) = plain.deadline().filter(|due| *due <= end) {
                        plain.now = due;
                        prop_assert_eq!(session.handle_timeout(at(due - 1)), Ok(None), "early");
                        let outcome = session.handle_timeout(at(due));
                        prop_assert_eq!(&outcome, &plain.alarm());
                        if outcome.is_err() {
                            return Ok(());
                        }
                        prop_assert_eq!(session.next_timeout(), plain.deadline().map(at));
                    }
                    now = end;
                    plain.now = end;
                    continue;
                }
                Step::Connect => capture!("chromium-connection"),
                Step::Request => capture!("chromium-available"),
                Step::Ping => r#"{"message":"ping","data":[null]}"#,
                Step::Pong => r#"{"message":"pong","data":[null]}"#,
                Step::Report => r#"{"message":"pushLogs","data":[{}]}"#,
                Step::Unusable => r#"{"message":"stopStream","data":[{}]}"#,
                Step::Garbage => "[]",
            };
            let heard = session.handle(at(now), text, "token", pulse, &limits).map(said);
            let expected = plain.hear(step).map(str::to_owned);
            prop_assert_eq!(&heard, &expected, "{:?}", step);
            if heard.is_err() {
                return Ok(());
            }
            prop_assert_eq!(session.is_established(), plain.connected.is_some());
            prop_assert_eq!(session.next_timeout(), plain.deadline().map(at));
        }
    }
}
