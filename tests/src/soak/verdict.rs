//! What is to be said in the end.

use std::fmt;
use std::time::Duration;

use super::churn::Joins;
use super::health::Node;
use crate::attack::Tries;
use crate::http;
use crate::lossy::Cdn;

/// A picture may stand still for so long.
const STILL_MAX: Duration = Duration::from_secs(3);
/// Words that no log may have.
const WORDS: [&str; 2] = ["ERROR", "panicked"];
/// Complaints of one log.
const COMPLAINTS_MAX: usize = 5;

/// How it went.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// How long viewers came and went.
    pub took: Duration,
    /// What became of them.
    pub joins: Joins,
    /// For how long the picture of a steady viewer stood still at most.
    pub still: Duration,
    /// How often the second edge died.
    pub crashes: u64,
    /// How long after its start it had its streams at the latest.
    pub back_after: Duration,
    /// How often what was tried by those who mean no good.
    pub tries: Vec<Tries>,
    /// Nodes that lived all the while.
    pub nodes: Vec<Node>,
    /// What else was wrong.
    pub problems: Vec<String>,
}

/// Viewers that a node tells of.
pub(super) fn viewers(cdn: &Cdn, node: usize) -> Option<u64> {
    http::figure(cdn.nodes.get(node)?.http(), "streams_viewers").ok()?
}

/// Nodes that are gone, and what logs have that they should not.
pub(super) fn complaints(cdn: &mut Cdn) -> Vec<String> {
    let mut complaints = Vec::new();
    for node in &mut cdn.nodes {
        if !node.server.is_running() {
            complaints.push(format!("{} is gone", node.name));
        }
        let log = node.server.log();
        let wrong = log.lines().filter(|line| WORDS.iter().any(|word| line.contains(word)));
        complaints.extend(wrong.take(COMPLAINTS_MAX).map(|line| format!("{}: {line}", node.name)));
    }
    complaints
}

impl Verdict {
    /// Whether all is as it should be.
    pub fn is_fine(&self) -> bool {
        self.joins.failures() == 0
            && self.joins.held_back == 0
            && self.still <= STILL_MAX
            && self.nodes.iter().all(Node::is_fine)
            && self.problems.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |fine: bool| if fine { "fine  " } else { "FAILED" };
        let Joins { done, cut, held_back, failed, .. } = &self.joins;
        let failures = self.joins.failures();
        let [half, most] = [500, 990].map(|rank| self.joins.wait(rank).unwrap_or_default());
        writeln!(
            f,
            "{} joins: {done} in {:.0} s, {failures} failed, {cut} cut by a crash, {held_back} \
             held back; first picture p50 {half} ms, p99 {most} ms",
            mark(failures + held_back == 0),
            self.took.as_secs_f64(),
        )?;
        for (why, count) in failed {
            writeln!(f, "       {count}: {why}")?;
        }
        let still = self.still.as_secs_f64();
        let fine = mark(self.still <= STILL_MAX);
        writeln!(f, "{fine} picture: a steady viewer's stood still for {still:.2} s at most")?;
        for node in &self.nodes {
            let ((before, after), (early, late)) = (node.descriptors, node.kib);
            let judged = if node.settled { "" } else { " (too short a time to judge by)" };
            writeln!(
                f,
                "{} {}: {before} descriptors before, {after} after; {early} KiB after a sixth of \
                 the time, {late} KiB at the end, {:+.1} %{judged}",
                mark(node.is_fine()),
                node.name,
                node.growth() * 100.0
            )?;
        }
        let (crashes, back) = (self.crashes, self.back_after.as_secs_f64());
        writeln!(
            f,
            "       edge2 was killed {crashes} times, and had its streams {back:.1} s after its \
             start at the latest"
        )?;
        for tries in &self.tries {
            writeln!(f, "       {tries}")?;
        }
        for problem in &self.problems {
            writeln!(f, "FAILED {problem}")?;
        }
        let all = if self.is_fine() { "all is fine" } else { "something is not as it should be" };
        writeln!(f, "{} {all}", mark(self.is_fine()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What makes it bad.
    type Spoil = fn(&mut Verdict);

    fn fine() -> Verdict {
        let node = Node {
            name: "edge1".to_owned(),
            descriptors: (30, 30),
            kib: (100_000, 104_900),
            settled: true,
        };
        Verdict {
            took: Duration::from_secs(600),
            joins: Joins { done: 3, waits: vec![30, 10, 20], ..Joins::default() },
            still: STILL_MAX,
            crashes: 1,
            back_after: Duration::from_secs(1),
            tries: Vec::new(),
            nodes: vec![node],
            problems: Vec::new(),
        }
    }

    #[test]
    fn anything_that_is_wrong_is_told_and_counts() {
        let said = fine().to_string();
        assert!(fine().is_fine() && !said.contains("FAILED"), "{said}");
        assert!(said.contains("p50 20 ms, p99 30 ms"), "{said}");
        let spoil: [(&str, Spoil); 6] = [
            ("1: no media in time", |it| {
                it.joins.failed.insert("no media in time".to_owned(), 1);
            }),
            ("2 held back", |it| it.joins.held_back = 2),
            ("3.10 s", |it| it.still += Duration::from_millis(100)),
            ("31 after", |it| it.nodes[0].descriptors.1 = 31),
            ("+6.0 %", |it| it.nodes[0].kib.1 = 106_000),
            ("edge1: a bad line", |it| it.problems.push("edge1: a bad line".to_owned())),
        ];
        for (words, spoil) in spoil {
            let mut verdict = fine();
            spoil(&mut verdict);
            let said = verdict.to_string();
            assert!(!verdict.is_fine() && said.contains("FAILED"), "{said}");
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn memory_is_not_judged_before_it_has_settled() {
        let mut verdict = fine();
        verdict.nodes[0].kib.1 = 200_000;
        verdict.nodes[0].settled = false;
        assert!(verdict.is_fine(), "{verdict}");
    }
}
