//! What came of a bench, for programs.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value, json};

use super::figures::{Figures, round};
use super::{Contender, Cores, Plan};
use crate::figures::machine;

/// Viewers for whom the one figure of the floor stands, where there are so many.
const GOAL_VIEWERS: usize = 500;
/// A server or viewers that were kept from their core this long were disturbed, in % of the time.
/// What waits does more at once, so a disturbed figure may as well be too low.
const DISTURBED_PERCENT: f64 = 10.0;
/// A server that used so much of its core had no time left.
const BUSY_PERCENT: f64 = 90.0;
/// A share of packets that may be lost without a word.
const LOSS_NOTED: f64 = 1e-6;

/// One run against one contender.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) contender: String,
    pub(super) viewers: usize,
    /// Whether it was about joins.
    pub(super) storm: bool,
    pub(super) figures: Figures,
    pub(super) srtp: Vec<String>,
    pub(super) problem: Option<String>,
}

/// What came of all runs.
#[derive(Debug)]
pub struct Outcome {
    pub(super) contenders: Vec<String>,
    pub(super) viewers: Vec<usize>,
    pub(super) runs: Vec<Run>,
    rounds: usize,
    machine: Value,
    workload: Value,
}

/// All rounds of one contender at one number of viewers.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row {
    pub(super) contender: String,
    pub(super) viewers: usize,
    pub(super) figures: Figures,
    /// Its cost in floors.
    pub(super) ratio: Option<f64>,
    /// What has to be known to judge the figures.
    pub(super) notes: Vec<String>,
    /// The cheapest and the dearest round.
    range: Option<(f64, f64)>,
    /// How many rounds count.
    rounds: usize,
    srtp: BTreeSet<String>,
}

impl Outcome {
    pub(super) fn new(plan: &Plan, cores: Cores) -> Self {
        let mut machine = machine();
        put(&mut machine, "processor", processor().into());
        put(&mut machine, "kernel", read("/proc/sys/kernel/osrelease").into());
        put(&mut machine, "load_average_before", load_average());
        put(&mut machine, "server_core", cores.server.into());
        put(&mut machine, "load_core", cores.load.into());
        Self {
            contenders: plan.contenders.iter().map(|it| it.name().to_owned()).collect(),
            viewers: plan.viewers.clone(),
            runs: Vec::new(),
            rounds: plan.rounds,
            machine,
            workload: json!({
                "publishers": 1,
                "video_bits_per_second": super::BITRATE,
                "packets_per_second_and_viewer": 320,
                "seconds": plan.span.as_secs_f64(),
                "rounds": plan.rounds,
                "joins_per_second": plan.joins_per_second,
                "shards": plan.shards,
                "tls": plan.tls,
                "srtp": plan.profile.name(),
                "loss": plan.loss,
                "seed": plan.seed,
            }),
        }
    }

    pub(super) fn end(&mut self) {
        put(&mut self.machine, "load_average_after", load_average());
    }

    /// Whether there is a figure for everything that was to be measured.
    pub fn complete(&self) -> bool {
        let rows = self.rows();
        rows.len() == self.contenders.len() * self.viewers.len()
            && rows.iter().all(|row| row.figures.get("cpu_ns_per_packet").is_some())
    }

    /// What went wrong, each with where it did.
    pub fn problems(&self) -> Vec<String> {
        let problem = |run: &Run| {
            let problem = run.problem.as_ref()?;
            Some(format!("{}, {} viewers: {problem}", run.contender, run.viewers))
        };
        self.runs.iter().filter_map(problem).collect()
    }

    /// All rows about media, each contender's together.
    pub(super) fn rows(&self) -> Vec<Row> {
        let rows = self.contenders.iter().flat_map(|contender| {
            self.viewers.iter().filter_map(|viewers| self.row(contender, *viewers, false))
        });
        rows.collect()
    }

    /// All rows about joins.
    pub(super) fn storms(&self) -> Vec<Row> {
        let stormed: BTreeSet<usize> =
            self.runs.iter().filter(|run| run.storm).map(|run| run.viewers).collect();
        let rows = self.contenders.iter().flat_map(|contender| {
            stormed.iter().filter_map(|viewers| self.row(contender, *viewers, true))
        });
        rows.collect()
    }

    fn of(&self, contender: &str, viewers: usize, storm: bool) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| {
            run.contender == contender && run.viewers == viewers && run.storm == storm
        })
    }

    fn row(&self, contender: &str, viewers: usize, storm: bool) -> Option<Row> {
        let runs: Vec<&Run> = self.of(contender, viewers, storm).collect();
        let rounds: Vec<Figures> = runs
            .iter()
            .map(|run| run.figures.clone())
            .filter(|figures| *figures != Figures::default())
            .collect();
        runs.first()?;
        let failed = runs.len() - rounds.len();
        let (calm, disturbed): (Vec<Figures>, Vec<Figures>) =
            rounds.into_iter().partition(|round| disturbance(round).is_none());
        let left_out = if calm.is_empty() { 0 } else { disturbed.len() };
        let rounds = if calm.is_empty() { disturbed } else { calm };
        let figures = Figures::merge(&rounds);
        let costs = rounds.iter().filter_map(|round| round.get("cpu_ns_per_packet"));
        let range = costs.clone().min_by(f64::total_cmp).zip(costs.max_by(f64::total_cmp));
        let floor = match contender == Contender::Floor.name() {
            true => figures.get("cpu_ns_per_packet"),
            false => self.floor(viewers),
        };
        let cost = figures.get("cpu_ns_per_packet");
        let mut notes = notes(&figures, viewers);
        if left_out > 0 {
            notes.push(format!("{left_out} of {} rounds were disturbed and left out", runs.len()));
        }
        if failed > 0 {
            notes.push(format!("{failed} of {} rounds failed", runs.len()));
        }
        Some(Row {
            contender: contender.to_owned(),
            viewers,
            ratio: cost.zip(floor).map(|(cost, floor)| cost / floor).filter(|_| !storm),
            figures,
            notes,
            range,
            rounds: rounds.len(),
            srtp: runs.iter().flat_map(|run| run.srtp.iter().cloned()).collect(),
        })
    }

    /// What the floor needs for a packet to one of so many viewers.
    fn floor(&self, viewers: usize) -> Option<f64> {
        let row = self.row(Contender::Floor.name(), viewers, false)?;
        row.figures.get("cpu_ns_per_packet")
    }

    /// Cost at the most viewers, in costs at the fewest.
    pub(super) fn growth(&self, contender: &str) -> Option<f64> {
        let cost = |viewers: Option<&usize>| {
            self.row(contender, *viewers?, false)?.figures.get("cpu_ns_per_packet")
        };
        let (fewest, most) = (self.viewers.iter().min(), self.viewers.iter().max());
        (fewest < most).then(|| Some(cost(most)? / cost(fewest)?)).flatten()
    }

    /// Where it was measured, which a picture stands under.
    pub(super) fn place(&self) -> String {
        let (processor, kernel) = (self.of_machine("processor"), self.of_machine("kernel"));
        format!("{processor}, Linux {kernel}, {} rounds", self.rounds)
    }

    /// The same with what else the machine had to do, which a table stands under.
    pub(super) fn heading(&self) -> String {
        let [before, after] = ["load_average_before", "load_average_after"];
        let (before, after) = (self.of_machine(before), self.of_machine(after));
        format!("{}; load average {before} before and {after} after", self.place())
    }

    fn of_machine(&self, key: &str) -> &str {
        self.machine.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// All of it for programs.
    pub fn json(&self) -> Value {
        let mut all = Map::new();
        all.insert("machine".to_owned(), self.machine.clone());
        all.insert("workload".to_owned(), self.workload.clone());
        let at_goal = self.floor(GOAL_VIEWERS);
        let floor = at_goal.or_else(|| self.floor(*self.viewers.iter().max()?));
        all.insert("floor_ns_per_packet".to_owned(), floor.into());
        for contender in &self.contenders {
            let rows = self.viewers.iter().filter_map(|it| self.row(contender, *it, false));
            let rows: Map<String, Value> =
                rows.map(|row| (row.viewers.to_string(), row.json())).collect();
            all.insert(contender.clone(), rows.into());
        }
        let storms = self.storms().into_iter();
        let storms: Map<String, Value> =
            storms.map(|row| (row.contender.clone(), row.json())).collect();
        all.insert("joins".to_owned(), storms.into());
        let growth = self.contenders.iter().filter_map(|contender| {
            Some((contender.clone(), round(self.growth(contender)?).into()))
        });
        all.insert("growth".to_owned(), Value::Object(growth.collect()));
        all.insert("problems".to_owned(), self.problems().into());
        all.into()
    }
}

impl Row {
    fn json(&self) -> Value {
        let mut row = self.figures.json();
        row.insert("viewers".to_owned(), self.viewers.into());
        row.insert("rounds".to_owned(), self.rounds.into());
        row.insert("ratio_to_floor".to_owned(), self.ratio.map(round).into());
        row.insert("notes".to_owned(), self.notes.clone().into());
        row.insert("srtp".to_owned(), self.srtp.iter().cloned().collect::<Vec<_>>().into());
        if let Some((least, most)) = self.range {
            row.insert("cpu_ns_per_packet_range".to_owned(), json!([least, most]));
        }
        row.into()
    }
}

/// What has to be known to judge figures.
fn notes(figures: &Figures, viewers: usize) -> Vec<String> {
    let mut notes = Vec::new();
    let disturbance = disturbance(figures);
    // Where others had its core, that it had no time left says nothing of the server.
    let busy = figures.get("core_percent").is_some_and(|core| core > BUSY_PERCENT);
    if busy || (figures.is("saturated") && disturbance.is_none()) {
        notes.push("saturated".to_owned());
    }
    if let Some(waited) = disturbance {
        notes.push(format!("disturbed: kept from a core {waited:.0} % of the time"));
    }
    let missing = viewers as f64 - figures.get("joined").unwrap_or_default();
    if missing > 0.0 {
        notes.push(format!("{missing:.0} viewers got nothing"));
    }
    if figures.is("silent") {
        notes.push("viewers got nothing in the last second".to_owned());
    }
    if figures.get("loss").is_some_and(|loss| loss > LOSS_NOTED) {
        notes.push("loss".to_owned());
    }
    if figures.is("refused") || figures.is("altered") {
        notes.push("packets were not authentic".to_owned());
    }
    if figures.is("load_saturated") {
        notes.push("the viewers had no time left".to_owned());
    }
    if figures.is("load_dropped") {
        notes.push("the viewers' sockets had no room".to_owned());
    }
    notes
}

/// How long server or viewers were kept from their core, in %, if that was too long.
fn disturbance(figures: &Figures) -> Option<f64> {
    let waited = ["waited_percent", "load_waited_percent"].map(|name| figures.get(name));
    let waited = waited.into_iter().flatten().max_by(f64::total_cmp)?;
    (waited > DISTURBED_PERCENT).then_some(waited)
}

fn put(value: &mut Value, key: &str, of: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), of);
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The three averages of how many threads wanted a core.
fn load_average() -> Value {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ").into()
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.unwrap_or("unknown processor").trim_start_matches(['\t', ' ', ':']).to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::Profile;
    use crate::process::Runtime;

    pub(in crate::bench) fn outcome(costs: &[(&str, usize, Option<f64>)]) -> Outcome {
        let plan = Plan {
            contenders: vec![Contender::Floor, Contender::Ours(Runtime::Mio)],
            viewers: vec![100, 500],
            span: Duration::from_secs(1),
            rounds: 1,
            joins_per_second: 100,
            patience: Duration::from_secs(1),
            storm: 0,
            profile: Profile::Gcm128,
            loss: 0.0,
            seed: 1,
            shards: 1,
            tls: false,
            floor: "bench".into(),
        };
        let mut outcome = Outcome::new(&plan, Cores { server: 0, load: 1 });
        for (contender, viewers, cost) in costs {
            let report = cost.map_or(json!({}), |cost| {
                json!({
                    "servers": [{"cpu_ns_per_packet": cost, "saturated": cost > 5_000.0}],
                    "loss": 0.0, "joined": viewers, "packets": 320 * viewers, "seconds": 1.0,
                })
            });
            outcome.runs.push(Run {
                contender: (*contender).to_owned(),
                viewers: *viewers,
                storm: false,
                figures: Figures::of(&report),
                srtp: vec!["AEAD_AES_128_GCM".to_owned()],
                problem: cost.is_none().then(|| "it is gone".to_owned()),
            });
        }
        outcome.end();
        outcome
    }

    #[test]
    fn rows_are_told_in_floors() {
        let outcome = outcome(&[
            ("floor", 100, Some(800.0)),
            ("mio", 100, Some(1_000.0)),
            ("floor", 500, Some(500.0)),
            ("mio", 500, Some(9_000.0)),
            ("floor", 500, Some(700.0)),
            ("mio", 500, Some(9_000.0)),
        ]);
        assert!(outcome.complete());
        let json = outcome.json();
        assert_eq!(json["floor_ns_per_packet"], 600.0, "{json:#}");
        assert_eq!(json["mio"]["100"]["ratio_to_floor"], 1.25, "{json:#}");
        assert_eq!(json["mio"]["500"]["ratio_to_floor"], 15.0, "{json:#}");
        assert_eq!(json["mio"]["500"]["packets_per_second_and_viewer"], 320.0, "{json:#}");
        assert_eq!(json["mio"]["500"]["notes"], json!(["saturated"]), "{json:#}");
        assert_eq!(json["mio"]["100"]["notes"], json!([]), "{json:#}");
        assert_eq!(json["floor"]["500"]["cpu_ns_per_packet_range"], json!([500.0, 700.0]));
        assert_eq!(json["growth"]["mio"], 9.0, "{json:#}");
    }

    #[test]
    fn rounds_that_were_disturbed_do_not_count_beside_others() {
        let mut outcome = outcome(&[]);
        let round = |contender: &str, cost: f64, waited: f64| Run {
            contender: contender.to_owned(),
            viewers: 100,
            storm: false,
            figures: Figures::of(&json!({
                "joined": 100,
                "servers": [{"cpu_ns_per_packet": cost, "used": {"waited_percent": waited}}],
            })),
            srtp: Vec::new(),
            problem: None,
        };
        outcome.runs =
            vec![round("floor", 900.0, 1.0), round("floor", 400.0, 80.0), round("mio", 90.0, 80.0)];
        let json = outcome.json();
        let left_out = json!(["1 of 2 rounds were disturbed and left out"]);
        assert_eq!(json["floor"]["100"]["notes"], left_out, "{json:#}");
        assert_eq!(json["floor"]["100"]["cpu_ns_per_packet"], 900.0, "{json:#}");
        assert_eq!(json["mio"]["100"]["ratio_to_floor"], 0.1, "{json:#}");
        let alone = json!(["disturbed: kept from a core 80 % of the time"]);
        assert_eq!(json["mio"]["100"]["notes"], alone, "{json:#}");
    }

    #[test]
    fn what_failed_is_told() {
        let outcome = outcome(&[
            ("floor", 100, Some(800.0)),
            ("mio", 100, None),
            ("mio", 100, Some(1_000.0)),
            ("floor", 500, Some(500.0)),
            ("mio", 500, None),
        ]);
        assert!(!outcome.complete());
        let json = outcome.json();
        assert_eq!(json["mio"]["100"]["notes"], json!(["1 of 2 rounds failed"]), "{json:#}");
        assert_eq!(json["mio"]["500"]["cpu_ns_per_packet"], Value::Null, "{json:#}");
        assert_eq!(json["problems"][1], "mio, 500 viewers: it is gone", "{json:#}");
    }
}
