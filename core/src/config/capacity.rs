//! Who is taken in at all: what one address may ask for, and what the node takes on altogether.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::diagnostics::SettingsError;
use super::values::{Value, Values};

/// The most that any number of this module can be: more than a machine can have of it.
const COUNT_MAX: u64 = 1_000_000_000;
/// The most bit/s that a node can be told to stay under.
const BITRATE_MAX: u64 = 1_000_000_000_000;

/// What a node lets in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// `limit.viewers`: viewers at once; `None`: as many as the tables hold.
    pub viewers: Option<u64>,
    /// `limit.sessions`: signaling sessions at once, links aside; `None`: as many as the tables
    /// hold.
    pub sessions: Option<u64>,
    /// `limit.bitrate_out`: bit/s of media sent, past which nobody new is served.
    pub bitrate_out: Option<u64>,
    /// `limit.cpu`: per cent of all processors' time, past which nobody new is served.
    pub cpu_percent: Option<u8>,
    /// `address.connections`: TCP connections of one address at once, on each shard.
    pub connections: u64,
    /// `address.connections_per_second`: those that one address may open, on each shard.
    pub connections_per_second: u64,
    /// `address.joins_per_second`: plays and publications that one address may ask for, on each
    /// shard.
    pub joins_per_second: u64,
    /// `address.streams`: streams that one address may publish and play at once, on the node.
    pub streams: u64,
    /// `address.exempt`: whose addresses are not counted.
    pub exempt: Vec<Network>,
    /// `drain.timeout`: how long a draining node waits for its viewers to leave by themselves.
    pub drain_wait: Duration,
}

/// The addresses that begin alike (RFC 4632, RFC 4291 section 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    /// How many bits they have in common.
    prefix: u8,
}

impl Network {
    /// Reads `ADDRESS/BITS`, or one address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Whether an address is one of them. IPv4 in IPv6 notation is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let drop = |bits: u32| bits.saturating_sub(u32::from(self.prefix));
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differs = own.to_bits() ^ other.to_bits();
                differs.checked_shr(drop(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differs = own.to_bits() ^ other.to_bits();
                differs.checked_shr(drop(128)).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// What counts as one address: of IPv6 the network, of which one host may use all
/// (RFC 4291, section 2.5.4).
pub(crate) fn one_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

impl Capacity {
    /// Whether an address is let alone.
    pub fn exempts(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(address))
    }
}

/// Reads what the keys say.
pub(super) fn read(values: &Values) -> Result<Capacity, SettingsError> {
    let cpu_percent = most(&values.get("limit.cpu"), 100)?;
    let rate = |name: &'static str| values.get(name).number(1..=COUNT_MAX);
    Ok(Capacity {
        viewers: most(&values.get("limit.viewers"), COUNT_MAX)?,
        sessions: most(&values.get("limit.sessions"), COUNT_MAX)?,
        bitrate_out: most(&values.get("limit.bitrate_out"), BITRATE_MAX)?,
        cpu_percent: cpu_percent.and_then(|percent| u8::try_from(percent).ok()),
        connections: rate("address.connections")?,
        connections_per_second: rate("address.connections_per_second")?,
        joins_per_second: rate("address.joins_per_second")?,
        streams: rate("address.streams")?,
        exempt: networks(&values.get("address.exempt"))?,
        drain_wait: values.get("drain.timeout").millis(0)?,
    })
}

/// A number that nothing may be above; `None` for an empty value.
fn most(value: &Value<'_>, most: u64) -> Result<Option<u64>, SettingsError> {
    if value.text.is_empty() { Ok(None) } else { value.number(1..=most).map(Some) }
}

fn networks(value: &Value<'_>) -> Result<Vec<Network>, SettingsError> {
    let network = |text| {
        Network::parse(text).ok_or_else(|| {
            value.expected("addresses or networks such as 192.0.2.0/24, with commas between them")
        })
    };
    value.list().map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, SettingsFiles};

    fn parse(properties: &str) -> Result<Capacity, String> {
        let files = SettingsFiles { properties, balancing: None };
        let settings = Settings::parse(files, &[]).map_err(|error| error.to_string())?;
        Ok(settings.0.capacity)
    }

    #[test]
    fn what_is_not_written_has_no_limit_but_for_a_single_address() {
        let capacity = parse("").unwrap();
        let none = (None, None, None, None);
        let Capacity { viewers, sessions, bitrate_out, cpu_percent, .. } = capacity;
        assert_eq!((viewers, sessions, bitrate_out, cpu_percent.map(u64::from)), none);
        assert!(capacity.exempts("127.8.8.8".parse().unwrap()));
        assert!(capacity.exempts("::1".parse().unwrap()));
        assert!(capacity.exempts("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!capacity.exempts("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn values_are_checked_and_the_error_says_what_was_expected() {
        let capacity = parse("limit.viewers=500\nlimit.cpu=90\naddress.exempt=10.0.0.0/8,::/0");
        let capacity = capacity.unwrap();
        assert_eq!((capacity.viewers, capacity.cpu_percent), (Some(500), Some(90)));
        assert!(capacity.exempts("10.255.0.1".parse().unwrap()));
        assert!(capacity.exempts("2001:db8::1".parse().unwrap()));
        assert!(!capacity.exempts("11.0.0.1".parse().unwrap()));
        for (text, expected) in [
            ("limit.cpu=101", "from 1 to 100"),
            ("limit.viewers=0", "from 1 to"),
            ("address.connections=off", "a number"),
            ("address.exempt=10.0.0.0/33", "192.0.2.0/24"),
            ("address.exempt=here", "192.0.2.0/24"),
            ("drain.timeout=soon", "milliseconds"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            ("192.0.2.128/25", "192.0.2.129", "192.0.2.127"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?}");
        }
    }
}
