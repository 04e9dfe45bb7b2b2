//! What a browser reads off the packets of a transport before it opens them: how the far side
//! counts them, when it says that it sent them, and whose it says that they are.

use std::collections::BTreeMap;
use std::time::Duration;

use str0m::rtp::Extension;

use super::answer::Answer;
use super::offer::Engine;
use super::seen::OVERDUE;

/// More of one kind tell nothing new.
const FAULTS_MAX: usize = 5;

/// What came in on one transport.
#[derive(Debug)]
pub(super) struct Transport {
    ids: Ids,
    /// The m-line of every source that was announced, and whether a packet has said so, too.
    sources: BTreeMap<u32, (usize, bool)>,
    /// What came lately, by its number.
    recent: BTreeMap<u64, Arrival>,
    /// The highest number so far, and the last one below which nothing comes any more.
    newest: Option<u64>,
    settled: Option<u64>,
    missing: usize,
    faults: Vec<String>,
}

/// The numbers of header extensions.
#[derive(Clone, Copy, Debug)]
struct Ids {
    count: Option<u8>,
    sent: Option<u8>,
    mid: Option<u8>,
}

/// One packet, its number aside.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Duration,
    ssrc: u32,
    sequence: u16,
    /// Seconds with 18 bits behind the point, of 24 in all.
    sent: Option<u32>,
}

impl Transport {
    /// A transport on which what the answer announces will come.
    pub(super) fn new(engine: Engine, answer: &Answer) -> Self {
        let id = |wanted: Extension| {
            engine.extensions().iter().find(|(_, known)| *known == wanted).map(|(id, _)| *id)
        };
        let ids = Ids {
            count: answer.transport_sequence,
            sent: id(Extension::AbsoluteSendTime),
            mid: id(Extension::RtpMid),
        };
        let lines = answer.lines.iter().enumerate();
        let sources = lines.flat_map(|(mid, line)| line.ssrcs.iter().map(move |ssrc| (*ssrc, mid)));
        Self {
            ids,
            sources: sources.map(|(ssrc, mid)| (ssrc, (mid, false))).collect(),
            recent: BTreeMap::new(),
            newest: None,
            settled: None,
            missing: 0,
            faults: Vec::new(),
        }
    }

    /// The number of the header extension that counts packets, if they are to be counted.
    pub(super) fn counting_id(&self) -> Option<u8> {
        self.ids.count
    }

    /// What is wrong with the headers: a number of two packets, a time of sending that runs back,
    /// a source that nobody announced, or one that says it is of another m-line.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Numbers that never came.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// Takes a datagram, whatever it is.
    pub(super) fn take(&mut self, at: Duration, datagram: &[u8]) {
        let Some(header) = Header::parse(datagram) else { return };
        self.check_source(&header);
        let Some(number) = self.ids.count.and_then(|id| header.number(id)) else { return };
        let number = self.extend(number);
        let sent = self.ids.sent.and_then(|id| header.element(id));
        let sent = sent.and_then(|bytes| <[u8; 3]>::try_from(bytes).ok());
        let sent = sent.map(|[high, middle, low]| u32::from_be_bytes([0, high, middle, low]));
        let Header { ssrc, sequence, .. } = header;
        self.settle(at);
        self.put(number, Arrival { at, ssrc, sequence, sent });
    }

    fn check_source(&mut self, header: &Header<'_>) {
        let Header { ssrc, sequence, .. } = *header;
        let Some((line, is_named)) = self.sources.get_mut(&ssrc) else {
            return self.complain(format!("{sequence} is of the source {ssrc}, which is none"));
        };
        let line = *line;
        match self.ids.mid.and_then(|id| header.element(id)) {
            Some(mid) if mid == line.to_string().as_bytes() => *is_named = true,
            None if *is_named => {}
            mid => self.complain(format!("{sequence} of m-line {line} says it is of {mid:?}")),
        }
    }

    fn put(&mut self, number: u64, arrival: Arrival) {
        if self.settled.is_some_and(|settled| number <= settled) {
            // It was given up, or comes twice.
            return;
        }
        let sent = |(_, other): (&u64, &Arrival)| other.sent;
        let before = self.recent.range(..number).next_back().and_then(sent);
        let after = self.recent.range(number + 1..).next().and_then(sent);
        let runs_back = |early: Option<u32>, late: Option<u32>| {
            early.zip(late).is_some_and(|(early, late)| is_before(late, early))
        };
        if runs_back(before, arrival.sent) || runs_back(arrival.sent, after) {
            self.complain(format!("what is counted as {number} was not sent in its turn"));
        }
        let other = self.recent.entry(number).or_insert(arrival);
        if (other.ssrc, other.sequence) != (arrival.ssrc, arrival.sequence) {
            let fault =
                format!("{} and {} are both counted as {number}", other.sequence, arrival.sequence);
            self.complain(fault);
        }
    }

    /// Numbers before one that came half a second ago do not come any more.
    fn settle(&mut self, now: Duration) {
        while let Some(first) =
            self.recent.first_entry().filter(|first| first.get().at + OVERDUE <= now)
        {
            let number = *first.key();
            first.remove();
            let expected = self.settled.map_or(number, |settled| settled + 1);
            self.missing += usize::try_from(number - expected).unwrap_or(usize::MAX);
            self.settled = Some(number);
        }
    }

    /// Of the numbers that end like this, the one that is nearest to the newest.
    fn extend(&mut self, number: u16) -> u64 {
        // So that what was overtaken by the first is not below zero.
        let newest = self.newest.unwrap_or(u64::from(number) + 0x1_0000);
        let [.., high, low] = newest.to_be_bytes();
        let ahead = number.wrapping_sub(u16::from_be_bytes([high, low])).cast_signed();
        let extended = newest.saturating_add_signed(ahead.into());
        self.newest = Some(extended.max(newest));
        extended
    }

    fn complain(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

/// Whether a time of 24 bits is before another.
fn is_before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other) & 0xff_ffff > 0x7f_ffff
}

/// The header of an RTP packet (RFC 3550, section 5.1), as far as it is read here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'d> {
    ssrc: u32,
    sequence: u16,
    /// Whether its extensions have heads of two bytes.
    is_wide: bool,
    extensions: &'d [u8],
}

impl<'d> Header<'d> {
    /// `None` of what is no RTP.
    pub(crate) fn parse(datagram: &'d [u8]) -> Option<Self> {
        const IS_EXTENDED: u8 = 0x10;
        let [first, second, high, low, ..] = *datagram else { return None };
        let is_control = (192..=223).contains(&second);
        if first >> 6 != 2 || is_control {
            return None;
        }
        let ssrc = u32::from_be_bytes(datagram.get(8..12)?.try_into().ok()?);
        let sequence = u16::from_be_bytes([high, low]);
        let behind = datagram.get(12 + 4 * usize::from(first & 15)..)?;
        if first & IS_EXTENDED == 0 {
            return Some(Self { ssrc, sequence, is_wide: false, extensions: &[] });
        }
        let ([profile @ .., high, low], behind) = behind.split_first_chunk::<4>()?;
        let is_wide = match profile {
            [0xbe, 0xde] => false,
            [0x10, 0..16] => true,
            _ => return None,
        };
        let words = usize::from(u16::from_be_bytes([*high, *low]));
        Some(Self { ssrc, sequence, is_wide, extensions: behind.get(..4 * words)? })
    }

    /// The value of the extension with this number (RFC 8285, sections 4.2 and 4.3).
    pub(crate) fn element(&self, id: u8) -> Option<&'d [u8]> {
        let mut rest = self.extensions;
        loop {
            let (head, behind) = rest.split_first()?;
            if *head == 0 {
                rest = behind;
                continue;
            }
            let (found, length, behind) = if self.is_wide {
                let (length, behind) = behind.split_first()?;
                (*head, usize::from(*length), behind)
            } else {
                (head >> 4, usize::from(head & 15) + 1, behind)
            };
            let (value, behind) = behind.split_at_checked(length)?;
            if found == id {
                return Some(value);
            }
            rest = behind;
        }
    }

    /// The value, if it is one of 16 bits.
    pub(crate) fn number(&self, id: u8) -> Option<u16> {
        Some(u16::from_be_bytes(self.element(id)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: Engine = Engine::Chromium;
    const MS: Duration = Duration::from_millis(1);

    fn transport() -> Transport {
        let mut transport = Transport {
            ids: Ids { count: Some(3), sent: Some(2), mid: Some(4) },
            sources: BTreeMap::from([(7, (0, false)), (8, (1, false))]),
            recent: BTreeMap::new(),
            newest: None,
            settled: None,
            missing: 0,
            faults: Vec::new(),
        };
        assert!(ENGINE.extensions().contains(&(3, Extension::TransportSequenceNumber)));
        // Both sources are known from here on.
        transport.take(Duration::ZERO, &packet(7, 1, 0xfffe, 10, "0"));
        transport.take(Duration::ZERO, &packet(8, 1, 0xffff, 10, "1"));
        transport
    }

    fn packet(ssrc: u8, sequence: u8, count: u16, sent: u8, mid: &str) -> Vec<u8> {
        let [high, low] = count.to_be_bytes();
        let mut bytes = vec![0x90, 96, 0, sequence, 0, 0, 0, 0, 0, 0, 0, ssrc, 0xbe, 0xde, 0, 3];
        bytes.extend([0x22, 0, 0, sent, 0x31, high, low]);
        match mid.as_bytes() {
            [] => bytes.extend([0, 0]),
            [mid, ..] => bytes.extend([0x40, *mid]),
        }
        bytes.extend([0, 0, 0]);
        bytes
    }

    #[test]
    fn what_comes_in_order_out_of_order_or_twice_is_right() {
        let mut transport = transport();
        for (sequence, count) in [(2, 0), (4, 2), (3, 1), (3, 1), (5, 3)] {
            transport.take(MS, &packet(7, sequence, count, 10 + sequence, ""));
        }
        transport.take(600 * MS, &packet(8, 2, 4, 30, "1"));
        transport.take(1_200 * MS, &packet(8, 3, 5, 31, ""));
        assert_eq!((transport.faults(), transport.missing()), (&[] as &[String], 0));
        transport.take(1_200 * MS, &[0x80, 200, 0, 1]);
        assert_eq!(transport.faults(), [] as [&str; 0], "that was RTCP");
    }

    #[test]
    fn a_number_that_is_left_out_is_missing_once_it_is_overdue() {
        let mut transport = transport();
        transport.take(MS, &packet(7, 2, 1, 11, ""));
        transport.take(MS, &packet(7, 3, 4, 12, ""));
        assert_eq!(transport.missing(), 0);
        transport.take(501 * MS, &packet(7, 4, 5, 13, ""));
        assert_eq!((transport.faults(), transport.missing()), (&[] as &[String], 3));
    }

    #[test]
    fn what_a_browser_would_stumble_over_is_found() {
        for (wrong, needed) in [
            (packet(7, 2, 0xffff, 10, ""), "1 and 2 are both counted as"),
            (packet(7, 2, 0, 9, ""), "not sent in its turn"),
            (packet(7, 2, 0, 11, "1"), "of m-line 0 says"),
            (packet(9, 2, 0, 11, "0"), "of the source 9"),
        ] {
            let mut transport = transport();
            transport.take(MS, &wrong);
            let [fault] = transport.faults() else { panic!("{:?}", transport.faults()) };
            assert!(fault.contains(needed), "{fault}");
        }
    }

    #[test]
    fn a_source_says_first_of_which_line_it_is() {
        let mut transport = transport();
        transport.sources.insert(9, (1, false));
        transport.take(MS, &packet(9, 1, 0, 11, ""));
        assert_eq!(transport.faults(), ["1 of m-line 1 says it is of None"]);
    }

    #[test]
    fn both_forms_of_extensions_are_read() {
        let narrow = [0x91, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];
        let narrow = [&narrow[..], &[0xbe, 0xde, 0, 2, 0, 0x31, 1, 2, 0x10, 9, 0, 0]].concat();
        let wide = [0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
        let wide = [&wide[..], &[0x10, 0, 0, 2, 3, 2, 1, 2, 1, 1, 9, 0]].concat();
        for bytes in [narrow, wide] {
            let header = Header::parse(&bytes).unwrap();
            assert_eq!((header.number(3), header.element(1)), (Some(0x102), Some(&[9][..])));
            assert_eq!(header.element(2), None);
            assert!(bytes.get(..18).and_then(Header::parse).is_none());
        }
    }
}
