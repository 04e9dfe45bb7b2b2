//! The repository's own rules, as far as a program can check them.

mod code;
mod habits;
mod modules;
mod purity;
mod shape;
mod source;

/// Fails with one complaint a line.
fn none(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
