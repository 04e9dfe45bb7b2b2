//! What Distributary's tests are made of: a stand-in for browsers, and a network to put it in.

pub mod browser;
pub mod page;
pub mod sim;
pub mod websocket;
pub mod world;
