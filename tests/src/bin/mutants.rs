//! Puts faults into a copy of core, one at a time, and tells which test catches each.
//!
//! ```text
//! cargo run -p distributary-tests --bin mutants -- [--list] [--sim] [--stage NAME]… [--only NAME]…
//! ```
//!
//! How it goes is said on standard error, what came of it on standard output. It fails if a fault
//! gets past every test. The copy and what is built of it stay in `target/mutants`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use distributary_tests::mutants::{Catch, Mutation, STAGES, Stage, Suite, Tree, mutations};

const USAGE: &str = "\
usage: mutants [--list] [--sim] [--stage NAME]… [--only NAME]…
  --list         names the faults, and makes none
  --sim          asks the simulation too about what another test catches
  --stage NAME   asks these tests only: core, simulation, storms or others
  --only NAME    makes this fault only
";

struct Arguments {
    list: bool,
    sim: bool,
    stages: Vec<&'static str>,
    chosen: Vec<&'static Mutation>,
}

/// What became of one fault.
struct Row {
    name: &'static str,
    caught: Result<Option<Catch>, String>,
    /// What the simulation alone said, if it was asked.
    simulation: Option<Result<Option<Catch>, String>>,
    seconds: u64,
}

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            say(&format!("{problem}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    if arguments.list {
        return print(&list(&arguments.chosen));
    }
    match judge(&arguments) {
        Ok(rows) => {
            let printed = print(&table(&rows));
            if rows.iter().all(Row::is_caught) { printed } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            say(&problem);
            ExitCode::FAILURE
        }
    }
}

fn judge(arguments: &Arguments) -> Result<Vec<Row>, String> {
    let tree = Tree::of_checkout().map_err(|error| format!("copying the checkout: {error}"))?;
    for mutation in &arguments.chosen {
        let text = tree.read(mutation.file).map_err(|error| error.to_string())?;
        mutation.apply(&text)?;
    }
    let wanted = |stage: &Stage| arguments.stages.contains(&stage.name);
    let suite = Suite::measure(&tree, wanted, say)?;
    let mut rows = Vec::new();
    for (nth, mutation) in (1..).zip(&arguments.chosen) {
        say(&format!("{nth} of {}: {}", arguments.chosen.len(), mutation.name));
        let begun = Instant::now();
        let caught = suite.catch(mutation, |_| true);
        let simulation = arguments.sim.then(|| suite.catch(mutation, |stage| stage.simulates));
        let seconds = begun.elapsed().as_secs();
        let row = Row { name: mutation.name, caught, simulation, seconds };
        say(&format!("  {}", row.told().join("\n  ")));
        rows.push(row);
    }
    Ok(rows)
}

impl Row {
    fn is_caught(&self) -> bool {
        matches!(self.caught, Ok(Some(_)))
    }

    /// The verdict, and the simulation's if it was asked.
    fn told(&self) -> Vec<String> {
        let words = |caught: &Result<Option<Catch>, String>| match caught {
            Ok(Some(catch)) => format!("{} ({} s)", catch.by, catch.after.as_secs()),
            Ok(None) => "NOT CAUGHT".to_owned(),
            Err(problem) => format!("ERROR {problem}"),
        };
        std::iter::once(&self.caught).chain(&self.simulation).map(words).collect()
    }
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for row in rows {
        for (at, told) in row.told().iter().enumerate() {
            let name = if at == 0 { row.name } else { "" };
            text.push_str(&format!("{name:width$}  {told}\n"));
        }
    }
    let caught = rows.iter().filter(|row| row.is_caught()).count();
    let seconds: u64 = rows.iter().map(|row| row.seconds).sum();
    text.push_str(&format!("{caught} of {} faults caught, in {seconds} s", rows.len()));
    let asked = rows.iter().filter_map(|row| row.simulation.as_ref());
    if asked.clone().count() > 0 {
        let by_it = asked.filter(|caught| matches!(caught, Ok(Some(_)))).count();
        text.push_str(&format!("; {by_it} by the simulation too"));
    }
    text.push('\n');
    text
}

fn list(mutations: &[&Mutation]) -> String {
    let lines = mutations
        .iter()
        .map(|mutation| format!("{}: {}: {}\n", mutation.name, mutation.file, mutation.breaks));
    lines.collect()
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn say(text: &str) {
    // Nobody is there to be told that nobody is there.
    let _ = writeln!(io::stderr(), "{text}");
}

impl Arguments {
    fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (stages, chosen) = (Vec::new(), Vec::new());
        let mut arguments = Self { list: false, sim: false, stages, chosen };
        let mut words = words;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => arguments.list = true,
                "--sim" => arguments.sim = true,
                "--stage" => {
                    let name = words.next().ok_or("--stage wants a name")?;
                    let found = STAGES.iter().find(|stage| stage.name == name);
                    arguments.stages.push(found.ok_or(format!("no stage is called {name}"))?.name);
                }
                "--only" => {
                    let name = words.next().ok_or("--only wants a name")?;
                    let found = mutations().find(|mutation| mutation.name == name);
                    arguments.chosen.push(found.ok_or(format!("no fault is called {name}"))?);
                }
                _ => return Err(format!("no option is called {word}")),
            }
        }
        if arguments.chosen.is_empty() {
            arguments.chosen = mutations().collect();
        }
        if arguments.stages.is_empty() {
            arguments.stages = STAGES.map(|stage| stage.name).to_vec();
        }
        Ok(arguments)
    }
}
