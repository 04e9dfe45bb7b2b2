//! Plays a server's streams for many viewers at once, and prints what came of it.
//!
//! ```text
//! cargo run --release -p distributary-tests --bin load -- --url ws://127.0.0.1:8080 --viewers 500
//! ```

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use distributary_tests::command;
use distributary_tests::load::{self, Address, Plan, Profile, Progress, Trust};

/// Plays streams for many viewers at once, with the signaling, ICE, DTLS, SRTP and RTCP of
/// browsers. Counts every packet, and authenticates and decrypts a sample.
///
/// Servers are spoken to as their URL says: ws:// and wss:// in the WebSDK's messages, http:// and
/// https:// by WHEP and WHIP, janus+http:// and janus+https:// by Janus's HTTP API. {name} in a
/// path is replaced by the stream's name.
///
/// The exit code is 0 if every viewer had media to the end, 1 if not, 2 for wrong arguments.
#[derive(Parser)]
#[command(name = "load")]
struct Arguments {
    /// Where viewers play, and publishers publish, such as ws://HOST:PORT, http://HOST/{name}/whep
    /// or janus+http://HOST:8088/janus?id=MOUNTPOINT
    #[arg(long, visible_alias = "edge", value_name = "URL")]
    url: Address,
    /// Where publishers publish, if that is another place, such as the origin, http://HOST/whip, or
    /// rtp://HOST:PORT for bare RTP: pictures to that port, sound two ports further
    #[arg(long, visible_alias = "origin", value_name = "URL")]
    publish_url: Option<Address>,
    /// The SHA-256 fingerprint of the certificate that is believed over TLS, and no other is
    #[arg(long, value_name = "HEX", value_parser = load::fingerprint, group = "trust")]
    fingerprint: Option<[u8; 32]>,
    /// A PEM file of the authorities that are believed over TLS; unset: the system's
    #[arg(long, value_name = "FILE", group = "trust")]
    ca: Option<PathBuf>,
    /// Believes any certificate
    #[arg(long, group = "trust")]
    insecure: bool,
    /// The streams' name; a number is appended unless --publishers is 0
    #[arg(long, default_value = "load")]
    name: String,
    /// Viewers
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    viewers: u32,
    /// Publishers; 0: somebody else publishes, and there are no delays to tell
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=1_000))]
    publishers: u32,
    /// Bit/s of a publisher's picture, in packets of 1 200 bytes and 30 pictures a second; sound
    /// at 50 packets a second comes on top
    #[arg(long, default_value_t = 2_592_000, value_parser = clap::value_parser!(u64).range(1..))]
    bitrate: u64,
    /// Seconds for which packets are counted, once everybody is there
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Viewers that come in a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    joins_per_second: u32,
    /// Seconds that a viewer may take until it has media
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
    /// One of so many packets is authenticated and decrypted
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Per cent of media and reports that viewers throw away unseen, to ask for what is missing as
    /// browsers do
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT", value_parser = command::percent)]
    loss: f64,
    /// What decides which of them are thrown away
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What viewers offer of SRTP: any, gcm-128, gcm-256 or aes-cm
    #[arg(long, default_value = "any", value_parser = Profile::named)]
    profile: Profile,
    /// A server process on this machine whose CPU and memory are watched; may be given again
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    /// Prints one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Draws the run, second by second, into an SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let trust = match (arguments.fingerprint, arguments.ca) {
        (Some(fingerprint), _) => Trust::Fingerprint(fingerprint),
        (None, Some(file)) => Trust::Authorities(file),
        (None, None) if arguments.insecure => Trust::Anything,
        (None, None) => Trust::System,
    };
    let plan = Plan {
        play: arguments.url,
        publish: arguments.publish_url,
        trust,
        name: arguments.name,
        viewers: arguments.viewers as usize,
        publishers: arguments.publishers as usize,
        bitrate: arguments.bitrate,
        span: Duration::from_secs(arguments.seconds),
        joins_per_second: arguments.joins_per_second,
        patience: Duration::from_secs(arguments.patience),
        sample: arguments.sample,
        pids: arguments.pids,
        profile: arguments.profile,
        loss: arguments.loss / 100.0,
        seed: arguments.seed,
    };
    if let Some(problem) = plan.problem() {
        Arguments::command().error(ErrorKind::ValueValidation, problem).exit();
    }
    command::end(carry_out(&plan, arguments.json, arguments.plot))
}

/// Tells whether all went well.
fn carry_out(plan: &Plan, json: bool, plot: Option<PathBuf>) -> Result<bool, String> {
    let terminal = io::stderr().is_terminal();
    let ran = load::run(plan, |progress| {
        if terminal {
            show(progress, plan.viewers);
        }
    });
    if terminal {
        command::clear();
    }
    let report = ran?;
    let text = if json { format!("{:#}\n", report.json()) } else { report.to_string() };
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    if let Some(path) = plot {
        let written = std::fs::write(&path, report.plot());
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report.complete())
}

fn show(progress: Progress, viewers: usize) {
    let Progress { stage, share, joined, over, packets } = progress;
    let counts = format!("{joined} of {viewers} viewers, {over} over, {packets} packets/s");
    command::show(share, &format!("{stage}: {counts}"));
}
