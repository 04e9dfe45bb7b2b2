//! Tokens of links that were used, so that whoever listened in cannot use them again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::limits::Limits;
use crate::token::{LinkProof, LinkRefusal};

/// The nonces of all tokens that would still be accepted if they came again.
#[derive(Debug, Default)]
pub(super) struct UsedTokens {
    until: BTreeMap<String, Instant>,
    due: BTreeSet<(Instant, String)>,
}

impl UsedTokens {
    /// Takes a token down as used, unless it was.
    pub(super) fn take(
        &mut self,
        now: Instant,
        proof: &LinkProof,
        limits: &Limits,
    ) -> Result<(), LinkRefusal> {
        while self.due.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, nonce)) = self.due.pop_first() {
                self.until.remove(&nonce);
            }
        }
        if self.until.contains_key(&proof.nonce) {
            return Err(LinkRefusal::Replayed);
        }
        if self.until.len() >= limits.link_tokens_max {
            return Err(LinkRefusal::TooMany);
        }
        let until = now + proof.good_for;
        self.until.insert(proof.nonce.clone(), until);
        self.due.insert((until, proof.nonce.clone()));
        Ok(())
    }
}
