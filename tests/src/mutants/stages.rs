//! The tests that a fault has to get past, cheapest first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::cargo::{self, Ending, Program};
use super::{Mutation, Tree};

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage {
    /// What it is called.
    pub name: &'static str,
    /// What `cargo test` is told so that it runs these tests, and maybe others that had their
    /// turn before.
    pub arguments: &'static [&'static str],
    /// Whether this is the simulation, which is to catch what goes wrong between the parts.
    pub simulates: bool,
}

/// All stages, in order.
pub const STAGES: [Stage; 4] = [
    Stage { name: "core", arguments: &["--package=distributary-core"], simulates: false },
    Stage {
        name: "simulation",
        arguments: &["--package=distributary-tests", "--test=sim"],
        simulates: true,
    },
    Stage {
        name: "storms",
        arguments: &["--package=distributary-tests", "--test=storms"],
        simulates: true,
    },
    Stage { name: "others", arguments: &["--workspace", "--tests"], simulates: false },
];

/// A stage has this many times as long as it takes without a fault, and never less than it takes
/// a test program to name the test that hangs.
const PATIENCE: u32 = 4;
const PATIENCE_MIN: Duration = Duration::from_secs(90);

/// More than any stage takes without a fault.
const MEASURED_MAX: Duration = Duration::from_secs(600);

/// What caught a fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catch {
    /// The stage and its test.
    pub by: String,
    /// How long building and testing took, from the first stage on.
    pub after: Duration,
}

/// The stages with what is known of them.
#[derive(Debug)]
pub struct Suite<'a> {
    tree: &'a Tree,
    /// Each with the sources of its programs, and the time that it takes.
    stages: Vec<(Stage, Vec<String>, Duration)>,
}

impl<'a> Suite<'a> {
    /// Runs the `wanted` stages without a fault, and takes their time. `say` is told how it goes.
    ///
    /// # Errors
    ///
    /// In words, if a test fails: then nothing could be learned from its failing with a fault.
    pub fn measure(
        tree: &'a Tree,
        wanted: impl Fn(&Stage) -> bool,
        mut say: impl FnMut(&str),
    ) -> Result<Self, String> {
        let mut stages = Vec::new();
        let mut before = BTreeSet::new();
        for stage in STAGES.into_iter().filter(|stage| wanted(stage)) {
            let programs = cargo::build(tree, stage.arguments)?;
            let sources = programs.into_iter().map(|program| program.source);
            let own = sources.filter(|source| before.insert(source.clone())).collect();
            let begun = Instant::now();
            let mut suite = Suite { tree, stages: vec![(stage, own, MEASURED_MAX)] };
            if let Some(by) = suite.failing(|_| true)? {
                return Err(format!("without any fault there is a failure: {by}"));
            }
            let took = begun.elapsed();
            say(&format!("{} passes in {} s", stage.name, took.as_secs()));
            for (_, _, usual) in &mut suite.stages {
                *usual = took;
            }
            stages.append(&mut suite.stages);
        }
        Ok(Self { tree, stages })
    }

    /// Makes the fault, finds what catches it among the stages that are `wanted`, and mends it.
    ///
    /// # Errors
    ///
    /// In words, if the mutation is stale or does not compile.
    pub fn catch(
        &self,
        mutation: &Mutation,
        wanted: impl Fn(&Stage) -> bool,
    ) -> Result<Option<Catch>, String> {
        let sound = self.tree.read(mutation.file).map_err(|error| error.to_string())?;
        let faulty = mutation.apply(&sound)?;
        self.tree.write(mutation.file, &faulty).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let failing = self.failing(wanted);
        self.tree.write(mutation.file, &sound).map_err(|error| error.to_string())?;
        let failing = failing.map_err(|why| format!("{} does not compile: {why}", mutation.name));
        Ok(failing?.map(|by| Catch { by, after: begun.elapsed() }))
    }

    /// The first test that fails, with its stage.
    fn failing(&self, wanted: impl Fn(&Stage) -> bool) -> Result<Option<String>, String> {
        for (stage, own, usual) in self.stages.iter().filter(|(stage, ..)| wanted(stage)) {
            let limit = (*usual * PATIENCE).max(PATIENCE_MIN);
            let mut programs = cargo::build(self.tree, stage.arguments)?;
            programs.retain(|program| own.contains(&program.source));
            for program in &programs {
                let ending = cargo::run(self.tree, program, limit)?;
                if let Some(by) = verdict(program, &ending) {
                    return Ok(Some(format!("{}: {by}", stage.name)));
                }
            }
        }
        Ok(None)
    }
}

fn verdict(program: &Program, ending: &Ending) -> Option<String> {
    let name = &program.name;
    match ending {
        Ending::Passed => None,
        Ending::Failed(test) => Some(format!("{name} {test}")),
        Ending::TimedOut(slow) if slow.is_empty() => Some(format!("{name} ran out of time")),
        Ending::TimedOut(slow) => Some(format!("{name} ran out of time in {}", slow.join(", "))),
        Ending::Died => Some(format!("{name} broke off")),
    }
}
