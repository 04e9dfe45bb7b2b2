//! Headers of RTP, read no further than a viewer that counts must.

/// A header (RFC 3550, section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) padded: bool,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// Bytes of the header, its extension included.
    pub(super) length: usize,
    /// The sequence number of the transport, if the packet carries one.
    pub(super) transport_sequence: Option<u16>,
}

/// What a datagram is (RFC 7983, section 7, and RFC 5761, section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Rtp,
    Rtcp,
    /// STUN, DTLS, or nothing at all.
    Other,
}

impl Kind {
    pub(super) fn of(datagram: &[u8]) -> Self {
        match datagram {
            [128..=191, 192..=223, ..] => Self::Rtcp,
            [128..=191, ..] => Self::Rtp,
            _ => Self::Other,
        }
    }
}

impl Header {
    /// Reads the header of a packet. `transport` is the extension's number that the transport's
    /// sequence numbers were agreed to have, if they were.
    pub(super) fn read(packet: &[u8], transport: Option<u8>) -> Option<Self> {
        let [first, _, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3, ..] = packet else { return None };
        let sources = usize::from(first & 0x0f);
        let mut header = Self {
            padded: first & 0x20 != 0,
            sequence: u16::from_be_bytes([*s0, *s1]),
            timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            ssrc: u32::from_be_bytes([*r0, *r1, *r2, *r3]),
            length: 12 + 4 * sources,
            transport_sequence: None,
        };
        if first & 0x10 != 0 {
            let [p0, p1, w0, w1, rest @ ..] = packet.get(header.length..)? else { return None };
            let length = 4 * usize::from(u16::from_be_bytes([*w0, *w1]));
            let block = rest.get(..length)?;
            header.length += 4 + length;
            header.transport_sequence =
                transport.and_then(|id| match u16::from_be_bytes([*p0, *p1]) {
                    0xbede => find(block, id, short_element),
                    two if two >> 4 == 0x100 => find(block, id, long_element),
                    _ => None,
                });
        }
        Some(header)
    }
}

/// The value of two bytes that has this number (RFC 8285, section 4.1).
fn find(mut block: &[u8], number: u8, element: fn(&[u8]) -> Option<Element<'_>>) -> Option<u16> {
    loop {
        // Zeros between elements are padding.
        while let [0, rest @ ..] = block {
            block = rest;
        }
        let (id, length, rest) = element(block)?;
        let (value, rest) = rest.split_at_checked(length)?;
        if id == number {
            return value.first_chunk().map(|value| u16::from_be_bytes(*value));
        }
        block = rest;
    }
}

/// An element's number, the length of its value, and what follows.
type Element<'b> = (u8, usize, &'b [u8]);

fn short_element(block: &[u8]) -> Option<Element<'_>> {
    let (head, rest) = block.split_first()?;
    // 15 is reserved for something that ends the block.
    (head >> 4 != 15).then_some((head >> 4, usize::from(head & 0x0f) + 1, rest))
}

fn long_element(block: &[u8]) -> Option<Element<'_>> {
    let [id, length, rest @ ..] = block else { return None };
    Some((*id, usize::from(*length), rest))
}

/// A payload without the padding after it; empty if that is all there is.
pub(super) fn without_padding(payload: &[u8], padded: bool) -> &[u8] {
    match payload.last() {
        Some(padding) if padded => {
            let length = payload.len().saturating_sub(usize::from(*padding));
            payload.get(..length).unwrap_or_default()
        }
        _ => payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 12] = [0x80, 0xe6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

    fn header(length: usize, transport_sequence: Option<u16>) -> Header {
        Header {
            padded: false,
            sequence: 0x0102,
            timestamp: 0x0304_0506,
            ssrc: 0x0708_090a,
            length,
            transport_sequence,
        }
    }

    fn with(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = PLAIN.to_vec();
        packet[0] = first;
        packet.extend_from_slice(rest);
        packet
    }

    #[test]
    fn headers_of_every_length_are_read() {
        assert_eq!(Header::read(&PLAIN, Some(3)), Some(header(12, None)));
        let sources = with(0x82, &[0; 8]);
        assert_eq!(Header::read(&sources, Some(3)), Some(header(20, None)));
        // Another element before it, a zero between the two.
        let short = with(0x90, &[0xbe, 0xde, 0, 2, 0x10, 0x7f, 0, 0x31, 0xab, 0xcd, 0, 0]);
        assert_eq!(Header::read(&short, Some(3)), Some(header(24, Some(0xabcd))));
        assert_eq!(Header::read(&short, Some(4)), Some(header(24, None)));
        assert_eq!(Header::read(&short, None), Some(header(24, None)));
        let long = with(0x90, &[0x10, 0x00, 0, 2, 1, 1, 9, 3, 2, 0xab, 0xcd, 0]);
        assert_eq!(Header::read(&long, Some(3)), Some(header(24, Some(0xabcd))));
        let end = with(0x90, &[0xbe, 0xde, 0, 1, 0xf0, 0x31, 0xab, 0xcd]);
        assert_eq!(Header::read(&end, Some(3)), Some(header(20, None)));
    }

    #[test]
    fn what_ends_too_early_is_no_header() {
        for cut in [&PLAIN[..11], &with(0x90, &[0xbe, 0xde, 0]), &with(0x90, &[0xbe, 0xde, 0, 1])] {
            assert_eq!(Header::read(cut, Some(3)), None, "{cut:?}");
        }
        let cut = with(0x90, &[0xbe, 0xde, 0, 1, 0, 0, 0x33, 0xab]);
        assert_eq!(Header::read(&cut, Some(3)), Some(header(20, None)));
    }

    #[test]
    fn datagrams_are_told_apart() {
        assert_eq!(Kind::of(&PLAIN), Kind::Rtp);
        assert_eq!(Kind::of(&[0x80, 200]), Kind::Rtcp);
        for other in [&[][..], &[0, 1], &[22, 254], &[192, 0]] {
            assert_eq!(Kind::of(other), Kind::Other, "{other:?}");
        }
    }

    #[test]
    fn padding_is_taken_off() {
        assert_eq!(without_padding(&[1, 2, 0, 2], true), [1, 2]);
        assert_eq!(without_padding(&[1, 2, 0, 2], false), [1, 2, 0, 2]);
        assert_eq!(without_padding(&[0, 9], true), [0; 0]);
    }
}
