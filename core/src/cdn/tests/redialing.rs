//! A link to an edge that comes and goes as it likes, against a diary of it.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The edge takes connections, or not.
    Listen(bool),
    /// The edge answers nothing, or does.
    Silence(bool),
    /// All connections with the edge break.
    Cut,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::bool::weighted(0.6).prop_map(Step::Listen),
        2 => prop::bool::weighted(0.3).prop_map(Step::Silence),
        3 => Just(Step::Cut),
        6 => (0u64..3_000).prop_map(Step::Wait),
        // Long enough for a link to count as sound, or just not.
        2 => (9_000u64..12_000).prop_map(Step::Wait),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Broken then; dialed again after half of the wait at least, and all of it at most.
    Down {
        since: Instant,
        wait: Duration,
    },
    Opening {
        since: Instant,
    },
    Up {
        since: Instant,
        heard: Instant,
        ping: Instant,
    },
}

struct Model {
    phase: Phase,
    /// The longest wait after the next break.
    wait: Duration,
    reported_down: bool,
    /// Whether the link came up, for each piece of news.
    news: Vec<bool>,
    /// How many dials are accounted for.
    dials: usize,
}

impl Model {
    fn broken(&mut self, at: Instant) {
        let limits = Limits::default();
        if let Phase::Up { since, .. } = self.phase
            && at - since >= limits.link_settle_time
        {
            self.wait = limits.link_backoff_min;
        }
        self.phase = Phase::Down { since: at, wait: self.wait };
        self.wait = (self.wait * 2).min(limits.link_backoff_max);
        if !std::mem::replace(&mut self.reported_down, true) {
            self.news.push(false);
        }
    }

    /// Accounts for all that happened until `end`.
    fn run(&mut self, end: Instant, dialed: &[Instant], edge: &Edge) {
        let limits = Limits::default();
        loop {
            match self.phase {
                Phase::Down { since, wait } => {
                    let Some(at) = dialed.get(self.dials).copied() else {
                        assert!(end < since + wait, "not dialed within {wait:?}");
                        return;
                    };
                    assert!((wait / 2..=wait).contains(&(at - since)), "{:?}", at - since);
                    self.dials += 1;
                    self.phase = Phase::Opening { since: at };
                    if !edge.up {
                        self.broken(at);
                    } else if !edge.silent {
                        let ping = at + limits.link_ping_interval;
                        self.phase = Phase::Up { since: at, heard: at, ping };
                        self.reported_down = false;
                        self.news.push(true);
                    }
                }
                Phase::Opening { since } => {
                    let given_up = since + limits.link_connect_timeout;
                    if given_up > end {
                        return;
                    }
                    self.broken(given_up);
                }
                Phase::Up { since, heard, ping } => {
                    let dead = heard + limits.link_silence_timeout;
                    if dead.min(ping) > end {
                        return;
                    }
                    if dead <= ping {
                        self.broken(dead);
                    } else {
                        let heard = if edge.silent { heard } else { ping };
                        let ping = ping + limits.link_ping_interval;
                        self.phase = Phase::Up { since, heard, ping };
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_a_sound_link(
        up: bool,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let limits = Limits { poll_interval: Duration::from_secs(1_000_000), ..Limits::default() };
        let wait = limits.link_backoff_min;
        let mut site = Site::of_edges(1, "", limits);
        site.edge(1).up = up;
        let phase = Phase::Down { since: site.now(), wait: Duration::ZERO };
        let mut model = Model { phase, wait, reported_down: false, news: Vec::new(), dials: 0 };
        site.wait_ms(0);
        // The second dial of all is the only poll's.
        site.dialed.remove(1);
        for step in [Step::Wait(0)].iter().chain(&steps) {
            match *step {
                Step::Listen(up) => site.edge(1).up = up,
                Step::Silence(silent) => site.edge(1).silent = silent,
                Step::Cut => {
                    site.cut(1);
                    if !matches!(model.phase, Phase::Down { .. }) {
                        model.broken(site.now());
                    }
                }
                Step::Wait(ms) => {
                    site.wait_ms(ms);
                    let dialed: Vec<Instant> = site.dialed.iter().map(|(at, _)| *at).collect();
                    model.run(site.now(), &dialed, &site.edges[&edge(1)]);
                    prop_assert_eq!(dialed.len(), model.dials, "dialed too often");
                }
            }
            let news: Vec<bool> = site
                .events
                .iter()
                .map(|event| matches!(event, Event::LinkUp { .. }))
                .collect();
            prop_assert_eq!(&news, &model.news, "{:?}", step);
        }
    }
}
