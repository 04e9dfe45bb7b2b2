//! Which figures are taken from a run, and what becomes of those of several runs.

use std::collections::BTreeMap;

use serde_json::Value;

/// How figures of several rounds become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Merge {
    /// Costs and delays: a round that was disturbed does not count.
    Median,
    /// What happens now and then: no round is hidden.
    Mean,
    /// What spoils a figure, in whichever round it did.
    Max,
}

/// Name, place in a run's report, and how rounds are merged.
const FIGURES: [(&str, &str, Merge); 35] = [
    ("cpu_ns_per_packet", "/servers/0/cpu_ns_per_packet", Merge::Median),
    ("core_percent", "/servers/0/used/cpu_percent", Merge::Median),
    ("kernel_percent", "/servers/0/used/kernel_percent", Merge::Median),
    ("sleeps_per_second", "/servers/0/used/sleeps_per_second", Merge::Median),
    ("waited_percent", "/servers/0/used/waited_percent", Merge::Max),
    ("saturated", "/servers/0/saturated", Merge::Max),
    ("rss_kb", "/servers/0/rss_kib", Merge::Median),
    ("rss_kb_per_viewer", "/servers/0/rss_kib_per_viewer", Merge::Median),
    ("cpu_us_per_join", "/servers/0/cpu_us_per_join", Merge::Median),
    ("joined", "/joined", Merge::Mean),
    ("silent", "/silent", Merge::Mean),
    ("joins_per_second", "/joins/per_second", Merge::Median),
    ("join_p50_ms", "/joins/join/p50_ms", Merge::Median),
    ("first_packet_p50_ms", "/joins/first_packet/p50_ms", Merge::Median),
    ("first_packet_p99_ms", "/joins/first_packet/p99_ms", Merge::Median),
    ("seconds", "/seconds", Merge::Mean),
    ("packets", "/packets", Merge::Mean),
    ("packets_per_second_and_viewer", "", Merge::Mean),
    ("loss", "/loss", Merge::Mean),
    ("gaps", "/gaps", Merge::Mean),
    ("retransmitted", "/feedback/retransmitted", Merge::Mean),
    ("nacks", "/feedback/nack", Merge::Mean),
    ("discarded", "/discarded", Merge::Mean),
    ("refused", "/samples/refused", Merge::Max),
    ("altered", "/samples/altered", Merge::Max),
    ("delay_p50_ms", "/delay/p50_ms", Merge::Median),
    ("delay_p99_ms", "/delay/p99_ms", Merge::Median),
    ("delay_p999_ms", "/delay/p999_ms", Merge::Median),
    ("load_core_percent", "/load/thread/cpu_percent", Merge::Median),
    ("load_waited_percent", "/load/thread/waited_percent", Merge::Max),
    ("load_saturated", "/load/saturated", Merge::Max),
    ("load_dropped", "/load/dropped", Merge::Mean),
    // What the floor's process counted from its beginning to its end.
    ("packets_per_run", "", Merge::Median),
    ("reports_per_second_and_viewer", "", Merge::Median),
    ("frames_skipped", "", Merge::Max),
];

/// Figures of joins and of memory.
const FLOORLESS: [&str; 7] = [
    "rss_kb",
    "rss_kb_per_viewer",
    "cpu_us_per_join",
    "joins_per_second",
    "join_p50_ms",
    "first_packet_p50_ms",
    "first_packet_p99_ms",
];

/// What came of a run, or of several: figures by their names.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Figures(BTreeMap<&'static str, f64>);

impl Figures {
    /// Those of one report, as [`crate::load::Report::json`] has it.
    pub(super) fn of(report: &Value) -> Self {
        let number = |place: &str| {
            let value = report.pointer(place)?;
            value.as_f64().or_else(|| value.as_bool().map(|is| f64::from(u8::from(is))))
        };
        let read = FIGURES.iter().filter(|(_, place, _)| !place.is_empty());
        let read = read.filter_map(|(name, place, _)| Some((*name, number(place)?)));
        let mut figures = Self(read.collect());
        let (seconds, joined) = (figures.get("seconds"), figures.get("joined"));
        if let (Some(packets), Some(seconds), Some(joined)) =
            (figures.get("packets"), seconds, joined)
            && seconds * joined > 0.0
        {
            let rate = packets / seconds / joined;
            figures.0.insert("packets_per_second_and_viewer", rate);
        }
        figures
    }

    /// Adds what the floor's process counted, and takes off what it has nothing of: whoever
    /// watches it does not join, and it remembers nothing of them.
    pub(super) fn add_floor(&mut self, counted: &Value) {
        for name in FLOORLESS {
            self.0.remove(name);
        }
        let number = |name: &str| counted.get(name).and_then(Value::as_f64).unwrap_or_default();
        let mut add = |name, value: f64| self.0.insert(name, value);
        if number("runs") > 0.0 {
            add("packets_per_run", number("packets") / number("runs"));
        }
        add("frames_skipped", number("skipped"));
        let joined = self.get("joined").unwrap_or_default();
        if number("seconds") * joined > 0.0 {
            let rate = number("reports") / number("seconds") / joined;
            self.0.insert("reports_per_second_and_viewer", rate);
        }
    }

    /// One figure, if the run had it.
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Whether something was so.
    pub(super) fn is(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value > 0.0)
    }

    /// Those of several rounds in one.
    pub(super) fn merge(rounds: &[Self]) -> Self {
        let merged = FIGURES.iter().filter_map(|(name, _, merge)| {
            let values: Vec<f64> = rounds.iter().filter_map(|round| round.get(name)).collect();
            Some((*name, merge.apply(values)?))
        });
        Self(merged.collect())
    }

    /// For programs.
    pub(super) fn json(&self) -> serde_json::Map<String, Value> {
        let value =
            |value: f64| Value::from(if value.fract() == 0.0 { value } else { round(value) });
        self.0.iter().map(|(name, of)| ((*name).to_owned(), value(*of))).collect()
    }
}

impl Merge {
    fn apply(self, values: Vec<f64>) -> Option<f64> {
        match self {
            Self::Median => median(values),
            Self::Mean if values.is_empty() => None,
            Self::Mean => Some(values.iter().sum::<f64>() / values.len() as f64),
            Self::Max => values.into_iter().max_by(f64::total_cmp),
        }
    }
}

/// The middle one, or what is between the middle two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*values.get(middle - 1)?, upper))
}

/// To six digits after the point, for losses are small.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures(cpu: f64, loss: f64, saturated: bool) -> Figures {
        Figures::of(&json!({
            "servers": [{"cpu_ns_per_packet": cpu, "saturated": saturated}],
            "loss": loss, "packets": 6_400, "seconds": 2.0, "joined": 10, "delay": null,
            "joins": {"per_second": 9.0},
        }))
    }

    #[test]
    fn figures_are_read_from_reports() {
        let one = figures(1_000.0, 0.25, true);
        assert_eq!(one.get("cpu_ns_per_packet"), Some(1_000.0));
        assert_eq!(one.get("packets_per_second_and_viewer"), Some(320.0));
        assert!(one.is("saturated") && !one.is("load_saturated"));
        assert_eq!(one.get("delay_p50_ms"), None);
        assert_eq!(one.json()["loss"], 0.25);
    }

    #[test]
    fn what_the_floor_counted_is_added() {
        let mut one = figures(1_000.0, 0.0, false);
        let counted = json!({"packets": 960, "runs": 100, "reports": 420, "seconds": 2.0});
        one.add_floor(&counted);
        assert_eq!(one.get("packets_per_run"), Some(9.6));
        assert_eq!(one.get("reports_per_second_and_viewer"), Some(21.0));
        // Nobody joined it.
        assert_eq!(one.get("joins_per_second"), None);
        assert_eq!(Figures::merge(&[one.clone()]), one);
    }

    #[test]
    fn rounds_are_merged_so_that_nothing_is_hidden() {
        let rounds =
            [figures(900.0, 0.0, false), figures(5_000.0, 0.3, true), figures(1_000.0, 0.0, false)];
        let all = Figures::merge(&rounds);
        assert_eq!(all.get("cpu_ns_per_packet"), Some(1_000.0));
        assert_eq!(all.get("loss").map(round), Some(0.1));
        assert!(all.is("saturated"));
        assert_eq!(Figures::merge(&rounds[..2]).get("cpu_ns_per_packet"), Some(2_950.0));
        assert_eq!(Figures::merge(&[]), Figures::default());
    }

    /// A name that no report has would be missing without a word.
    #[test]
    fn every_figure_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = FIGURES.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), FIGURES.len());
    }
}
