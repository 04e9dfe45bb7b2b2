//! RTP and RTCP as they lie in a datagram (RFC 3550), under a seal that nobody looks at.

/// What a cipher of AEAD_AES_128_GCM adds (RFC 7714, section 12).
const TAG: [u8; 16] = [0; 16];

/// Whether a datagram is RTP, and not RTCP or anything else (RFC 5761, section 4).
pub(crate) fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [0x80..=0xbf, second, ..] if !(192..=223).contains(second))
}

/// Whether a datagram is RTCP.
pub(crate) fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [0x80..=0xbf, 192..=223, ..])
}

/// A packet with room for its seal behind it.
pub(crate) fn sealed_rtp(packet: &[u8]) -> Vec<u8> {
    [packet, &TAG].concat()
}

/// The `nth` compound packet, sealed (RFC 7714, section 9.2).
pub(crate) fn sealed_rtcp(packet: &[u8], nth: u32) -> Vec<u8> {
    [packet, &TAG, &(0x8000_0000 | nth).to_be_bytes()].concat()
}

/// What a datagram holds without its seal.
pub(crate) fn unsealed(datagram: &[u8]) -> &[u8] {
    let seal = if is_rtcp(datagram) { TAG.len() + 4 } else { TAG.len() };
    datagram.get(..datagram.len().saturating_sub(seal)).unwrap_or_default()
}

/// Fields of an RTP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtp<'a> {
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Rtp<'a> {
    /// Reads a packet without its seal; `None` if it is none.
    pub(crate) fn read(packet: &'a [u8]) -> Option<Self> {
        let (head, rest) = packet.split_first_chunk::<12>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *head;
        let (_, mut rest) = rest.split_at_checked(usize::from(first & 0xf) * 4)?;
        if first & 0x10 != 0 {
            let (extension, behind) = rest.split_first_chunk::<4>()?;
            let [_, _, high, low] = *extension;
            rest = behind.get(usize::from(u16::from_be_bytes([high, low])) * 4..)?;
        }
        if first & 0x20 != 0 {
            let padding = usize::from(*rest.last()?);
            rest = rest.get(..rest.len().checked_sub(padding)?)?;
        }
        Some(Self {
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            payload: rest,
        })
    }
}

/// The packets of a compound one: count or format, type, and everything behind the length.
pub(crate) fn rtcp_packets(compound: &[u8]) -> Vec<(u8, u8, &[u8])> {
    let mut packets = Vec::new();
    let mut rest = compound;
    while let [first, kind, high, low, behind @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])) * 4;
        let (body, behind) = behind.split_at_checked(len).expect("a report is whole");
        packets.push((first & 0x1f, *kind, body));
        rest = behind;
    }
    assert!(rest.is_empty(), "half a report");
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_they_were_written() {
        let packet = [
            0xb1, 0x6f, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9, 1, 1, 1, 1, 0xbe, 0xde, 0, 1, 0x10, 5, 0, 0,
            b'a', b'b', 0, 2,
        ];
        let sealed = sealed_rtp(&packet);
        assert!(is_rtp(&sealed) && !is_rtcp(&sealed));
        let read = Rtp::read(unsealed(&sealed)).expect("it is one");
        let fields = (read.payload_type, read.sequence, read.timestamp, read.ssrc);
        assert_eq!((fields, read.payload), ((0x6f, 7, 8, 9), &b"ab"[..]));
        assert!(Rtp::read(&packet[..20]).is_none());
        let report = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        let sealed = sealed_rtcp(&report, 3);
        assert!(is_rtcp(&sealed) && !is_rtp(&sealed));
        assert_eq!(rtcp_packets(unsealed(&sealed)), [(1, 206, &report[4..])]);
    }
}
