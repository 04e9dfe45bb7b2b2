//! What viewers notice of a flood, and what it costs the server.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Actor, Attack, Kind, Sort, Target, Tries};
use crate::load::{self, Profile, Report, Trust};
use crate::process::{Runtime, Server};

/// A viewer has media after so long, or never.
const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "attacked";
/// From here on, where no node and no viewer is.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 32, 0, 1);
const ADDRESSES: u32 = 50_000;
/// Viewers and publishers are not counted by their address, those who attack are.
const PROPERTIES: &str = "address.exempt=127.0.0.1";
/// Of what viewers get in peace, they are to get this share at least.
const SHARE_MIN: f64 = 0.99;
/// What the server may have more than in peace: the tables for as many addresses as come.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

/// What is done to one server.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// Its event loop.
    pub runtime: Runtime,
    /// Viewers that play all the while.
    pub viewers: usize,
    /// Bit/s of the publisher's picture.
    pub bitrate: u64,
    /// How long they play, once in peace and once under attack.
    pub span: Duration,
    /// Datagrams in a second: a third like STUN, a third like DTLS, a third like RTP.
    pub datagrams_per_second: u32,
    /// Connections in a second.
    pub connections_per_second: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Figures {
    plan: Plan,
    peace: Report,
    attack: Report,
    tries: Vec<Tries>,
    /// Why it is no success whatever the viewers got, if it is none.
    problem: Option<String>,
}

impl Plan {
    /// Does it. `progress` is called with the share of it that is done; `over` ends it early.
    ///
    /// # Errors
    ///
    /// In words, if there was nothing to measure.
    pub fn measure(
        &self,
        over: &AtomicBool,
        mut progress: impl FnMut(&str, f64),
    ) -> Result<Figures, String> {
        let mut server = Server::start_on_loopback(self.runtime, PROPERTIES)?;
        let plan = self.load(&server)?;
        let mut run = |what: &str| {
            if over.load(Ordering::Relaxed) {
                return Err("interrupted".to_owned());
            }
            load::run(&plan, |now| progress(what, now.share))
        };
        let peace = run("in peace")?;
        let target = Target { tcp: server.addr("ws"), media: server.media() };
        let attack = Attack::start(&[target], &self.actors(), &format!("{NAME}-0"))?;
        let attacked = run("under attack");
        let tries = attack.tries();
        drop(attack);
        let log = server.log();
        let problem = if !server.is_running() {
            Some(format!("the server is gone; its log:\n{log}"))
        } else {
            log.lines().find(|line| line.contains("ERROR")).map(str::to_owned)
        };
        Ok(Figures { plan: *self, peace, attack: attacked?, tries, problem })
    }

    fn load(&self, server: &Server) -> Result<load::Plan, String> {
        Ok(load::Plan {
            play: format!("ws://{}", server.addr("ws")).parse()?,
            publish: None,
            trust: Trust::System,
            name: NAME.to_owned(),
            viewers: self.viewers,
            publishers: 1,
            bitrate: self.bitrate,
            span: self.span,
            joins_per_second: 20,
            patience: PATIENCE,
            sample: 64,
            pids: vec![server.pid()],
            profile: Profile::Any,
            loss: 0.0,
            seed: 1,
        })
    }

    fn actors(&self) -> Vec<Actor> {
        let datagrams = [Sort::Stun, Sort::Hello, Sort::Rtp].map(Kind::Datagram);
        let datagrams = datagrams.map(|kind| (kind, self.datagrams_per_second / 3));
        let connections = (Kind::Connection, self.connections_per_second);
        let all = datagrams.into_iter().chain([connections]);
        all.map(|(kind, per_second)| Actor {
            kind,
            per_second,
            addresses: ADDRESSES,
            first: FIRST_ADDRESS,
        })
        .collect()
    }
}

impl Figures {
    /// What viewers got under attack, as a share of what they got in peace.
    fn share(&self) -> f64 {
        self.attack.packets_per_second() / self.peace.packets_per_second().max(1.0)
    }

    /// What the server has more than in peace.
    fn growth_kib(&self) -> u64 {
        let kib = |report: &Report| report.processes.iter().map(|server| server.kib).sum::<u64>();
        kib(&self.attack).saturating_sub(kib(&self.peace))
    }

    /// Whether viewers got as good as everything, and the server is as it should be.
    pub fn is_fine(&self) -> bool {
        self.problem.is_none()
            && self.growth_kib() <= GROWTH_KIB_MAX
            && self.peace.complete()
            && self.attack.complete()
            && self.share() >= SHARE_MIN
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let tries = self
            .tries
            .iter()
            .map(|it| (it.kind.name().to_owned(), json!({"all": it.all, "through": it.through})));
        let tries: Map<String, Value> = tries.collect();
        json!({
            "runtime": self.plan.runtime.package(),
            "peace": self.peace.json(),
            "attack": self.attack.json(),
            "share": self.share(),
            "tries": tries,
            "fine": self.is_fine(),
            "problem": self.problem,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.plan.runtime.package())?;
        for (what, report) in [("in peace", &self.peace), ("under attack", &self.attack)] {
            let p99 = report.delay_p99().unwrap_or_default().as_secs_f64() * 1e3;
            writeln!(
                f,
                "  {what:13} {} of {} viewers, {:.0} packets a second, {:.4} % lost, delay p99 \
                 {p99:.2} ms",
                report.joined,
                report.viewers,
                report.packets_per_second(),
                report.loss() * 100.0,
            )?;
            for server in &report.processes {
                writeln!(
                    f,
                    "                server: {:.1} % of a core, waited for one {:.1} %, {} KiB",
                    server.used.cpu_percent(),
                    server.used.waited_percent(),
                    server.kib
                )?;
            }
        }
        for tries in &self.tries {
            writeln!(f, "  tried         {tries}")?;
        }
        if let Some(problem) = &self.problem {
            writeln!(f, "  PROBLEM       {problem}")?;
        }
        for report in [&self.peace, &self.attack].into_iter().filter(|it| !it.complete()) {
            writeln!(f, "  INCOMPLETE\n{report}")?;
        }
        let verdict = if self.is_fine() { "fine" } else { "FAILED" };
        writeln!(
            f,
            "  {verdict}: viewers got {:.2} % of what they get in peace",
            self.share() * 1e2
        )
    }
}
