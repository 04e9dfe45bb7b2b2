//! What the pieces of a shard's work cost.
//!
//! ```text
//! cargo bench --package distributary-core --features bench --bench pieces
//! cargo bench --package distributary-core --features bench --bench pieces -- --count NAME TIMES
//! ```
//!
//! The first tells times, by divan. The second does one piece so many times and nothing else, for a
//! counter of instructions; without a name it tells the names.

use std::hint::black_box;
use std::io::{self, Write};

use distributary_core::bench::{
    AcceptViewer, Arrivals, Demux, Dialogue, Frame, Open, Remember, Rewrite, Seal, Suite,
};
use divan::Bencher;

/// A piece by its name, ready to be done.
type Piece = (&'static str, fn() -> Box<dyn FnMut()>);

/// Makes a piece of a value that has a `run`.
macro_rules! piece {
    ($make:expr) => {
        || {
            let mut work = $make;
            Box::new(move || {
                black_box(work.run());
            })
        }
    };
}

const PIECES: &[Piece] = &[
    ("seal-aes-128-gcm", piece!(Seal::new(Suite::AeadAes128Gcm))),
    ("seal-aes-256-gcm", piece!(Seal::new(Suite::AeadAes256Gcm))),
    ("seal-aes-cm-sha1", piece!(Seal::new(Suite::Aes128CmSha1))),
    ("rewrite", piece!(Rewrite::default())),
    ("history", piece!(Remember::default())),
    ("demux-2000", piece!(Demux::new(2_000))),
    ("report-opened", piece!(Open::default())),
    ("arrivals-of-21", piece!(Arrivals::default())),
    ("frame-of-9-to-a-viewer", piece!(Frame::default())),
    ("dialogue", piece!(Dialogue::default())),
    ("viewer-accepted", piece!(AcceptViewer::default())),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip_while(|it| it != "--count").collect();
    match arguments.as_slice() {
        [_, name, times, ..] => count(name, times.parse().expect("a number of times")),
        [_, ..] => tell_names().expect("somebody reads them"),
        [] => divan::main(),
    }
}

fn tell_names() -> io::Result<()> {
    PIECES.iter().try_for_each(|(name, _)| writeln!(io::stdout(), "{name}"))
}

fn count(name: &str, times: usize) {
    let piece = PIECES.iter().find(|(known, _)| *known == name).expect("a piece of the list");
    repeat(&mut *piece.1(), times);
}

/// By whose name a counter knows when to count.
#[inline(never)]
fn repeat(run: &mut dyn FnMut(), times: usize) {
    (0..times).for_each(|_| run());
}

#[divan::bench(args = PIECES.iter().map(|(name, _)| *name))]
fn pieces(bencher: Bencher<'_, '_>, name: &str) {
    let piece = PIECES.iter().find(|(known, _)| *known == name).expect("a piece of the list");
    let run = piece.1();
    bencher.bench_local(run);
}
