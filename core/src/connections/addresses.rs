//! What each remote address has open, and how much more it may ask for soon: one host must not use
//! up what is there for all.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::config::{Capacity, one_address};

/// What may come at once is what may come within this time.
const BURST: Duration = Duration::from_secs(5);
/// With fewer addresses than this, none is looked at whether it can be forgotten.
const SWEEP_MIN: usize = 64;
/// The least time between two such looks.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The addresses that are counted.
#[derive(Debug)]
pub(super) struct Addresses {
    table: BTreeMap<IpAddr, Account>,
    addresses_max: usize,
    /// With how many addresses those are forgotten that have nothing open and all of their budget.
    sweep_at: usize,
    /// When that was done last: in a flood it would be done for everybody who comes.
    swept: Option<Instant>,
}

/// Whose account a connection is counted on, to be given back when it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counted(IpAddr);

/// What one address has.
#[derive(Clone, Copy, Default, Debug)]
struct Account {
    open: u64,
    connections: Budget,
    joins: Budget,
}

/// The generic cell rate algorithm (ITU-T I.371): until when what was taken is paid for.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Budget(Option<Instant>);

impl Budget {
    /// Takes one, and tells whether it was there.
    pub(super) fn take(&mut self, now: Instant, per_second: u64) -> bool {
        let interval = Duration::from_nanos(1_000_000_000 / per_second.max(1));
        let paid = self.0.map_or(now, |paid| paid.max(now)) + interval;
        let is_there = paid <= now + BURST;
        if is_there {
            self.0 = Some(paid);
        }
        is_there
    }

    fn is_whole(&self, now: Instant) -> bool {
        self.0.is_none_or(|paid| paid <= now)
    }
}

impl Account {
    fn is_idle(&self, now: Instant) -> bool {
        self.open == 0 && self.connections.is_whole(now) && self.joins.is_whole(now)
    }
}

impl Addresses {
    /// Counts this many addresses one by one.
    pub(super) fn new(addresses_max: usize) -> Self {
        Self { table: BTreeMap::new(), addresses_max, sweep_at: SWEEP_MIN, swept: None }
    }

    /// Counts a connection that comes in, unless its address is exempt, or says why it may not.
    pub(super) fn open(
        &mut self,
        now: Instant,
        address: IpAddr,
        capacity: &Capacity,
    ) -> Result<Option<Counted>, &'static str> {
        if capacity.exempts(address) {
            return Ok(None);
        }
        let (key, account) = self.account(now, address);
        if account.open >= capacity.connections {
            return Err("too many connections of one address (address.connections)");
        }
        if !account.connections.take(now, capacity.connections_per_second) {
            return Err("connections come too fast (address.connections_per_second)");
        }
        account.open += 1;
        Ok(Some(Counted(key)))
    }

    /// Takes back what [`Addresses::open`] counted.
    pub(super) fn close(&mut self, now: Instant, Counted(key): Counted) {
        let Some(account) = self.table.get_mut(&key) else { return };
        account.open = account.open.saturating_sub(1);
        if account.is_idle(now) {
            self.table.remove(&key);
        }
    }

    /// Takes one play or publication, and tells whether the address may have it.
    pub(super) fn join(&mut self, now: Instant, address: IpAddr, capacity: &Capacity) -> bool {
        capacity.exempts(address)
            || self.account(now, address).1.joins.take(now, capacity.joins_per_second)
    }

    /// An address's account, and its key. With too many of them, newcomers share one: they find
    /// less, and those who are known lose nothing.
    fn account(&mut self, now: Instant, address: IpAddr) -> (IpAddr, &mut Account) {
        let mut key = one_address(address);
        if !self.table.contains_key(&key) {
            self.sweep(now);
            if self.table.len() >= self.addresses_max {
                key = SHARED;
            }
        }
        (key, self.table.entry(key).or_default())
    }

    fn sweep(&mut self, now: Instant) {
        let lately = self.swept.is_some_and(|swept| now < swept + SWEEP_INTERVAL);
        if lately || self.table.len() < self.sweep_at.min(self.addresses_max) {
            return;
        }
        self.table.retain(|_, account| !account.is_idle(now));
        self.sweep_at = SWEEP_MIN.max(2 * self.table.len());
        self.swept = Some(now);
    }
}

/// Stands for all who have no account of their own; no connection comes from there.
const SHARED: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::Settings;
    use crate::tests::start;

    /// Everybody is counted: four connections at once, ten a second, two joins a second.
    fn strict() -> Capacity {
        let capacity = Settings::default().capacity;
        Capacity {
            connections: 4,
            connections_per_second: 10,
            joins_per_second: 2,
            exempt: Vec::new(),
            ..capacity
        }
    }

    fn ip(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    #[test]
    fn an_address_has_so_much_open_and_another_does_not_mind() {
        let (now, capacity) = (start(), strict());
        let mut addresses = Addresses::new(1_000);
        let mut open = |address| addresses.open(now, address, &capacity).map(Option::unwrap);
        let counted: Vec<Counted> = (0..4).map(|_| open(ip(1)).unwrap()).collect();
        assert!(open(ip(1)).unwrap_err().contains("address.connections)"));
        open(ip(2)).unwrap();
        let [first, ..] = counted.as_slice() else { panic!() };
        addresses.close(now, *first);
        addresses.open(now, ip(1), &capacity).unwrap();
    }

    #[test]
    fn what_comes_too_fast_is_refused_until_its_time_has_come() {
        let mut now = start();
        let capacity = Capacity { connections: 1_000, ..strict() };
        let mut addresses = Addresses::new(1_000);
        let mut taken = 0;
        while let Ok(Some(counted)) = addresses.open(now, ip(1), &capacity) {
            addresses.close(now, counted);
            taken += 1;
        }
        assert_eq!(taken, 50);
        now += Duration::from_millis(100);
        addresses.open(now, ip(1), &capacity).unwrap();
        assert!(addresses.open(now, ip(1), &capacity).is_err());
        for _ in 0..10 {
            assert!(addresses.join(now, ip(1), &capacity));
        }
        assert!(!addresses.join(now, ip(1), &capacity));
        assert!(!addresses.join(now + Duration::from_millis(499), ip(1), &capacity));
        assert!(addresses.join(now + Duration::from_millis(500), ip(1), &capacity));
    }

    #[test]
    fn the_exempt_are_not_counted_and_a_network_of_ipv6_counts_as_one() {
        let (now, capacity) = (start(), strict());
        let capacity = Capacity { exempt: Settings::default().capacity.exempt, ..capacity };
        let mut addresses = Addresses::new(1_000);
        for _ in 0..100 {
            let local = Ipv4Addr::LOCALHOST.into();
            assert_eq!(addresses.open(now, local, &capacity), Ok(None));
            assert!(addresses.join(now, local, &capacity));
        }
        for host in 0..4u128 {
            let address = Ipv6Addr::from_bits((0x2001_0db8 << 96) + host).into();
            addresses.open(now, address, &capacity).unwrap();
        }
        let another = "2001:db8::ffff".parse().unwrap();
        assert!(addresses.open(now, another, &capacity).is_err());
        let neighbour = "2001:db8:0:1::1".parse().unwrap();
        addresses.open(now, neighbour, &capacity).unwrap();
    }

    #[test]
    fn addresses_without_number_take_no_memory_and_nothing_from_those_who_are_known() {
        let (mut now, capacity) = (start(), strict());
        let mut addresses = Addresses::new(100);
        let known = addresses.open(now, ip(0), &capacity).unwrap().unwrap();
        let mut refused = 0;
        for n in 1..1_000 {
            refused += usize::from(addresses.open(now, ip(n), &capacity).is_err());
        }
        assert_eq!(addresses.table.len(), 101);
        // 99 had an account of their own, four were let in together.
        assert_eq!(refused, 999 - 99 - 4);
        for _ in 0..3 {
            addresses.open(now, ip(0), &capacity).unwrap();
        }
        // When all are gone and nothing is owed, nothing is kept.
        for key in addresses.table.keys().copied().collect::<Vec<_>>() {
            while addresses.table.get(&key).is_some_and(|account| account.open > 0) {
                addresses.close(now, Counted(key));
            }
        }
        addresses.close(now, known);
        now += Duration::from_secs(10);
        let last = addresses.open(now, ip(5_000), &capacity).unwrap().unwrap();
        assert_eq!(addresses.table.len(), 1);
        addresses.close(now + Duration::from_secs(1), last);
        assert!(addresses.table.is_empty());
    }
}
