//! A picture of a run: curves over its seconds, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 800.0;
/// Of one panel, its title included.
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 24.0;
const COLOURS: [&str; 6] = ["#1b6ca8", "#d1495b", "#5a8f29", "#c98a1b", "#7a4fa3", "#4d4d4d"];
/// Between the names of two curves.
const NAME_WIDTH: f64 = 90.0;

/// Curves that share a scale.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) curves: Vec<Curve>,
}

/// A value for each second, or each column; `None` where there is none.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
}

/// Panels below each other under a heading. The seconds from `marked.0` to `marked.1` are shaded.
pub(super) fn svg(heading: &str, panels: &[Panel], marked: (usize, usize)) -> String {
    let seconds = panels.iter().map(Panel::length).max().unwrap_or(0);
    let labels = (0..seconds).step_by(step(seconds)).map(|second| (second, format!("{second} s")));
    picture(heading, panels, &Axis { labels: labels.collect(), marked, dots: false })
}

/// The same over columns that have names.
pub(crate) fn svg_of_columns(heading: &str, panels: &[Panel], columns: &[String]) -> String {
    let labels = columns.iter().cloned().enumerate().collect();
    picture(heading, panels, &Axis { labels, marked: (0, 0), dots: true })
}

/// What is below the curves, and behind them.
struct Axis {
    labels: Vec<(usize, String)>,
    marked: (usize, usize),
    /// Whether every value is marked, for there are few.
    dots: bool,
}

impl Panel {
    fn length(&self) -> usize {
        self.curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0)
    }
}

fn picture(heading: &str, panels: &[Panel], axis: &Axis) -> String {
    let height = 30.0 + HEIGHT * panels.len() as f64;
    let mut svg = String::new();
    let mut write = |text: std::fmt::Arguments<'_>| {
        svg.write_fmt(text).expect("writing to a String cannot fail");
    };
    write(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>\n",
        escape(heading)
    ));
    for (nth, panel) in panels.iter().enumerate() {
        let top = 30.0 + HEIGHT * nth as f64;
        write(format_args!("<g transform=\"translate(0 {top})\">\n"));
        draw(panel, axis, &mut write);
        write(format_args!("</g>\n"));
    }
    write(format_args!("</svg>\n"));
    svg
}

fn draw(panel: &Panel, axis: &Axis, write: &mut impl FnMut(std::fmt::Arguments<'_>)) {
    let values = || panel.curves.iter().flat_map(|curve| &curve.values).flatten();
    let top = ceiling(values().copied().fold(0.0, f64::max));
    let steps = panel.length().max(2) - 1;
    let (across, down) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let x = |step: f64| LEFT + across * step / steps as f64;
    let y = |value: f64| TOP + down * (1.0 - value / top);

    let (from, to) = (x(axis.marked.0 as f64), x(axis.marked.1 as f64));
    let (floor, shade) = (TOP + down, (to - from).max(0.0));
    write(format_args!(
        "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{shade:.1}\" height=\"{down}\" \
         fill=\"#f1f4f6\"/>\n<text x=\"{LEFT}\" y=\"26\">{}</text>\n",
        escape(&panel.title)
    ));
    for quarter in 0..=2 {
        let value = top * f64::from(quarter) / 2.0;
        let at = y(value);
        let end = WIDTH - RIGHT;
        write(format_args!(
            "<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#ccc\" fill=\"none\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 6.0,
            at + 4.0,
            number(value)
        ));
    }
    for (step, label) in &axis.labels {
        write(format_args!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            x(*step as f64),
            floor + 15.0,
            escape(label)
        ));
    }
    for ((nth, curve), colour) in panel.curves.iter().enumerate().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        let mut pen = 'M';
        for (step, value) in curve.values.iter().enumerate() {
            let Some(value) = value else {
                // The curve goes on where there are values again.
                pen = 'M';
                continue;
            };
            let (x, y) = (x(step as f64), y(*value));
            path.push_str(&format!("{pen}{x:.1} {y:.1}"));
            pen = 'L';
            if axis.dots {
                let dot = format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"");
                write(format_args!("{dot} fill=\"{colour}\"/>\n"));
            }
        }
        let right = WIDTH - RIGHT - NAME_WIDTH * (panel.curves.len() - 1 - nth) as f64;
        write(format_args!(
            "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"1.5\" fill=\"none\"/>\n\
             <text x=\"{right}\" y=\"26\" text-anchor=\"end\" fill=\"{colour}\">{}</text>\n",
            escape(&curve.name)
        ));
    }
}

/// The next of 1, 2, 5, 10, 20, … that is no less.
fn ceiling(value: f64) -> f64 {
    let mut ceiling = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if ceiling >= value || ceiling > 1e12 {
            break;
        }
        ceiling *= factor;
    }
    ceiling
}

/// Seconds between two that are named.
fn step(seconds: usize) -> usize {
    seconds.div_ceil(10).max(1)
}

fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1} M", value / 1e6),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;

    fn curve(values: &[Option<f64>]) -> Curve {
        Curve { name: "a < b & \"c\"".to_owned(), values: values.to_vec() }
    }

    /// What is drawn: each element's name, and its path if it has one. Panics if it is no XML.
    fn read(svg: &str) -> Vec<(String, Option<String>)> {
        let mut reader = Reader::from_str(svg);
        let mut elements = Vec::new();
        let mut depth = 0;
        loop {
            let event = reader.read_event().unwrap_or_else(|error| panic!("{error}: {svg}"));
            if matches!(event, Event::Eof) {
                break;
            }
            depth += i32::from(matches!(event, Event::Start(_)));
            depth -= i32::from(matches!(event, Event::End(_)));
            if let Event::Start(element) | Event::Empty(element) = event {
                let attributes = element.attributes().map(|attribute| attribute.unwrap());
                let path = attributes
                    .filter(|attribute| attribute.key.as_ref() == "d")
                    .map(|attribute| attribute.value.into_owned());
                elements.push((element.name().as_ref().to_owned(), path.last()));
            }
        }
        assert_eq!(depth, 0, "{svg}");
        elements
    }

    #[test]
    fn a_picture_is_well_formed_and_draws_every_value() {
        let values = [Some(0.0), Some(40.0), None, Some(100.0)];
        let panel = Panel { title: "<1>".to_owned(), curves: vec![curve(&values), curve(&[])] };
        let drawn = read(&svg("a & b", &[panel.clone(), panel], (1, 3)));
        assert_eq!(drawn.iter().filter(|(name, _)| name == "g").count(), 2);
        let paths: Vec<&String> = drawn.iter().filter_map(|(_, path)| path.as_ref()).collect();
        // In each panel three lines of the grid and two curves.
        assert_eq!(paths.len(), 10);
        // Up from the floor at 0 to 40, a hole, then at the top at 100.
        assert_eq!(paths[3], "M70.0 156.0L306.7 107.2M780.0 34.0");
        assert_eq!(paths[4], "");
    }

    #[test]
    fn nothing_at_all_is_drawn_as_well() {
        let panel = Panel { title: String::new(), curves: vec![curve(&[])] };
        read(&svg("", &[panel], (0, 0)));
        read(&svg("", &[], (0, 0)));
    }

    #[test]
    fn scales_end_on_round_numbers() {
        for (value, top) in [(0.0, 1.0), (1.0, 1.0), (1.1, 2.0), (2.5, 5.0), (9_000.0, 10_000.0)] {
            assert_eq!(ceiling(value), top, "{value}");
        }
        assert_eq!(
            [0.0, 2.5, 50.0, 20_000.0, 1.5e6].map(number),
            ["0", "2.5", "50", "20 k", "1.5 M"]
        );
    }
}
