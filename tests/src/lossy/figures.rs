//! What is still missing at viewers when every hop lost a share of its packets, and how much later
//! the others came.

use std::time::Duration;

use serde_json::{Value, json};

use super::cdn::{Cdn, Hop, Make};
use super::path::Terms;
use crate::load::{self, Profile, Trust};
use crate::process::Runtime;

/// A viewer has media after so long, or never.
const SOON: Duration = Duration::from_secs(45);
/// Handshakes lose packets too: a stream may come to the edge later than its viewers. DTLS sends
/// again after 1, 2, 4 and 8 s (RFC 6347, section 4.2.4.1), and a link tries anew after 15.
const PROPERTIES: &str = "play.wait=30000";
const NAME: &str = "lossy";
/// What a hop may lose, each with what may be missing at viewers then, both as shares.
const GOALS: [(f64, f64); 3] = [(0.01, 0.000_1), (0.05, 0.001), (0.1, 0.01)];

/// What is measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The event loop of both servers.
    pub runtime: Runtime,
    /// The share that each hop loses, each way.
    pub loss: f64,
    /// Where it is lost.
    pub hop: Hop,
    /// How long each hop takes, each way.
    pub delay: Duration,
    /// What decides which packets are lost.
    pub seed: u64,
    /// Viewers on the edge.
    pub viewers: usize,
    /// Publishers on the origin.
    pub publishers: usize,
    /// Bit/s of each publisher's picture.
    pub bitrate: u64,
    /// How long packets are counted.
    pub span: Duration,
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    /// What was measured.
    pub plan: Plan,
    /// The share of packets with pictures that never came.
    pub pictures: f64,
    /// The same of sound, which nobody asks for again, and of pictures together.
    pub all: f64,
    /// From publisher to viewer, 99 of 100 packets took no longer.
    pub p99: Duration,
    /// Why the figures mean little, if they do.
    pub problem: Option<String>,
}

impl Plan {
    /// Measures it on a CDN of its own.
    ///
    /// # Errors
    ///
    /// In words, if there was nothing to measure.
    pub fn measure(&self) -> Result<Figures, String> {
        let terms =
            Terms { loss: self.loss, seed: self.seed, delay: self.delay, ..Terms::default() };
        let (runtime, hop, properties) = (self.runtime, self.hop, PROPERTIES.to_owned());
        let cdn = Cdn::start(&Make { runtime, edges: 1, shards: 1, terms, hop, properties })?;
        let [origin, edge] = &*cdn.nodes else { return Err("no origin and edge".to_owned()) };
        let complaint =
            |what: String| format!("{what}\n{}\n{}", origin.server.log(), edge.server.log());
        let plan = load::Plan {
            play: edge.url(),
            publish: Some(origin.url()),
            trust: Trust::System,
            name: NAME.to_owned(),
            viewers: self.viewers,
            publishers: self.publishers,
            bitrate: self.bitrate,
            span: self.span,
            joins_per_second: 20,
            patience: SOON,
            // Every packet's delay is looked at.
            sample: 1,
            pids: Vec::new(),
            profile: Profile::Any,
            loss: 0.0,
            seed: self.seed,
        };
        let report = load::run(&plan, |_| ()).map_err(&complaint)?;
        let p99 =
            report.delay_p99().ok_or_else(|| complaint(format!("no packet came\n{report}")))?;
        let problem = if !report.complete() {
            Some(format!("not every viewer had media to the end\n{report}"))
        } else if report.saturated() {
            Some("the viewers had no time left".to_owned())
        } else {
            None
        };
        let (pictures, all) = (report.loss_of_pictures(), report.loss());
        Ok(Figures { plan: self.clone(), pictures, all, p99, problem })
    }
}

impl Figures {
    /// The share of pictures that may be missing at most, for losses that are not beyond all hope.
    pub fn goal(&self) -> Option<f64> {
        let reached = |(loss, _): &&(f64, f64)| self.plan.loss <= *loss;
        GOALS.iter().find(reached).map(|(_, goal)| *goal)
    }

    /// Whether no more is missing than may be.
    pub fn is_fine(&self) -> bool {
        self.problem.is_none() && self.goal().is_none_or(|goal| self.pictures < goal)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "runtime": self.plan.runtime.package(),
            "loss": self.plan.loss,
            "delay_ms": ms(self.plan.delay),
            "missing_of_pictures": self.pictures,
            "missing": self.all,
            "p99_ms": ms(self.p99),
            "goal": self.goal(),
            "fine": self.is_fine(),
            "problem": self.problem,
        })
    }
}

/// For people. Delay is told against that of the first row of the same runtime.
pub fn table(rows: &[Figures]) -> String {
    let mut text =
        "                     lost on      pictures   goal     with sound   delay p99   added\n\
                    runtime              each hop     missing             missing\n"
            .to_owned();
    for row in rows {
        let first = rows.iter().find(|it| it.plan.runtime == row.plan.runtime).unwrap_or(row);
        let goal = row.goal().map_or_else(|| "none".to_owned(), percent);
        text.push_str(&format!(
            "{:18}  {:>8} {:>12}   {goal:8} {:>10} {:>8.2} ms {:>+8.2} ms  {}\n",
            row.plan.runtime.package(),
            percent(row.plan.loss),
            percent(row.pictures),
            percent(row.all),
            ms(row.p99),
            ms(row.p99) - ms(first.p99),
            row.verdict(),
        ));
    }
    text
}

impl Figures {
    fn verdict(&self) -> &str {
        match &self.problem {
            Some(problem) => problem,
            None if self.is_fine() => "fine",
            None => "MISSED",
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.4} %", share * 100.0)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(loss: f64, pictures: f64) -> Figures {
        let plan = Plan {
            runtime: Runtime::Mio,
            loss,
            hop: Hop::All,
            delay: Duration::ZERO,
            seed: 1,
            viewers: 1,
            publishers: 1,
            bitrate: 1,
            span: Duration::from_secs(1),
        };
        let p99 = Duration::from_millis(if loss > 0.0 { 30 } else { 10 });
        Figures { plan, pictures, all: pictures, p99, problem: None }
    }

    #[test]
    fn what_may_be_missing_depends_on_what_was_lost() {
        for (loss, least) in [(0.0, 0.000_1), (0.01, 0.000_1), (0.05, 0.001), (0.1, 0.01)] {
            assert!(figures(loss, least * 0.99).is_fine(), "{loss}");
            assert!(!figures(loss, least).is_fine(), "{loss}");
        }
        assert!(figures(0.3, 0.5).is_fine());
        let void = Figures { problem: Some("void".to_owned()), ..figures(0.0, 0.0) };
        assert!(!void.is_fine());
    }

    #[test]
    fn the_table_tells_delay_against_its_first_row() {
        let said = table(&[figures(0.0, 0.0), figures(0.1, 0.02)]);
        let rows: Vec<&str> = said.lines().skip(2).collect();
        assert!(rows[0].contains("+0.00 ms") && rows[0].ends_with("fine"), "{said}");
        assert!(rows[1].contains("+20.00 ms") && rows[1].ends_with("MISSED"), "{said}");
    }
}
