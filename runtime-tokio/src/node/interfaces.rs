//! The addresses and the name of this machine.

use std::net::IpAddr;

use distributary_core::config::Settings;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// Which of a machine's addresses may be offered to far sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reach {
    /// Loopback only if there is nothing else.
    #[default]
    Network,
    /// Loopback too: the far sides may be on this machine.
    NetworkAndLoopback,
}

/// Lists the addresses of all interfaces that are up, in the system's order, loopback last.
///
/// Addresses of link-local scope (RFC 3927, RFC 4291 section 2.5.6) are left out: media sent to
/// one needs an interface with it, which a candidate cannot say.
pub(super) fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = Vec::new();
    for interface in interfaces.filter(|it| it.flags.contains(InterfaceFlags::IFF_UP)) {
        let Some(address) = interface.address else { continue };
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (_, Some(v6)) => IpAddr::V6(v6.ip()),
            (None, None) => continue,
        };
        let link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if !link_local && !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    addresses.sort_by_key(IpAddr::is_loopback);
    addresses
}

/// The machine's host name, if it has one that fits into a certificate.
pub(super) fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    let fits = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    fits.then_some(name)
}

/// Chooses the addresses that become ICE candidates, best first, out of those the machine has.
///
/// What `ip` names goes as it is. Else it is what `ip_local` binds, else every address of the
/// machine. `with_ipv6` says whether the media sockets can carry IPv6 at all.
pub(super) fn candidates(
    settings: &Settings,
    interfaces: &[IpAddr],
    reach: Reach,
    with_ipv6: bool,
) -> Vec<IpAddr> {
    if !settings.ip.is_empty() {
        return settings.ip.clone();
    }
    let local: Vec<IpAddr> =
        settings.ip_local.iter().copied().filter(|ip| !ip.is_unspecified()).collect();
    if !local.is_empty() {
        return local;
    }
    let usable = || interfaces.iter().copied().filter(|ip| with_ipv6 || ip.is_ipv4());
    let mut chosen: Vec<IpAddr> = usable().filter(|ip| !ip.is_loopback()).collect();
    if chosen.is_empty() || reach == Reach::NetworkAndLoopback {
        chosen.extend(usable().filter(IpAddr::is_loopback));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use distributary_core::config::SettingsFiles;

    use super::*;

    fn chosen(properties: &str, interfaces: &[&str], reach: Reach, with_ipv6: bool) -> Vec<String> {
        let files = SettingsFiles { properties, balancing: None };
        let (settings, _) = Settings::parse(files, &[]).unwrap();
        let interfaces: Vec<IpAddr> = interfaces.iter().map(|ip| ip.parse().unwrap()).collect();
        let chosen = candidates(&settings, &interfaces, reach, with_ipv6);
        chosen.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn settings_count_before_interfaces() {
        let both = "ip=203.0.113.7\nip_local=192.0.2.1\n";
        assert_eq!(chosen(both, &["192.0.2.1"], Reach::Network, true), ["203.0.113.7"]);
        let local = "ip_local=192.0.2.1\n";
        assert_eq!(chosen(local, &["192.0.2.9"], Reach::Network, true), ["192.0.2.1"]);
        let loopback = "ip_local=127.0.0.1\n";
        assert_eq!(chosen(loopback, &["192.0.2.9"], Reach::Network, true), ["127.0.0.1"]);
    }

    #[test]
    fn loopback_is_for_want_of_better_or_for_the_asking() {
        let all = ["192.0.2.1", "2001:db8::1", "127.0.0.1", "::1"];
        assert_eq!(chosen("", &all, Reach::Network, true), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(chosen("", &all, Reach::NetworkAndLoopback, true), all);
        assert_eq!(chosen("", &all, Reach::Network, false), ["192.0.2.1"]);
        assert_eq!(chosen("", &all[2..], Reach::Network, true), ["127.0.0.1", "::1"]);
    }
}
