//! `distributary-mio`: the server on mio.

use std::process::ExitCode;

use distributary_mio::{Server, node};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    node::run("distributary-mio", |plan| Ok(Server::start(plan)?.into()))
}
