//! Packets that are lost for real: on the way to the origin, to an edge, and to a viewer.

mod cdn;
mod figures;
mod path;

pub use cdn::{Cdn, Hop, Make, Node};
pub use figures::{Figures, Plan, table};
pub use path::{LossyPath, Passage, Terms};
