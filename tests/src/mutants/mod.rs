//! Proof that the net catches fish: faults are put into core by hand, one at a time, and each has
//! to be caught by a test.

mod access_faults;
mod cargo;
mod faults;
mod media_faults;
mod stages;
mod tree;

pub use stages::{Catch, STAGES, Stage, Suite};
pub use tree::Tree;

/// A fault that is made on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mutation {
    /// What it is called.
    pub name: &'static str,
    /// What it breaks.
    pub breaks: &'static str,
    /// Where, from the repository's root.
    pub file: &'static str,
    /// The code as it should be; it stands in the file exactly once.
    pub code: &'static str,
    /// What takes its place.
    pub fault: &'static str,
}

/// Every mutation, part by part.
pub fn mutations() -> impl Iterator<Item = &'static Mutation> {
    let media = media_faults::MEDIA.iter().chain(access_faults::ACCESS);
    media.chain(faults::SIGNAL).chain(faults::CDN).chain(faults::SHARD)
}

impl Mutation {
    /// Puts the fault into the text of its file.
    ///
    /// # Errors
    ///
    /// In words, if the code is not there any more, or not only once: the mutation is stale then.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(self.code).count() {
            1 => Ok(text.replacen(self.code, self.fault, 1)),
            count => Err(format!(
                "the mutation {} is stale: its code stands in {} {count} times, not once",
                self.name, self.file
            )),
        }
    }
}
