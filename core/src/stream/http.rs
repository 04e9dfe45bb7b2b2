//! HTTP/1.1 as far as a node needs it: requests that it answers, and the two that it sends.
//!
//! Sources: RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 6455 section 4 (the upgrade).

mod body;
mod dial;
mod head;
mod request;
mod response;

pub(crate) use self::dial::Outbound;
pub(super) use self::dial::{Answer, Awaited, upgrade_head};
pub(super) use self::request::{Exchange, Requests, Step};
pub(crate) use self::request::{Method, Request};
pub(crate) use self::response::Response;
pub(super) use self::response::switching_protocols;
