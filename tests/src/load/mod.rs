//! Many viewers of one server, each of them real in all that the server can see, and cheap in all
//! that it cannot: signaling, ICE, DTLS, SRTP and the reports of a browser, but no decoder, and a
//! look into a sample of the packets only. All are counted.
//!
//! How a viewer is spoken to differs from server to server (`signaling`), and nothing else does.
//!
//! str0m does ICE and DTLS and never sees media. What a viewer does with a packet is this module's
//! own, and shares nothing with core, which it judges.

mod address;
mod audience;
mod connection;
mod fleet;
pub mod floor;
mod invitation;
mod keys;
pub(crate) mod plot;
mod profiles;
mod publisher;
mod publishers;
mod quantiles;
mod receiver;
mod report;
mod rtcp;
mod rtp;
mod rtp_source;
mod signaling;
mod srtp;
mod tally;
mod tls;
mod track;
mod transport;
mod viewer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::connection::Server;
use self::fleet::Fleet;
use self::floor::Floor;
use self::publishers::Publishers;
use self::quantiles::Quantiles;
use self::receiver::Scrutiny;
use self::viewer::Ticket;
use crate::browser::{Codec, Shape};
use crate::figures::{Usage, Used, resident_kib};

pub use address::{Address, Protocol};
pub(crate) use audience::{Audience, Farewell, Place, State};
pub use profiles::Profile;
pub use report::{Process, Report};
pub use tls::{Trust, fingerprint};

/// What joins leave to be done is not looked at.
const SETTLE: Duration = Duration::from_secs(1);
/// A stream that is pushed to the viewers' server is on its way for at most so long.
const PUSH: Duration = Duration::from_secs(1);
/// Between two calls for progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// File descriptors of a viewer, and of everything else.
const DESCRIPTORS: u64 = 2;
const DESCRIPTORS_BESIDE: u64 = 64;

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Where viewers play.
    pub play: Address,
    /// Where publishers publish, if not there.
    pub publish: Option<Address>,
    /// Whom to believe that they are these servers.
    pub trust: Trust,
    /// The streams' name, which gets a number appended when there are publishers of our own.
    pub name: String,
    /// How many viewers; they share the streams evenly.
    pub viewers: usize,
    /// How many publishers; without one, somebody else publishes.
    pub publishers: usize,
    /// Bit/s of each publisher's picture.
    pub bitrate: u64,
    /// How long packets are counted.
    pub span: Duration,
    /// Viewers that come in a second.
    pub joins_per_second: u32,
    /// How long a viewer may take until it has media.
    pub patience: Duration,
    /// Every how many packets one is opened.
    pub sample: u32,
    /// Server processes that are watched.
    pub pids: Vec<u32>,
    /// What viewers offer of SRTP.
    pub profile: Profile,
    /// The share of media and reports that viewers throw away unseen, and then ask for again.
    pub loss: f64,
    /// What decides which of them are thrown away.
    pub seed: u64,
}

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// What it is about.
    pub stage: &'static str,
    /// The share of that which is done.
    pub share: f64,
    /// Viewers that have media.
    pub joined: usize,
    /// Viewers that are over.
    pub over: usize,
    /// Packets in the last second that is complete.
    pub packets: u64,
}

/// Does it, and calls `progress` now and then.
///
/// # Errors
///
/// In one sentence, if it could not even be tried, or makes no sense.
pub fn run(plan: &Plan, progress: impl FnMut(Progress)) -> Result<Report, String> {
    if let Some(problem) = plan.problem() {
        return Err(problem);
    }
    make_room(plan.viewers)?;
    let clock = Instant::now();
    let shape = shape();
    let names: Vec<String> = match plan.publishers {
        0 => vec![plan.name.clone()],
        all => (0..all).map(|number| format!("{}-{number}", plan.name)).collect(),
    };
    let server = Server::new(&plan.play, &plan.trust)?;
    let publishers = if plan.publishers > 0 {
        let at = match &plan.publish {
            Some(publish) => Server::new(publish, &plan.trust)?,
            None => Arc::clone(&server),
        };
        let source = publishers::source(plan.bitrate);
        Some(Publishers::start(at, clock, names.clone(), shape.clone(), source)?)
    } else {
        None
    };
    if plan.publish.is_some() {
        std::thread::sleep(PUSH);
    }
    let before = watch(&plan.pids)?;
    let fleet = fleet(plan, clock)?;
    let far = Far::Server(server);
    let run = Run { plan, far, names, before, publishers, fleet, progress, looked: clock };
    run.report()
}

/// The same without a server: what the viewers get is what `floor` sends, which ends with it.
///
/// # Errors
///
/// As for [`run`].
pub fn run_floor(
    plan: &Plan,
    floor: &mut Floor,
    progress: impl FnMut(Progress),
) -> Result<Report, String> {
    make_room(plan.viewers)?;
    let clock = Instant::now();
    let pids = vec![floor.pid()];
    let plan = &Plan { pids, loss: 0.0, joins_per_second: u32::MAX, ..plan.clone() };
    let before = watch(&plan.pids)?;
    let fleet = fleet(plan, clock)?;
    let (names, publishers, far) = (Vec::new(), None, Far::Floor(floor));
    let run = Run { plan, far, names, before, publishers, fleet, progress, looked: clock };
    run.report()
}

/// What publishers send and viewers want.
fn shape() -> Shape {
    Shape::audio_video().only(Codec::H264)
}

fn fleet(plan: &Plan, clock: Instant) -> Result<Fleet, String> {
    let kind = transport::Kind::new(shape(), plan.profile);
    Fleet::new(clock, kind).map_err(|error| error.to_string())
}

/// From whom viewers have what they get.
enum Far<'p> {
    Server(Arc<Server>),
    Floor(&'p mut Floor),
}

/// A run that is under way.
struct Run<'p, P> {
    plan: &'p Plan,
    far: Far<'p>,
    names: Vec<String>,
    before: Vec<Watched>,
    publishers: Option<Publishers>,
    fleet: Fleet,
    progress: P,
    looked: Instant,
}

/// What a look at all viewers tells.
struct Look {
    joined: usize,
    undecided: usize,
    /// What cuts the run short.
    problem: Option<String>,
}

/// A server process at one moment.
struct Watched {
    pid: u32,
    usage: Usage,
    kib: u64,
}

impl Plan {
    /// Why it makes no sense, if it does not.
    pub fn problem(&self) -> Option<String> {
        let publish = self.publish.as_ref().unwrap_or(&self.play);
        let apart = [&self.play, publish].iter().all(|it| it.tells_streams_apart());
        if self.play.protocol == Protocol::Rtp {
            Some("nobody can play from rtp://".to_owned())
        } else if self.publishers > 0 && matches!(publish.protocol, Protocol::Janus { .. }) {
            let what = "nobody publishes by Janus's HTTP API; --publish-url rtp://HOST:PORT \
                        feeds a mountpoint, and --publishers 0 leaves that to others";
            Some(what.to_owned())
        } else if self.publishers > 1 && !apart {
            Some("several publishers need {name} in each URL, or ws://".to_owned())
        } else {
            None
        }
    }
}

impl<P: FnMut(Progress)> Run<'_, P> {
    fn report(mut self) -> Result<Report, String> {
        let began = self.fleet.at();
        let mut problem = self.join()?;
        let (all_in, forwarded) = (watch(&self.plan.pids).unwrap_or_default(), self.packets());
        if problem.is_none() {
            problem = self.pass("settling", SETTLE)?;
        }
        let (from, before) = (self.fleet.at(), watch(&self.plan.pids)?);
        let thread = Usage::of_this_thread()?;
        let (packets, dropped) = (self.packets(), self.fleet.dropped());
        self.fleet.count();
        if problem.is_none() {
            problem = self.pass("counting", self.plan.span)?;
        }
        self.fleet.count_no_further();
        let (to, after) = (self.fleet.at(), watch(&self.plan.pids).unwrap_or_default());
        let thread = Usage::of_this_thread()?.since(&thread);
        let packets = self.packets() - packets;
        let dropped = self.fleet.dropped().saturating_sub(dropped);
        let silent = self.silent(to);
        // The last packets have their time to come, or to be asked for again.
        if problem.is_none() {
            problem = self.pass("waiting for the last", SETTLE)?;
        }
        let endings = self.fleet.endings();
        self.fleet.leave().map_err(|error| error.to_string())?;
        let [pictures, sound] = self.fleet.counted();
        let key_frame_requests = self.publishers.take().map_or(0, Publishers::end);
        Ok(Report {
            viewers: self.plan.viewers,
            joined: self.fleet.joined(),
            endings,
            silent,
            joining: self.last_join().saturating_sub(began),
            join: self.waits(|_, opened| opened, |first, _| first),
            first_packet: self.waits(|asked, _| asked, |first, _| first),
            first_key_frame: self.waits(|asked, _| asked, |_, key_frame| key_frame),
            span: to - from,
            count: pictures + sound,
            pictures,
            delay: Quantiles::of(self.fleet.tally.delays.iter().copied()),
            counted: (seconds(from), seconds(to)),
            thread,
            packets,
            dropped,
            processes: processes([&self.before, &all_in, &before, &after], forwarded),
            profiles: self.fleet.profiles(),
            key_frame_requests,
            problem,
            tally: self.fleet.tally,
        })
    }

    /// Lets viewers come, until each has media or is over. Answers with what cuts the run short.
    fn join(&mut self) -> Result<Option<String>, String> {
        let pace = Duration::from_secs(1) / self.plan.joins_per_second.max(1);
        let begin = Instant::now();
        let mut opened = 0;
        loop {
            let now = Instant::now();
            while opened < self.plan.viewers && begin + pace * number(opened) <= now {
                self.admit(opened);
                opened += 1;
                if opened == self.plan.viewers
                    && let Far::Floor(floor) = &mut self.far
                {
                    floor.begin(self.fleet.at(), &self.fleet.media_ports())?;
                }
            }
            let next = begin + pace * number(opened);
            let looked = now + PROGRESS_INTERVAL;
            self.turn(if opened < self.plan.viewers { next.min(looked) } else { looked })?;
            let all = self.plan.viewers.max(1) as f64;
            let Some(look) = self.look("joining", |joined| joined as f64 / all) else { continue };
            if look.problem.is_some() {
                return Ok(look.problem);
            }
            if opened == self.plan.viewers && look.undecided == 0 {
                return Ok((look.joined == 0).then(|| "no viewer got media".to_owned()));
            }
        }
    }

    fn admit(&mut self, index: usize) {
        let seed = self.plan.seed.wrapping_add(index as u64);
        let (sample, loss) = (self.plan.sample.max(1), self.plan.loss);
        let scrutiny = |publisher| Scrutiny { publisher, sample, loss, seed };
        match &self.far {
            Far::Floor(floor) => {
                let scrutiny = scrutiny(Some(publishers::FIRST));
                self.fleet.seat(floor.seat(index, scrutiny, self.plan.patience));
            }
            Far::Server(server) => {
                let stream = index % self.names.len().max(1);
                let ours = (self.plan.publishers > 0).then(|| publishers::FIRST + number(stream));
                self.fleet.open(&Ticket {
                    server: Arc::clone(server),
                    stream: self.names.get(stream).cloned().unwrap_or_default(),
                    scrutiny: scrutiny(ours),
                    patience: self.plan.patience,
                });
            }
        }
    }

    /// Lets time pass. Answers with what cuts it short.
    fn pass(&mut self, stage: &'static str, span: Duration) -> Result<Option<String>, String> {
        let begin = Instant::now();
        while begin.elapsed() < span {
            let end = (begin + span).min(Instant::now() + PROGRESS_INTERVAL);
            self.turn(end)?;
            let share = begin.elapsed().as_secs_f64() / span.as_secs_f64();
            let look = self.look(stage, |_| share);
            if let Some(problem) = look.and_then(|look| look.problem) {
                return Ok(Some(problem));
            }
        }
        Ok(None)
    }

    fn turn(&mut self, end: Instant) -> Result<(), String> {
        self.fleet.turn(end).map_err(|error| error.to_string())
    }

    /// Looks at all viewers and shows how far the run has come, unless that was done just now.
    /// `share` tells that from the number of viewers with media.
    fn look(&mut self, stage: &'static str, share: impl Fn(usize) -> f64) -> Option<Look> {
        if self.looked.elapsed() < PROGRESS_INTERVAL {
            return None;
        }
        self.looked = Instant::now();
        let (joined, over) = (self.fleet.joined(), self.fleet.over());
        let last = seconds(self.fleet.at()).checked_sub(1);
        let packets = last.and_then(|at| self.fleet.tally.seconds.get(at));
        let packets = packets.map_or(0, |second| second.packets);
        let share = share(joined).min(1.0);
        (self.progress)(Progress { stage, share, joined, over, packets });
        let problem = if over >= self.plan.viewers {
            Some("no viewer is left".to_owned())
        } else {
            self.publishers.as_ref().and_then(Publishers::problem)
        };
        Some(Look { joined, undecided: self.fleet.undecided(), problem })
    }

    fn packets(&self) -> u64 {
        self.fleet.tally.seconds.iter().map(|second| second.packets).sum()
    }

    /// Viewers that are there, but got nothing in the second before `to`.
    fn silent(&self, to: Duration) -> usize {
        let there = self.fleet.viewers.iter().filter(|viewer| viewer.ending.is_none());
        let last = there.filter_map(|viewer| viewer.receiver().map(|it| it.last_packet));
        last.filter(|last| *last + Duration::from_secs(1) < to).count()
    }

    fn last_join(&self) -> Duration {
        let receivers = self.fleet.viewers.iter().filter_map(|viewer| viewer.receiver());
        receivers.filter_map(|it| it.first_packet).max().unwrap_or_default()
    }

    /// From one step of each viewer, which is picked of asking and opening, to another, which is
    /// picked of its first packet and its first key frame.
    fn waits(
        &self,
        from: fn(Duration, Duration) -> Duration,
        to: fn(Option<Duration>, Option<Duration>) -> Option<Duration>,
    ) -> Option<Quantiles> {
        let waits = self.fleet.viewers.iter().filter_map(|viewer| {
            let receiver = viewer.receiver()?;
            let from = from(viewer.times.asked?, viewer.times.opened);
            Some(to(receiver.first_packet, receiver.first_key_frame)?.saturating_sub(from))
        });
        Quantiles::of_durations(waits)
    }
}

fn watch(pids: &[u32]) -> Result<Vec<Watched>, String> {
    let watch =
        |pid: &u32| Ok(Watched { pid: *pid, usage: Usage::of(*pid)?, kib: resident_kib(*pid)? });
    pids.iter().map(watch).collect()
}

/// From looks before the first viewer, after the last one's first packet, and before and after
/// packets were counted. So many packets were forwarded between the first two.
fn processes(looks: [&[Watched]; 4], forwarded: u64) -> Vec<Process> {
    let [idle, all_in, before, after] = looks;
    let of = |(((idle, all_in), before), after): (((&Watched, &Watched), &Watched), &Watched)| {
        let used: Used = after.usage.since(&before.usage);
        let joining = all_in.usage.since(&idle.usage);
        let (kib_before, kib) = (idle.kib, after.kib);
        Process { pid: after.pid, used, joining, forwarded, kib_before, kib }
    };
    idle.iter().zip(all_in).zip(before).zip(after).map(of).collect()
}

/// Raises the limit of file descriptors as far as viewers need it.
fn make_room(viewers: usize) -> Result<(), String> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let needed = DESCRIPTORS * viewers as u64 + DESCRIPTORS_BESIDE;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| error.to_string())?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        return Err(format!(
            "{viewers} viewers need {needed} file descriptors and may have {hard}: \
             `ulimit -Hn {needed}` as root allows them"
        ));
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
        .map_err(|error| format!("{needed} file descriptors: {error}"))
}

fn seconds(at: Duration) -> usize {
    usize::try_from(at.as_secs()).unwrap_or_default()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
