//! What came of a bench, for people.

use std::fmt::Write as _;

use super::figures::Figures;
use super::outcome::{Outcome, Row};

type Cell = fn(&Row) -> Option<String>;

/// Columns of the table of media: heading, unit, cell.
const MEDIA: [(&str, Cell); 12] = [
    ("server", |row| Some(row.contender.clone())),
    ("viewers", |row| Some(row.viewers.to_string())),
    ("CPU ns a packet", |row| digits(&row.figures, "cpu_ns_per_packet", 0)),
    ("floors", |row| row.ratio.map(|ratio| format!("{ratio:.2}"))),
    ("core %", |row| digits(&row.figures, "core_percent", 1)),
    ("loss %", |row| row.figures.get("loss").map(|loss| format!("{:.4}", loss * 100.0))),
    ("gaps", |row| digits(&row.figures, "gaps", 0)),
    ("delay p50/p99/p99.9 ms", |row| {
        let of = |name| digits(&row.figures, name, 2);
        Some([of("delay_p50_ms")?, of("delay_p99_ms")?, of("delay_p999_ms")?].join("/"))
    }),
    ("KB a viewer", |row| digits(&row.figures, "rss_kb_per_viewer", 0)),
    ("joins/s", |row| digits(&row.figures, "joins_per_second", 0)),
    ("load core %", |row| digits(&row.figures, "load_core_percent", 1)),
    ("notes", |row| Some(row.notes.join("; "))),
];

/// Columns of the table of joins.
const JOINS: [(&str, Cell); 7] = [
    ("server", |row| Some(row.contender.clone())),
    ("viewers", |row| Some(row.viewers.to_string())),
    ("joins/s", |row| digits(&row.figures, "joins_per_second", 0)),
    ("CPU us a join", |row| digits(&row.figures, "cpu_us_per_join", 0)),
    ("asking to first packet p50 ms", |row| digits(&row.figures, "first_packet_p50_ms", 2)),
    ("p99 ms", |row| digits(&row.figures, "first_packet_p99_ms", 2)),
    ("notes", |row| Some(row.notes.join("; "))),
];

impl Outcome {
    /// Lines to read, in columns.
    pub fn text(&self) -> String {
        self.write(&columns)
    }

    /// The same as Markdown.
    pub fn markdown(&self) -> String {
        self.write(&pipes)
    }

    fn write(&self, table: &dyn Fn(&[Vec<String>]) -> String) -> String {
        let mut text = format!("{}\n\n{}", self.heading(), table(&cells(&MEDIA, &self.rows())));
        let storms = self.storms();
        if !storms.is_empty() {
            text.push_str("\nJoins with next to no media:\n\n");
            text.push_str(&table(&cells(&JOINS, &storms)));
        }
        let growths = self
            .contenders
            .iter()
            .filter_map(|contender| Some(format!("{contender} {:.2}", self.growth(contender)?)));
        let growths: Vec<String> = growths.collect();
        if !growths.is_empty() {
            let most = self.viewers.iter().max().copied().unwrap_or_default();
            let fewest = self.viewers.iter().min().copied().unwrap_or_default();
            let growths = growths.join(", ");
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "\nA packet's cost at {most} viewers to that at {fewest}: {growths}"
            );
        }
        for problem in self.problems() {
            let _ = writeln!(text, "\n{problem}");
        }
        text
    }
}

fn digits(figures: &Figures, name: &str, digits: usize) -> Option<String> {
    figures.get(name).map(|value| format!("{value:.digits$}"))
}

/// The heading, and a line for each row.
fn cells(columns: &[(&str, Cell)], rows: &[Row]) -> Vec<Vec<String>> {
    let heading = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let cells = rows.iter().map(|row| {
        columns.iter().map(|(_, cell)| cell(row).unwrap_or_else(|| "-".to_owned())).collect()
    });
    std::iter::once(heading).chain(cells).collect()
}

/// Aligned columns: the first and the last to the left, numbers to the right.
fn columns(lines: &[Vec<String>]) -> String {
    let count = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut cells = Vec::new();
        for ((column, cell), width) in line.iter().enumerate().zip(&widths) {
            let left = column == 0 || column + 1 == count;
            cells.push(if left { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        }
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn pipes(lines: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        text.push_str(&format!("| {} |\n", line.join(" | ")));
        if at == 0 {
            text.push_str(&format!("|{}\n", "---|".repeat(line.len())));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::outcome;

    #[test]
    fn tables_have_a_line_for_each_row() {
        let outcome = outcome(&[
            ("floor", 100, Some(800.0)),
            ("mio", 100, Some(1_000.0)),
            ("floor", 500, Some(500.0)),
            ("mio", 500, Some(9_000.0)),
        ]);
        let text = outcome.text();
        let line = |server: &str, viewers: &str| -> Vec<&str> {
            let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let found = lines.into_iter().find(|words| words.starts_with(&[server, viewers]));
            found.unwrap_or_else(|| panic!("no {server} with {viewers} in {text}"))
        };
        let words = line("mio", "500");
        assert_eq!(words[2..6], ["9000", "18.00", "-", "0.0000"], "{text}");
        assert_eq!(words.last(), Some(&"saturated"), "{text}");
        assert_eq!(line("floor", "100")[2..4], ["800", "1.00"], "{text}");
        let cost = "A packet's cost at 500 viewers to that at 100: floor 0.62, mio 9.00";
        assert!(text.contains(cost), "{text}");
        let markdown = outcome.markdown();
        assert!(markdown.contains("\n|---|---|"), "{markdown}");
        assert!(markdown.contains("\n| mio | 100 | 1000 | 1.25 | - | 0.0000 |"), "{markdown}");
    }
}
