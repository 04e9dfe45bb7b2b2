//! What nobody can do without: a process that only seals and sends, to viewers who let it.
//!
//! It makes the packets of one publisher by itself, at the times at which a publisher would send
//! them, copies and seals each for every viewer under a key of that viewer, and sends them in runs
//! of equal segments. It is woken by the viewers' reports as a server is, receives them, and throws
//! them away. There is no signaling, no ICE, no DTLS, no rewriting of headers, no history and no
//! retransmission. The viewers are the same as those of a server, and authenticate the same share.

mod media;
mod sender;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::keys::Keys;
use super::profiles::Profile;
use super::receiver::{Control, Scrutiny};
use super::track::Track;
use super::viewer::Seat;
use crate::browser::Codec;

pub use sender::serve;

/// Numbers of the two streams, the same for all viewers: their keys differ.
const VIDEO_SSRC: u32 = 0x0f10_0001;
const AUDIO_SSRC: u32 = 0x0f10_0002;
/// The number of the extension in a browser's offer.
const TRANSPORT_SEQUENCE: u8 = 3;

/// The process, seen from outside. It ends with this value.
#[derive(Debug)]
pub struct Floor {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    addr: SocketAddr,
    profile: Profile,
}

impl Floor {
    /// Starts it. The command is a program that calls [`serve`] and does nothing else.
    ///
    /// # Errors
    ///
    /// In one sentence, if it does not start.
    pub fn start(command: &mut Command, profile: Profile) -> Result<Self, String> {
        let failed = |problem: &dyn std::fmt::Display| format!("the floor's process: {problem}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        let read = answers.read_line(&mut line).map_err(|error| failed(&error));
        let addr = line.trim().strip_prefix("ready media=").and_then(|addr| addr.parse().ok());
        // From here on it is ended by its owner.
        let floor = |addr| Self { child, orders, answers, addr, profile };
        match (read, addr) {
            (Ok(_), Some(addr)) => Ok(floor(addr)),
            (Err(problem), _) => Err(problem),
            (Ok(_), None) => Err(failed(&format!("said {line:?} instead of ready"))),
        }
    }

    /// The number by which the operating system knows the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The seat of a viewer.
    pub(super) fn seat(&self, index: usize, scrutiny: Scrutiny, patience: Duration) -> Seat {
        let track = |codec, ssrc| Track::new(codec, ssrc, None);
        Seat {
            server: self.addr,
            keys: keys(index, self.profile, true),
            tracks: vec![track(Codec::H264, VIDEO_SSRC), track(Codec::Opus, AUDIO_SSRC)],
            control: Control::Arrivals(TRANSPORT_SEQUENCE),
            scrutiny,
            patience,
        }
    }

    /// Has it send to viewers at these ports of this machine, in the order of their seats. The
    /// clock shows `at`.
    pub(super) fn begin(&mut self, at: Duration, ports: &[u16]) -> Result<(), String> {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let began = unix.saturating_sub(at).as_micros();
        let orders = format!("{} {began} {}\n", self.profile.name(), ports.join(","));
        let pipe = self.orders.as_mut().ok_or("the floor was ended")?;
        pipe.write_all(orders.as_bytes()).map_err(|error| format!("the floor's process: {error}"))
    }

    /// Ends it, and answers with what it counted.
    ///
    /// # Errors
    ///
    /// In one sentence, if it had ended by itself.
    pub fn end(mut self) -> Result<Value, String> {
        self.orders = None;
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        read.map_err(|error| format!("the floor's process: {error}"))?;
        serde_json::from_str(&line).map_err(|_| format!("the floor's process said {line:?} last"))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.orders = None;
        // A process that has ended by itself cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The keys of a viewer, which are no secret here, but no two viewers have the same.
fn keys(index: usize, profile: Profile, client: bool) -> Keys {
    let profile = profile.srtp();
    let mut bytes = fastrand::Rng::with_seed(index as u64);
    let material = (0..profile.keying_material_len()).map(|_| bytes.u8(..)).collect();
    Keys { profile, material, client }
}

#[cfg(test)]
mod tests {
    use super::media::{HEAD_BYTES, Media};
    use super::*;
    use crate::browser::Stamp;
    use crate::load::rtp::Header;
    use crate::load::srtp::{Sealer, Srtp};

    #[test]
    fn each_viewer_opens_its_own_packets_and_no_others() {
        for profile in [Profile::Gcm128, Profile::Gcm256, Profile::AesCm] {
            let sealer = Sealer::new(&keys(3, profile, false)).unwrap();
            let mut media = Media::new(Duration::ZERO);
            let packets = media.due(Duration::ZERO);
            // One picture and one packet of sound.
            assert_eq!(packets.len(), 10);
            for packet in packets {
                let mut sealed = packet.bytes.clone();
                sealed.resize(sealed.len() + sealer.tag_bytes(), 0);
                sealer.seal(&mut sealed, HEAD_BYTES, packet.index).unwrap();
                let header = Header::read(&sealed, Some(TRANSPORT_SEQUENCE)).unwrap();
                assert_eq!(header.length, HEAD_BYTES);
                assert_eq!(u64::from(header.sequence), packet.index);
                assert!(header.transport_sequence.is_some());
                let opened = |index: usize, sealed: &[u8]| {
                    let srtp = Srtp::new(&keys(index, profile, true)).unwrap();
                    let mut sealed = sealed.to_vec();
                    srtp.open_rtp(&mut sealed, HEAD_BYTES, packet.index).map(<[u8]>::to_vec)
                };
                assert_eq!(opened(2, &sealed), None, "{profile:?}");
                let payload = opened(3, &sealed).unwrap();
                let stamp = Stamp::find(&payload).unwrap();
                assert_eq!((stamp.publisher, stamp.sent), (1, Duration::ZERO), "{profile:?}");
            }
        }
    }
}
