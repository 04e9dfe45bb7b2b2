//! A network, nodes and browsers in simulated time, all of it determined by one seed.

pub mod crypto;
pub mod random;
