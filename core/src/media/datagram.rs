//! What a datagram at a media port is, by its first bytes (RFC 7983, section 7).

pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first <= 3)
}

/// RTP or RTCP.
pub(crate) fn is_media(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (128..=191).contains(first))
}

/// RTCP, if it is one of both (RFC 5761, section 4).
pub(crate) fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|second| (192..=223).contains(second))
}
