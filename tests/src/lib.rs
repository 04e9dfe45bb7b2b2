//! What Distributary's tests are made of: a stand-in for browsers, a simulated network to put it
//! in, and real processes to point it at, and to measure.

pub mod attack;
pub mod bench;
pub mod browser;
pub mod client;
pub mod command;
pub mod figures;
pub mod http;
pub mod load;
pub mod lossy;
pub mod mutants;
pub mod page;
pub mod process;
pub mod real;
pub mod roster;
pub mod scenario;
pub mod sim;
pub mod soak;
pub mod token;
pub mod websocket;
pub mod world;
