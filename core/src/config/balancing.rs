//! What `loadbalancing.xml` says, as values.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::Listening;

/// What `loadbalancing.xml` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Balancing {
    /// How an edge is chosen for a viewer.
    pub mode: Mode,
    /// With [`Mode::FewestCalls`] and no viewer anywhere: choose at random.
    pub randomize: bool,
    /// How streams travel to the edges.
    pub distribution: Distribution,
    /// The edges, in the order of the file; ids are unique.
    pub nodes: Vec<EdgeNode>,
}

/// How an edge is chosen for a viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// The one with the fewest viewers.
    #[default]
    FewestCalls,
    /// Any.
    Random,
    /// Each in turn.
    RoundRobin,
    /// The one whose processors are least busy.
    LessLoadedNode,
}

/// How streams travel to the edges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Distribution {
    /// Over WebSocket and WebRTC.
    #[default]
    WebRtc,
    /// Over RTMP. [`Settings::parse`] refuses it in this version.
    ///
    /// [`Settings::parse`]: super::Settings::parse
    Rtmp,
}

/// One edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EdgeNode {
    /// Its number.
    pub id: u32,
    /// Its host name, or its address without brackets.
    pub host: String,
    /// The port of its plain WebSocket listener.
    pub ws: NonZeroU16,
    /// The port of its TLS WebSocket listener.
    pub wss: NonZeroU16,
    /// The port of its RTMP listener, told to players that ask.
    pub flash: NonZeroU16,
    /// Whether the file names a `<wss>` port: then our own link uses TLS too.
    pub secure: bool,
    /// The SHA-256 of the certificate to expect, if the file pins one; never without `secure`.
    pub fingerprint: Option<Fingerprint>,
    /// Where its `<node>` starts in the file, counted from 1.
    pub line: usize,
}

impl EdgeNode {
    /// The port that our own link dials: `wss` if the node is secure, else `ws`.
    pub const fn link_port(&self) -> NonZeroU16 {
        if self.secure { self.wss } else { self.ws }
    }

    /// Tells whether a link to this node would arrive at one of our own listeners. A node that is
    /// given by a name never counts.
    pub(super) fn is_reached_at(&self, listening: &[Listening], addresses: &[IpAddr]) -> bool {
        let Ok(address) = self.host.parse::<IpAddr>() else {
            return false;
        };
        let address = address.to_canonical();
        let is_ours = addresses.iter().any(|ours| ours.to_canonical() == address);
        listening.iter().filter(|l| l.addr.port() == self.link_port().get()).any(|listener| {
            let bound = listener.addr.ip().to_canonical();
            is_ours || bound == address || bound.is_unspecified() && address.is_loopback()
        })
    }
}

/// The SHA-256 of a certificate, DER.
///
/// It is written as pairs of hexadecimal digits with colons between them, as in SDP (RFC 8122,
/// section 5), and read with or without colons, in any letter case, with or without a `sha-256`
/// before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let digits = match text.split_once(char::is_whitespace) {
            Some((hash, digits)) if hash.eq_ignore_ascii_case("sha-256") => digits.trim_start(),
            Some(_) => return Err(FingerprintError),
            None => text,
        };
        let pairs = digits.split(':');
        if digits.contains(':') && pairs.clone().any(|pair| pair.len() != 2) {
            return Err(FingerprintError);
        }
        let digits: String = pairs.collect();
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| FingerprintError)?;
        bytes.try_into().map(Self).map_err(|_| FingerprintError)
    }
}

/// The text is no SHA-256 fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected 32 pairs of hexadecimal digits with colons between them (SHA-256)")]
pub struct FingerprintError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::input::Service;

    #[test]
    fn a_fingerprint_is_read_in_every_spelling() {
        let plain = "00ff".repeat(16);
        let colons = "00:FF:".repeat(16);
        let colons = colons.trim_end_matches(':');
        let expected = Fingerprint([0, 255].repeat(16).try_into().unwrap());
        for text in [&plain, colons, &format!("sha-256 {colons}"), &format!(" SHA-256  {plain}\n")]
        {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), colons);
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let short = "00".repeat(31);
        let long = "00".repeat(33);
        let uneven = format!("0:000:{}", "00:".repeat(30).trim_end_matches(':'));
        let other = format!("sha-1 {}", "00".repeat(32));
        for text in ["", "g", &short, &long, &uneven, &other, &"ж".repeat(32)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_fingerprint_is_read_back(bytes: [u8; 32]) {
            prop_assert_eq!(Fingerprint(bytes).to_string().parse(), Ok(Fingerprint(bytes)));
        }

        #[test]
        fn arbitrary_fingerprints_never_panic(text in "(?s).{0,80}") {
            let _ = text.parse::<Fingerprint>();
        }
    }

    fn port(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    fn node(host: &str, ws: u16, wss: Option<u16>) -> EdgeNode {
        EdgeNode {
            id: 1,
            host: host.to_owned(),
            ws: port(ws),
            wss: port(wss.unwrap_or(8443)),
            flash: port(1935),
            secure: wss.is_some(),
            fingerprint: None,
            line: 1,
        }
    }

    #[test]
    fn a_node_is_known_as_this_one_by_address_and_port() {
        let everywhere = "0.0.0.0:8080";
        for (node, bound, expected) in [
            (node("127.0.0.1", 8080, None), everywhere, true),
            (node("127.0.0.2", 8080, None), everywhere, true),
            (node("::1", 8080, None), "[::]:8080", true),
            (node("::ffff:127.0.0.1", 8080, None), everywhere, true),
            (node("192.0.2.1", 8080, None), everywhere, true),
            (node("192.0.2.2", 8080, None), everywhere, false),
            (node("127.0.0.1", 8082, None), everywhere, false),
            (node("127.0.0.1", 8080, Some(8443)), everywhere, false),
            (node("127.0.0.1", 9, Some(8080)), everywhere, true),
            (node("127.0.0.2", 8080, None), "127.0.0.1:8080", false),
            (node("127.0.0.2", 8080, None), "127.0.0.2:8080", true),
            (node("192.0.2.1", 8080, None), "10.0.0.1:8080", true),
            (node("localhost", 8080, None), everywhere, false),
        ] {
            let listening = [Listening { service: Service::Ws, addr: bound.parse().unwrap() }];
            let addresses = ["192.0.2.1".parse().unwrap()];
            assert_eq!(node.is_reached_at(&listening, &addresses), expected, "{node:?} {bound}");
        }
    }
}
