//! Measures the servers of both runtimes and prints what came of it.
//!
//! ```text
//! cargo build --release -p distributary-mio
//! cargo build --release -p distributary-tokio
//! cargo run --release -p distributary-tests --bin figures -- [--json] [--quick] [option value]…
//! ```
//!
//! Without options it takes some two minutes, with `--quick` less than 40 s. The servers are those
//! of the folder in which this program lies; they are built first if they are not up to date.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use distributary_tests::figures::{Part, Plan, machine};
use distributary_tests::process::Runtime;
use serde_json::{Map, Value, json};

const USAGE: &str = "\
usage: figures [--json] [--quick] [option value]…
  --json                prints one JSON object instead of lines
  --quick               measures less of everything
  --runtime mio|tokio   one runtime only
  --part PART           one of join, hop, load, cost only
  --joins N             joins that are timed
  --costed-joins N      joins whose CPU is counted
  --viewers N           viewers under load
  --seconds N           how long hop and load are watched
";

struct Arguments {
    json: bool,
    runtimes: Vec<Runtime>,
    parts: Vec<Part>,
    plan: Plan,
}

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => return fail(&format!("{problem}\n{USAGE}"), 2),
    };
    match measure(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(&format!("{problem}\n"), 1),
    }
}

fn fail(text: &str, code: u8) -> ExitCode {
    // Nothing more can be done about a standard error that is closed.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let mut out = io::stdout();
    let mut say = |text: String| out.write_all(text.as_bytes()).map_err(|error| error.to_string());
    let machine = machine();
    if !arguments.json {
        say(format!("machine {machine}\n"))?;
    }
    let mut runtimes = Map::new();
    for runtime in &arguments.runtimes {
        if !arguments.json {
            say(format!("{}\n", runtime.package()))?;
        }
        let mut parts = Map::new();
        for part in &arguments.parts {
            let figures = part.measure(*runtime, &arguments.plan)?;
            if !arguments.json {
                say(figures.to_string())?;
            }
            parts.insert(part.name().to_owned(), figures.json());
        }
        runtimes.insert(runtime.package().to_owned(), Value::Object(parts));
    }
    if arguments.json {
        say(format!("{:#}\n", json!({ "machine": machine, "runtimes": runtimes })))?;
    }
    Ok(())
}

impl Arguments {
    fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut words: Vec<String> = words.collect();
        let mut flag = |name: &str| {
            let all = words.len();
            words.retain(|word| word != name);
            words.len() < all
        };
        let json = flag("--json");
        let plan = if flag("--quick") { Plan::QUICK } else { Plan::FULL };
        let runtimes = vec![Runtime::Mio, Runtime::Tokio];
        let mut arguments = Self { json, runtimes, parts: Part::ALL.to_vec(), plan };
        let mut words = words.iter();
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} wants a value"))?;
            arguments.set(name, value)?;
        }
        Ok(arguments)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || match value.parse() {
            Ok(number) if number > 0 => Ok(number),
            Ok(_) | Err(_) => Err(format!("{name} wants a number above 0, not {value}")),
        };
        match name {
            "--runtime" => match value {
                "mio" => self.runtimes = vec![Runtime::Mio],
                "tokio" => self.runtimes = vec![Runtime::Tokio],
                _ => return Err(format!("no runtime is called {value}")),
            },
            "--part" => {
                self.parts.retain(|part| part.name() == value);
                if self.parts.is_empty() {
                    return Err(format!("no part is called {value}"));
                }
            }
            "--joins" => self.plan.joins = number()?,
            "--costed-joins" => self.plan.costed_joins = number()?,
            "--viewers" => self.plan.viewers = number()?,
            "--seconds" => self.plan.span = Duration::from_secs(number()? as u64),
            _ => return Err(format!("no option is called {name}")),
        }
        Ok(())
    }
}
