//! The token that an origin shows an edge to open a link: who it is, and that it has the key.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{NumericDate, Token, TokenFault, TokenKeys};
use crate::limits::Limits;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct LinkClaims {
    /// The name of the node that opens the link.
    iss: String,
    /// The edge as it is addressed, the same as the request's `Host`.
    aud: String,
    /// Makes a token good for one link.
    jti: String,
}

/// What a token proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LinkProof {
    /// The node at the other end.
    pub(crate) node: String,
    /// It must not come again.
    pub(crate) nonce: String,
    /// For how long the token would still be accepted.
    pub(crate) good_for: Duration,
}

/// Why a link is refused, in words for the operators of both ends: they repeat nothing of a token,
/// and have neither quotation marks nor backslashes, so that they can stand between some
/// (RFC 6750, section 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum LinkRefusal {
    #[error("a link needs a token here: give the origin the cdn_auth_key of this node")]
    Missing,
    #[error("this node is listed as its own edge in loadbalancing.xml")]
    Itself,
    #[error("the token was signed with another key: cdn_auth_key must be the same on both nodes")]
    Key,
    #[error(
        "the clock of the origin is {ahead} s ahead of this node's, and {accepted} s are accepted: \
         set the clocks and restart the node whose clock was wrong"
    )]
    Ahead { ahead: u64, accepted: u64 },
    #[error(
        "the token expired {ago} s ago: unless it is an old one, the clock of the origin is behind \
         this node's by more than the {accepted} s that are accepted: set the clocks and restart \
         the node whose clock was wrong"
    )]
    Behind { ago: u64, accepted: u64 },
    #[error(
        "the token is for another node than Host names: a proxy in between must leave Host as it is"
    )]
    Audience,
    #[error("the token is good for longer than a link's may be")]
    LongLived,
    #[error("the token was used before")]
    Replayed,
    #[error("more links came than are kept track of: the next try may do")]
    TooMany,
    #[error("the token is of no use: {0}")]
    Token(TokenFault),
}

impl LinkRefusal {
    /// Whether the token may be one for something else, of somebody who is no node.
    pub(crate) const fn is_of_no_node(self) -> bool {
        matches!(self, Self::Key | Self::Token(_))
    }

    fn of(fault: TokenFault, limits: &Limits) -> Self {
        let accepted = limits.token_skew_max.as_secs();
        match fault {
            TokenFault::Key => Self::Key,
            TokenFault::NotYet(ahead) => Self::Ahead { ahead, accepted },
            TokenFault::Expired(ago) => Self::Behind { ago, accepted },
            TokenFault::TooLong
            | TokenFault::Malformed
            | TokenFault::Claims
            | TokenFault::Endless => Self::Token(fault),
        }
    }
}

impl TokenKeys {
    /// Makes the token with which `node` opens one link, at `now` since 1970-01-01 00:00:00 UTC, to
    /// the node that it addresses as `edge`.
    pub(crate) fn sign_link(
        &self,
        node: &str,
        edge: &str,
        nonce: String,
        now: Duration,
        limits: &Limits,
    ) -> String {
        self.sign(&Token {
            issued_at: Some(NumericDate(now)),
            not_before: None,
            expires_at: Some(NumericDate(now + limits.link_token_life)),
            claims: LinkClaims { iss: node.to_owned(), aud: edge.to_owned(), jti: nonce },
        })
    }

    /// Reads a token that came, at `now`, with a request to `host`. Whether it came before is for
    /// the whole node to say.
    pub(crate) fn verify_link(
        &self,
        token: &str,
        host: &str,
        now: Duration,
        limits: &Limits,
    ) -> Result<LinkProof, LinkRefusal> {
        let read = self.verify::<LinkClaims>(token, now, limits);
        let read = read.map_err(|fault| LinkRefusal::of(fault, limits))?;
        let LinkClaims { iss, aud, jti } = read.claims;
        let end = read.expires_at.map_or(now, |end| end.0).saturating_add(limits.token_skew_max);
        let good_for = end.saturating_sub(now);
        if !aud.eq_ignore_ascii_case(host) {
            return Err(LinkRefusal::Audience);
        }
        // The clock of whoever signed it may be ahead.
        if good_for > limits.link_token_life + 2 * limits.token_skew_max {
            return Err(LinkRefusal::LongLived);
        }
        if iss.is_empty() || iss.len() > limits.name_bytes_max {
            return Err(LinkRefusal::Token(TokenFault::Claims));
        }
        Ok(LinkProof { node: iss, nonce: jti, good_for })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn keys() -> TokenKeys {
        TokenKeys::new(b"one", None)
    }

    fn sign(limits: &Limits) -> String {
        keys().sign_link("origin", "edge.example:8443", "n1".to_owned(), NOW, limits)
    }

    fn verify(token: &str, now: Duration) -> Result<LinkProof, LinkRefusal> {
        keys().verify_link(token, "edge.example:8443", now, &Limits::default())
    }

    #[test]
    fn a_link_is_proven_to_the_node_that_it_addresses() {
        let token = sign(&Limits::default());
        let good_for = Duration::from_secs(120);
        let proof = LinkProof { node: "origin".to_owned(), nonce: "n1".to_owned(), good_for };
        assert_eq!(verify(&token, NOW), Ok(proof.clone()));
        let limits = Limits::default();
        let at = |host| keys().verify_link(&token, host, NOW, &limits);
        assert_eq!(at("Edge.example:8443"), Ok(proof));
        assert_eq!(at("edge.example"), Err(LinkRefusal::Audience));
        assert_eq!(at(""), Err(LinkRefusal::Audience));
    }

    #[test]
    fn clocks_may_differ_so_much_and_no_more_and_the_refusal_says_so() {
        let token = sign(&Limits::default());
        let minute = Duration::from_secs(60);
        assert!(verify(&token, NOW - minute).is_ok());
        assert!(verify(&token, NOW + minute).is_ok());
        let ahead = verify(&token, NOW - minute - SECOND).unwrap_err();
        assert_eq!(ahead, LinkRefusal::Ahead { ahead: 61, accepted: 60 });
        assert!(ahead.to_string().contains("61 s ahead of this node's, and 60 s are"), "{ahead}");
        let behind = verify(&token, NOW + 2 * minute).unwrap_err();
        assert_eq!(behind, LinkRefusal::Behind { ago: 60, accepted: 60 });
        assert!(behind.to_string().contains("is behind this node's by more than"), "{behind}");
    }

    #[test]
    fn a_token_that_would_be_good_for_long_is_refused() {
        let life = |life| sign(&Limits { link_token_life: life, ..Limits::default() });
        let most = Limits::default().link_token_life + Limits::default().token_skew_max;
        assert!(verify(&life(most), NOW).is_ok());
        assert_eq!(verify(&life(most + SECOND), NOW), Err(LinkRefusal::LongLived));
        assert_eq!(verify(&life(Duration::MAX - NOW), NOW), Err(LinkRefusal::LongLived));
    }

    #[test]
    fn tokens_for_other_things_are_no_links() {
        let others = Token {
            issued_at: None,
            not_before: None,
            expires_at: Some(NumericDate(NOW)),
            claims: serde_json::json!({ "sub": "somebody" }),
        };
        let expected = Err(LinkRefusal::Token(TokenFault::Claims));
        assert_eq!(verify(&keys().sign(&others), NOW), expected);
        let limits = Limits::default();
        for name in [String::new(), "n".repeat(limits.name_bytes_max + 1)] {
            let token = keys().sign_link(&name, "edge.example:8443", String::new(), NOW, &limits);
            assert_eq!(verify(&token, NOW), expected);
        }
        assert_eq!(verify("x", NOW), Err(LinkRefusal::Token(TokenFault::Malformed)));
        let stranger = TokenKeys::new(b"two", None);
        let token = stranger.sign_link("o", "edge.example:8443", String::new(), NOW, &limits);
        assert_eq!(verify(&token, NOW), Err(LinkRefusal::Key));
    }
}
