//! What came of a bench, as pictures.

use super::outcome::Outcome;
use crate::load::plot::{Curve, Panel, svg_of_columns};

impl Outcome {
    /// CPU for a packet by viewers, as SVG.
    pub fn costs(&self) -> String {
        self.picture(&[
            ("CPU for a packet in ns, by viewers", "cpu_ns_per_packet"),
            ("use of the core in %, by viewers", "core_percent"),
        ])
    }

    /// Delay by viewers, as SVG.
    pub fn delays(&self) -> String {
        self.picture(&[
            ("delay in ms, p50, by viewers", "delay_p50_ms"),
            ("delay in ms, p99, by viewers", "delay_p99_ms"),
            ("delay in ms, p99.9, by viewers", "delay_p999_ms"),
        ])
    }

    fn picture(&self, panels: &[(&str, &str)]) -> String {
        let rows = self.rows();
        let curve = |contender: &String, figure: &str| {
            let value = |viewers: &usize| {
                let of =
                    rows.iter().find(|it| it.contender == *contender && it.viewers == *viewers);
                of?.figures.get(figure)
            };
            Curve { name: contender.clone(), values: self.viewers.iter().map(value).collect() }
        };
        let panel = |(title, figure): &(&str, &str)| Panel {
            title: (*title).to_owned(),
            curves: self.contenders.iter().map(|contender| curve(contender, figure)).collect(),
        };
        let panels: Vec<Panel> = panels.iter().map(panel).collect();
        let columns: Vec<String> = self.viewers.iter().map(usize::to_string).collect();
        svg_of_columns(&self.place(), &panels, &columns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::outcome;

    #[test]
    fn every_figure_is_a_dot() {
        let outcome = outcome(&[
            ("floor", 100, Some(800.0)),
            ("mio", 100, Some(1_000.0)),
            ("floor", 500, Some(500.0)),
            ("mio", 500, None),
        ]);
        let svg = outcome.costs();
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        assert!(svg.contains(">500</text>"), "{svg}");
        assert!(svg.contains(">floor</text>"), "{svg}");
        assert_eq!(outcome.delays().matches("<circle").count(), 0);
    }
}
