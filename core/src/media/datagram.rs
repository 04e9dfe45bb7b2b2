//! What a datagram at a media port is, by its first bytes (RFC 7983, section 7), and whose.

/// RFC 8489, section 5.
const STUN_HEAD_BYTES: usize = 20;
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// RFC 8489, section 18.3.
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;

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

/// The user name fragment of ours that a STUN message names (RFC 8445, section 7.2.2).
///
/// Strangers send what they like, so it stops where that is found, copies nothing and has nothing
/// to say. All the rest of a message is read once it is clear whose it is.
pub(crate) fn stun_fragment(datagram: &[u8]) -> Option<&str> {
    let (head, mut rest) = datagram.split_first_chunk::<STUN_HEAD_BYTES>()?;
    let [_, _, high, low, cookie @ ..] = head;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length != rest.len() || !cookie.starts_with(&STUN_COOKIE) {
        return None;
    }
    loop {
        let ([kind @ .., high, low], after) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match u16::from_be_bytes(*kind) {
            USERNAME => {
                let name = std::str::from_utf8(after.get(..length)?).ok()?;
                return name.split_once(':').map(|(ours, _)| ours);
            }
            // What follows it is of no account (RFC 8489, section 14.5).
            MESSAGE_INTEGRITY => return None,
            _ => rest = after.get(length.next_multiple_of(4)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use str0m::ice::StunMessage;

    use super::*;

    /// A STUN request of these attributes.
    fn request(attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in attributes {
            bytes.extend(kind.to_be_bytes());
            bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let mut request = vec![0, 1];
        request.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        request.extend(STUN_COOKIE);
        request.extend([9; 12]);
        request.extend(bytes);
        request
    }

    /// Of kinds that mean nothing to anybody.
    fn unknown() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
        vec((0x9000_u16..0x9fff, vec(any::<u8>(), 0..9)), 0..4)
    }

    proptest! {
        #[test]
        fn a_fragment_is_found_where_str0m_finds_it(
            before in unknown(),
            name in "[!-9;-~]{0,12}(:[!-~]{1,12})?",
            after in unknown(),
            cut in 0_usize..200,
        ) {
            let named = [(USERNAME, name.into_bytes()), (0x0024, vec![0, 0, 0, 1])];
            let sealed = [(MESSAGE_INTEGRITY, vec![0; 20])];
            let all = [before, named.to_vec(), after, sealed.to_vec()].concat();
            let request = request(&all);
            let parsed = StunMessage::parse(&request).ok();
            let found = parsed.as_ref().and_then(StunMessage::split_username);
            prop_assert_eq!(stun_fragment(&request), found.map(|(ours, _)| ours));
            let end = cut.min(request.len() - 1);
            prop_assert_eq!(stun_fragment(request.get(..end).unwrap_or_default()), None);
        }

        #[test]
        fn no_datagram_panics(mut bytes in vec(any::<u8>(), 0..120), whole: bool) {
            if whole && bytes.len() >= STUN_HEAD_BYTES {
                let length = u16::try_from(bytes.len() - STUN_HEAD_BYTES).unwrap().to_be_bytes();
                bytes.splice(2..8, length.into_iter().chain(STUN_COOKIE));
            }
            let found = stun_fragment(&bytes).map(str::len);
            prop_assert!(found.is_none_or(|length| length < bytes.len()));
        }
    }

    #[test]
    fn a_name_behind_the_seal_is_none() {
        let name = (USERNAME, b"ours:far".to_vec());
        let seal = (MESSAGE_INTEGRITY, vec![0; 20]);
        assert_eq!(stun_fragment(&request(&[name.clone(), seal.clone()])), Some("ours"));
        assert_eq!(stun_fragment(&request(&[seal, name])), None);
    }
}
