//! `distributary-tokio`: the server on tokio.

use std::process::ExitCode;

use distributary_tokio::{Server, node};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    node::run("distributary-tokio", |plan| Ok(Server::start(plan)?.into()))
}
