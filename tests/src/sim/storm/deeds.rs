//! What was done to whom in a storm, and so what may come of it and what may not.

use std::time::Duration;

/// Who suffers a deed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whom {
    /// A node: whatever passes it.
    Node(usize),
    /// A node, which does not know any more who was there.
    Memory(usize),
    /// Somebody's machine, their page, or their way to their node.
    Actor(usize),
    /// The way between two nodes, for longer than a link may be gone.
    Link(usize, usize),
    /// The connections between two nodes, once.
    Wire(usize, usize),
}

/// Everything that was done, in order.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    done: Vec<(Duration, Whom)>,
}

impl Deeds {
    pub(super) fn add(&mut self, at: Duration, whom: Whom) {
        self.done.push((at, whom));
    }

    /// Whether any of these suffered anything since.
    pub(super) fn touched(&self, since: Duration, whom: &[Whom]) -> bool {
        let known = |other: &Whom| {
            whom.iter().any(|whom| match (*whom, *other) {
                (Whom::Link(a, b), Whom::Link(c, d)) | (Whom::Wire(a, b), Whom::Wire(c, d)) => {
                    (a, b) == (c, d) || (b, a) == (c, d)
                }
                (whom, other) => whom == other,
            })
        };
        self.done.iter().rev().take_while(|(at, _)| *at >= since).any(|(_, other)| known(other))
    }
}
