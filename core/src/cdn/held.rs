//! How many streams each address has: one host must not have all that there are.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::one_address;

/// What the sessions of each address publish, play, and wait for.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<IpAddr, usize>);

impl Held {
    /// How many an address has.
    pub(super) fn of(&self, address: IpAddr) -> usize {
        self.0.get(&one_address(address)).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, address: IpAddr) {
        *self.0.entry(one_address(address)).or_default() += 1;
    }

    pub(super) fn take_off(&mut self, address: IpAddr, count: usize) {
        let key = one_address(address);
        let left = self.of(address).saturating_sub(count);
        if left == 0 {
            self.0.remove(&key);
        } else {
            self.0.insert(key, left);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
