//! What a packet costs: the floor, our two servers and others, one after the other on the same
//! core, under the same load, and again.
//!
//! One publisher sends pictures of 9 packets of 1 200 bytes, 30 in a second, and sound 50 times a
//! second. Every viewer is a real one to the server (see [`crate::load`]). The server has one core
//! and, unless the plan says otherwise, one shard, the publisher and the viewers have another core,
//! and rounds alternate between what is measured, so that a machine that changes changes all of it.

mod charts;
mod cores;
mod figures;
mod outcome;
mod table;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use self::figures::Figures;
use self::outcome::Run;
use crate::load::floor::Floor;
use crate::load::{self, Address, Profile, Protocol, Report, Trust};
use crate::process::{self, Runtime, Server};

pub use cores::Cores;
pub use outcome::Outcome;

/// The goals' picture: 9 packets of 1 200 bytes.
const BITRATE: u64 = 2_592_000;
/// A picture of one small packet, so that joins are hardly disturbed by media.
const STORM_BITRATE: u64 = 1;
const STORM_SPAN: Duration = Duration::from_secs(1);
const STORM_JOINS_PER_SECOND: u32 = 100;
/// One of so many packets is opened.
const SAMPLE: u32 = 64;
/// Names that the outcome has for itself.
const TAKEN: [&str; 8] =
    ["floor", "mio", "tokio", "machine", "workload", "joins", "growth", "floor_ns_per_packet"];

/// What is to be measured, and how long.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// One after the other.
    pub contenders: Vec<Contender>,
    /// How many viewers, one number after the other.
    pub viewers: Vec<usize>,
    /// How long packets are counted in each run.
    pub span: Duration,
    /// How often all of it is done.
    pub rounds: usize,
    /// Viewers that come in a second.
    pub joins_per_second: u32,
    /// How long a viewer may take until it has media.
    pub patience: Duration,
    /// So many viewers join a server that has next to no media, 100 in a second; 0: that is not
    /// measured.
    pub storm: usize,
    /// What viewers offer of SRTP, and what the floor seals with.
    pub profile: Profile,
    /// The share of packets that viewers of servers throw away, and ask for again.
    pub loss: f64,
    /// What decides which.
    pub seed: u64,
    /// Shards of our servers, all on the one core.
    pub shards: u16,
    /// Whether viewers speak to our servers over TLS.
    pub tls: bool,
    /// A program that is the floor's process when it is started with `--floor`.
    pub floor: PathBuf,
}

/// What is measured.
#[derive(Clone, PartialEq, Debug)]
pub enum Contender {
    /// Sealing and sending, and nothing else.
    Floor,
    /// One of our servers.
    Ours(Runtime),
    /// Somebody else's, which runs already.
    Peer(Box<Peer>),
}

/// A server that runs already.
#[derive(Clone, PartialEq, Debug)]
pub struct Peer {
    /// What the outcome calls it.
    pub name: String,
    /// Where viewers play.
    pub play: Address,
    /// Where the publisher publishes, if not there.
    pub publish: Option<Address>,
    /// Its process.
    pub pid: u32,
}

impl FromStr for Peer {
    type Err = String;

    /// Reads `NAME=URL,PID` or `NAME=URL,PUBLISHING-URL,PID`.
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "expected NAME=URL,PID or NAME=URL,PUBLISHING-URL,PID";
        let (name, rest) = text.split_once('=').ok_or(shape)?;
        if TAKEN.contains(&name) || name.is_empty() {
            return Err(format!("{name:?} cannot be a peer's name"));
        }
        let words: Vec<&str> = rest.split(',').collect();
        let (play, publish, pid) = match words.as_slice() {
            [play, pid] => (play, None, pid),
            [play, publish, pid] => (play, Some(publish), pid),
            _ => return Err(shape.to_owned()),
        };
        let play: Address = play.parse()?;
        if publish.is_none() && matches!(play.protocol, Protocol::Janus { .. }) {
            return Err(format!("{name} is fed by RTP: expected {name}=URL,rtp://HOST:PORT,PID"));
        }
        Ok(Self {
            name: name.to_owned(),
            play,
            publish: publish.map(|url| url.parse()).transpose()?,
            pid: pid.parse().map_err(|_| format!("{pid} is no process"))?,
        })
    }
}

impl Contender {
    /// What the outcome calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Floor => "floor",
            Self::Ours(Runtime::Mio) => "mio",
            Self::Ours(Runtime::Tokio) => "tokio",
            Self::Peer(peer) => &peer.name,
        }
    }

    fn measure(&self, cores: Cores, plan: &Plan, load: load::Plan) -> Result<Taken, String> {
        match self {
            Self::Floor => {
                let mut command = process::in_session(&plan.floor);
                let start = || Floor::start(command.arg("--floor"), plan.profile);
                let mut floor = cores.start(start)?;
                let report = load::run_floor(&load, &mut floor, |_| {})?;
                let mut taken = Taken::of(&report);
                taken.figures.add_floor(&floor.end()?);
                Ok(taken)
            }
            Self::Ours(runtime) => {
                let shards = format!("shards={}", plan.shards);
                let (scheme, other) = if plan.tls { ("wss", "ws") } else { ("ws", "wss") };
                let [on, off] = [format!("{scheme}.port=0"), format!("{other}.port=off")];
                let options = ["--set", &*shards, "--set", &*on, "--set", &*off];
                let server = cores.start(|| Server::start_quiet(*runtime, &options))?;
                let play = format!("{scheme}://{}", server.addr(scheme)).parse()?;
                // It has made itself a certificate.
                let (trust, pids) = (Trust::Anything, vec![server.pid()]);
                let report = load::run(&load::Plan { play, trust, pids, ..load }, |_| {})?;
                Ok(Taken::of(&report))
            }
            Self::Peer(peer) => {
                cores.take(peer.pid)?;
                let (play, publish) = (peer.play.clone(), peer.publish.clone());
                let pids = vec![peer.pid];
                let report = load::run(&load::Plan { play, publish, pids, ..load }, |_| {})?;
                Ok(Taken::of(&report))
            }
        }
    }
}

impl Plan {
    fn load(&self, viewers: usize) -> Result<load::Plan, String> {
        Ok(load::Plan {
            // Each contender has its own.
            play: "ws://127.0.0.1:1".parse()?,
            publish: None,
            trust: Trust::System,
            name: "bench".to_owned(),
            viewers,
            publishers: 1,
            bitrate: BITRATE,
            span: self.span,
            joins_per_second: self.joins_per_second,
            patience: self.patience,
            sample: SAMPLE,
            pids: Vec::new(),
            profile: self.profile,
            loss: self.loss,
            seed: self.seed,
        })
    }

    /// Measures all of it. `progress` is told in words what is next.
    ///
    /// # Errors
    ///
    /// In words, if it could not begin. What fails later is part of the outcome.
    pub fn measure(&self, mut progress: impl FnMut(&str)) -> Result<Outcome, String> {
        let cores = Cores::find()?;
        for contender in &self.contenders {
            if let Contender::Ours(runtime) = contender {
                let package = runtime.package();
                process::binary(*runtime).map_err(|said| {
                    format!(
                        "{package} cannot be built: {said}\ntry cargo build --package {package}"
                    )
                })?;
            }
        }
        let mut outcome = Outcome::new(self, cores);
        cores.stay()?;
        for round in 1..=self.rounds {
            let mut run = |contender: &Contender, viewers, storm, load: load::Plan| {
                let (name, rounds) = (contender.name(), self.rounds);
                let what = if storm { "viewers join" } else { "viewers" };
                progress(&format!("round {round} of {rounds}: {name}, {viewers} {what}"));
                let taken = contender.measure(cores, self, load).unwrap_or_else(Taken::failed);
                let Taken { figures, srtp, problem } = taken;
                let contender = name.to_owned();
                outcome.runs.push(Run { contender, viewers, storm, figures, srtp, problem });
            };
            for viewers in &self.viewers {
                for contender in &self.contenders {
                    run(contender, *viewers, false, self.load(*viewers)?);
                }
            }
            for contender in self.contenders.iter().filter(|it| **it != Contender::Floor) {
                if self.storm > 0 {
                    let load = load::Plan {
                        bitrate: STORM_BITRATE,
                        span: STORM_SPAN,
                        joins_per_second: STORM_JOINS_PER_SECOND,
                        ..self.load(self.storm)?
                    };
                    run(contender, self.storm, true, load);
                }
            }
        }
        outcome.end();
        Ok(outcome)
    }
}

/// What is kept of a run.
struct Taken {
    figures: Figures,
    /// SRTP profiles that viewers agreed on.
    srtp: Vec<String>,
    /// What went wrong.
    problem: Option<String>,
}

impl Taken {
    fn of(report: &Report) -> Self {
        let ending = report.endings.iter().next();
        let ending = ending.map(|(why, count)| format!("{count} viewers: {why}"));
        let problem = report.problem.clone().or(ending);
        Self { figures: Figures::of(&report.json()), srtp: report.srtp(), problem }
    }

    fn failed(problem: String) -> Self {
        Self { figures: Figures::default(), srtp: Vec::new(), problem: Some(problem) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read() {
        let peer: Peer = "janus=ws://127.0.0.1:80,42".parse().unwrap();
        assert_eq!((peer.name.as_str(), peer.pid, &peer.publish), ("janus", 42, &None));
        let peer: Peer = "janus=ws://127.0.0.1:80,ws://127.0.0.1:81,42".parse().unwrap();
        assert_eq!(peer.publish.map(|publish| publish.socket.port()), Some(81));
        let peer: Peer =
            "whep=http://127.0.0.1/{name}/whep,http://[::1]/{name}/whip,42".parse().unwrap();
        assert_eq!((peer.play.protocol, peer.play.socket.port()), (Protocol::Whep, 80));
        let janus = "janus=janus+http://127.0.0.1:8088/janus?id=1,42".parse::<Peer>();
        assert!(janus.unwrap_err().contains("rtp://HOST:PORT,PID"));
        for wrong in ["", "janus", "janus=ws://127.0.0.1:80", "janus=ws://127.0.0.1:80,x", "a=b,1"]
        {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
        }
        assert!("floor=ws://127.0.0.1:80,42".parse::<Peer>().unwrap_err().contains("floor"));
    }
}
