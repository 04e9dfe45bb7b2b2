//! What the fuzz targets do with their bytes, as plain functions, so that tests replay the corpora
//! on any toolchain.
//!
//! Each one panics when the core does, when a shard has no end of outputs or never sleeps, when an
//! end is not told with its reason, and when something is left over once everybody has left.

mod answers;
mod bytes;
mod datagrams;
mod dialogue;
mod edge;
mod frames;
mod http;
mod media;
mod offers;
mod packets;
mod room;
mod sdp;
mod seeds;
mod settings;
mod shard;
mod stream;
mod tls;
mod token;
mod websocket;

pub use self::datagrams::datagrams;
pub use self::dialogue::signal;
pub use self::http::http;
pub use self::media::media;
pub use self::sdp::sdp;
pub use self::seeds::{Seed, seeds};
pub use self::settings::settings;
pub use self::shard::shard;
pub use self::stream::stream;
pub use self::tls::tls;
pub use self::token::token;
pub use self::websocket::websocket;

/// A CDN of two nodes in a storm that the bytes describe.
pub fn world(data: &[u8]) {
    distributary_tests::sim::storm::play(data, false);
}

/// A body, with the name of its target and of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; `fuzz_targets` has a file for each.
pub const TARGETS: [Target; 12] = [
    ("datagrams", datagrams),
    ("http", http),
    ("media", media),
    ("sdp", sdp),
    ("settings", settings),
    ("shard", shard),
    ("signal", signal),
    ("stream", stream),
    ("tls", tls),
    ("token", token),
    ("websocket", websocket),
    ("world", world),
];
