//! Networks on this machine's loopback, 127.x.y.0/24 each.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

/// What holds a network for its owner.
const LOCK_PORT: u16 = 21_079;

/// Addresses of this machine that nobody else who takes a network uses as long as this value lives.
#[derive(Debug)]
pub(crate) struct Network {
    base: [u8; 2],
    _lock: TcpListener,
}

impl Network {
    /// Takes one that is free.
    ///
    /// # Panics
    ///
    /// If none is.
    pub(crate) fn take() -> Self {
        let first = u16::try_from(std::process::id() % 0x8000).unwrap_or_default();
        for number in (first..0x8000).chain(0..first) {
            // From 127.64 on, where nothing else is known to be.
            let [x, y] = (0x4000 + number).to_be_bytes();
            let lock = TcpListener::bind((Ipv4Addr::new(127, x, y, 1), LOCK_PORT));
            if let Ok(lock) = lock {
                return Self { base: [x, y], _lock: lock };
            }
        }
        panic!("every network of the loopback is taken");
    }

    /// The address of a host there.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub(crate) fn address(&self, host: usize) -> IpAddr {
        let [x, y] = self.base;
        let host = u8::try_from(host).expect("a network has few hosts");
        Ipv4Addr::new(127, x, y, host).into()
    }
}
