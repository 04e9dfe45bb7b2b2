//! A CDN in bad weather for a long time: packets are lost, an edge dies again and again, viewers
//! come and go, and somebody means no good all along. In the end everything must be as it was.

mod churn;
mod crashes;
mod foes;
mod health;
mod verdict;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::churn::Churn;
use self::crashes::Crashes;
use self::health::Health;
pub use self::verdict::Verdict;
use crate::attack::{Attack, Tries};
use crate::load::{Audience, Place, State};
use crate::lossy::{Cdn, Hop, Make, Terms};
use crate::process::Runtime;

/// Between two looks at what is to be done.
const TURN: Duration = Duration::from_millis(20);
/// Between two measurements, and between two lines.
const SECOND: Duration = Duration::from_secs(1);
const LINE: Duration = Duration::from_secs(10);
/// A viewer has a picture after so long, or never.
const PATIENCE: Duration = Duration::from_secs(10);
/// What everybody's coming leaves to be done is not looked at.
const SETTLE: Duration = Duration::from_secs(2);
/// How long nodes may take to forget everybody: longer than all their deadlines.
const FORGET: Duration = Duration::from_secs(60);
/// Viewers and publishers are not counted by their address, those who mean no good are.
const PROPERTIES: &str = "address.exempt=127.0.0.1";
/// Both numbers are in [`Cdn::nodes`].
const ORIGIN: usize = 0;
const STEADY_EDGE: usize = 1;
const MORTAL_EDGE: usize = 2;

/// How long, and of what.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// The event loop of all nodes.
    pub runtime: Runtime,
    /// How long viewers come and go.
    pub span: Duration,
    /// Time from one death of the second edge to the next.
    pub crash_interval: Duration,
    /// The share of packets that each hop loses.
    pub loss: f64,
    /// What decides which packets are lost.
    pub seed: u64,
    /// Publishers on the origin.
    pub publishers: usize,
    /// Bit/s of each publisher's picture.
    pub bitrate: u64,
    /// Viewers that stay on the first edge.
    pub steady: usize,
    /// Viewers that come to either edge in a second, and soon leave.
    pub joins_per_second: u32,
}

/// What there is to tell while it goes on.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// How it stands, every ten seconds.
    Line(String),
    /// The share of it that is done, every second.
    Share(f64),
}

/// Does it, until the time is over or `over` is true.
///
/// Its processes end with the thread that calls this.
///
/// # Errors
///
/// In words, if it could not begin, or not go on.
pub fn run(plan: &Plan, over: &AtomicBool, tell: &mut dyn FnMut(News)) -> Result<Verdict, String> {
    let mut soak = Soak::begin(plan)?;
    soak.go_on(over, tell)?;
    let was_interrupted = over.load(Ordering::Relaxed);
    soak.end(was_interrupted)
}

struct Soak<'p> {
    plan: &'p Plan,
    // Viewers and publishers say goodbye to nodes that are still there.
    audience: Audience,
    attack: Option<Attack>,
    cdn: Cdn,
    steady: Vec<Place>,
    churn: Churn,
    crashes: Crashes,
    health: Health,
    begun: Instant,
    problems: Vec<String>,
}

impl<'p> Soak<'p> {
    fn begin(plan: &'p Plan) -> Result<Self, String> {
        let terms = Terms { loss: plan.loss, seed: plan.seed, ..Terms::default() };
        let properties = PROPERTIES.to_owned();
        let (runtime, hop) = (plan.runtime, Hop::All);
        let cdn = Cdn::start(&Make { runtime, edges: 2, shards: 2, terms, hop, properties })?;
        let names: Vec<String> =
            (0..plan.publishers).map(|number| format!("soak-{number}")).collect();
        let urls: Vec<_> = cdn.nodes.iter().map(|node| node.url()).collect();
        let origin = urls.first().ok_or("no origin")?;
        let audience = Audience::new(origin, names.clone(), plan.bitrate, &urls, PATIENCE)?;
        let watched = cdn.nodes.iter().take(MORTAL_EDGE);
        let mut soak = Self {
            plan,
            audience,
            attack: None,
            health: Health::new(watched.map(|node| (node.name.clone(), node.server.pid()))),
            cdn,
            steady: Vec::new(),
            churn: Churn::new(plan),
            crashes: Crashes::new(plan),
            begun: Instant::now(),
            problems: Vec::new(),
        };
        soak.crashes.wait_for_streams(&soak.cdn, &mut soak.audience, STEADY_EDGE)?;
        soak.crashes.wait_for_streams(&soak.cdn, &mut soak.audience, MORTAL_EDGE)?;
        for number in 0..plan.steady {
            soak.steady.push(soak.audience.come(STEADY_EDGE, number)?);
        }
        let end = Instant::now() + PATIENCE;
        let watching = |soak: &Self| {
            let mut states = soak.steady.iter().map(|place| soak.audience.state(*place));
            states.all(|state| matches!(state, State::Watching(_)))
        };
        while !watching(&soak) {
            if Instant::now() > end {
                return Err("the steady viewers have no picture".to_owned());
            }
            soak.audience.run_until(Instant::now() + TURN)?;
        }
        soak.audience.run_until(Instant::now() + SETTLE)?;
        soak.health.begin()?;
        soak.attack = Some(foes::start(&soak.cdn, names.first().map_or("", String::as_str))?);
        soak.begun = Instant::now();
        soak.churn.begin(soak.begun);
        soak.crashes.begin(soak.begun);
        Ok(soak)
    }

    fn go_on(&mut self, over: &AtomicBool, tell: &mut dyn FnMut(News)) -> Result<(), String> {
        let (mut second, mut line) = (self.begun + SECOND, self.begun + LINE);
        while self.begun.elapsed() < self.plan.span && !over.load(Ordering::Relaxed) {
            self.audience.run_until(Instant::now() + TURN)?;
            let Self { audience, cdn, churn, crashes, .. } = self;
            crashes.turn(cdn, audience, churn)?;
            churn.turn(audience, [STEADY_EDGE, MORTAL_EDGE], crashes.is_up())?;
            let now = Instant::now();
            if second <= now {
                second += SECOND;
                let share = self.begun.elapsed().as_secs_f64() / self.plan.span.as_secs_f64();
                self.health.look(share)?;
                self.problems.extend(self.audience.problem());
                tell(News::Share(share.min(1.0)));
            }
            if line <= now {
                line += LINE;
                tell(News::Line(self.line()));
            }
        }
        Ok(())
    }

    /// How it stands.
    fn line(&self) -> String {
        let tries: u64 = self.tries().iter().map(|tries| tries.all).sum();
        format!(
            "{:5.0} s  {}  {} packets/s  still {:.2} s at most  {}  {} crashes  {tries} attacks",
            self.begun.elapsed().as_secs_f64(),
            self.churn.line(),
            self.audience.packets(),
            self.longest_still().as_secs_f64(),
            self.health.line(),
            self.crashes.count(),
        )
    }

    fn tries(&self) -> Vec<Tries> {
        self.attack.as_ref().map(Attack::tries).unwrap_or_default()
    }

    fn longest_still(&self) -> Duration {
        let all = self.steady.iter().map(|place| self.audience.longest_still(*place));
        all.max().unwrap_or_default()
    }

    /// Lets everybody go who is not there to stay, and looks at what is left over.
    fn end(mut self, was_interrupted: bool) -> Result<Verdict, String> {
        let took = self.begun.elapsed();
        let (tries, still) = (self.tries(), self.longest_still());
        for place in &self.steady {
            if let State::Over(why) = self.audience.state(*place) {
                self.problems.push(format!("a steady viewer is over: {why}"));
            }
        }
        self.attack = None;
        self.churn.end(&mut self.audience);
        if !was_interrupted {
            let Self { cdn, audience, churn, crashes, .. } = &mut self;
            crashes.end(cdn, audience, churn)?;
        }
        let end = Instant::now() + if was_interrupted { Duration::ZERO } else { FORGET };
        while !self.health.is_as_before()? && Instant::now() < end {
            let span = Instant::now() + SECOND;
            self.audience.run_until(span)?;
        }
        // To ask takes a descriptor too.
        let nodes = self.health.nodes(took);
        let viewers = verdict::viewers(&self.cdn, STEADY_EDGE);
        if was_interrupted {
            self.problems.push("interrupted".to_owned());
        } else if viewers != Some(self.steady.len() as u64) {
            self.problems.push(format!("edge1 tells of {viewers:?} viewers in the end"));
        }
        if !was_interrupted {
            self.problems.extend(verdict::complaints(&mut self.cdn));
        }
        let strange = self.audience.strange();
        self.problems
            .extend(strange.iter().map(|(what, packets)| format!("{packets} packets {what}")));
        Ok(Verdict {
            took,
            joins: self.churn.joins(),
            still,
            crashes: self.crashes.count(),
            back_after: self.crashes.back_after(),
            tries,
            nodes,
            problems: self.problems,
        })
    }
}
