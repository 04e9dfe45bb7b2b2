//! What a node says to an address that nobody has proved to be at, and what it was told from there:
//! whoever forges the sender of a datagram must not have a node say more to his victim than he has
//! to say himself (RFC 8445, section 19.4).

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Types of STUN messages (RFC 8489, section 5).
const REQUEST: [u8; 2] = [0, 1];
const SUCCESS: [u8; 2] = [1, 1];

/// The bytes between one node and everybody else, without the headers below UDP's.
#[derive(Debug, Default)]
pub(super) struct Balance {
    accounts: BTreeMap<SocketAddr, Account>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    heard: usize,
    sent: usize,
    /// Whether the node asked there by itself whether somebody is there.
    is_asked: bool,
    /// Whether a check of ICE has succeeded: whoever is there knows a password of the dialogue.
    is_checked: bool,
}

impl Balance {
    /// The node was told something.
    pub(super) fn hears(&mut self, from: SocketAddr, bytes: &[u8]) {
        let account = self.accounts.entry(from).or_default();
        account.heard += bytes.len();
        account.is_checked |= account.is_asked && bytes.starts_with(&SUCCESS);
    }

    /// The node says something. Answers with what is wrong about that.
    pub(super) fn says(&mut self, to: SocketAddr, bytes: &[u8]) -> Option<String> {
        let account = self.accounts.entry(to).or_default();
        if bytes.starts_with(&REQUEST) {
            // The dialogue named the address. Its checks are few, and paced (RFC 8445, section 14).
            account.is_asked = true;
            return None;
        }
        account.sent += bytes.len();
        let Account { heard, sent, is_checked, .. } = *account;
        // The answer to a check does not count as checked yet.
        account.is_checked |= bytes.starts_with(&SUCCESS);
        let wrong = !is_checked && sent > heard;
        wrong
            .then(|| format!("{to} sent {heard} bytes and gets {sent}, the last ones {bytes:02x?}"))
    }

    /// Bytes that an address was sent.
    pub(super) fn sent_to(&self, to: SocketAddr) -> usize {
        self.accounts.get(&to).map_or(0, |account| account.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 9, 9, 9], port))
    }

    #[test]
    fn who_was_not_checked_gets_what_he_sent_and_not_a_byte_more() {
        let mut balance = Balance::default();
        balance.hears(addr(1), &[22; 100]);
        assert_eq!(balance.says(addr(1), &[22; 60]), None);
        assert_eq!(balance.says(addr(1), &[22; 40]), None);
        assert!(balance.says(addr(1), &[22]).is_some());
        assert!(balance.says(addr(2), &[22]).is_some(), "nobody speaks for another");
        assert_eq!(balance.sent_to(addr(1)), 101);
    }

    #[test]
    fn the_answer_to_a_check_is_no_longer_than_the_check_and_opens_the_way() {
        let mut balance = Balance::default();
        let answer = [&SUCCESS[..], &[0; 62]].concat();
        balance.hears(addr(1), &[REQUEST, [0; 2]].concat());
        assert!(balance.says(addr(1), &answer).is_some());
        balance.hears(addr(2), &[&REQUEST[..], &[0; 62]].concat());
        assert_eq!(balance.says(addr(2), &answer), None);
        assert_eq!(balance.says(addr(2), &[0x80; 1_200]), None);
    }

    #[test]
    fn only_who_was_asked_proves_something_by_an_answer() {
        let mut balance = Balance::default();
        balance.hears(addr(1), &SUCCESS);
        assert!(balance.says(addr(1), &[22; 100]).is_some());
        assert_eq!(balance.says(addr(2), &REQUEST), None);
        assert!(balance.says(addr(2), &[22; 100]).is_some(), "it has not answered yet");
        assert_eq!(balance.says(addr(3), &REQUEST), None);
        balance.hears(addr(3), &SUCCESS);
        assert_eq!(balance.says(addr(3), &[22; 100]), None);
    }
}
