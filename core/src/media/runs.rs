//! Datagrams of one peer that wait for the kernel, and how they leave in runs.

use std::collections::VecDeque;
use std::time::Instant;

use super::datagram::is_media;
use super::srtp::SLACK_BYTES;
use crate::input::Flow;
use crate::limits::Limits;
use crate::output::SendBuffer;

/// The queue between a peer and the shard's send buffer.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    queue: VecDeque<Datagram>,
    bytes: usize,
}

#[derive(Debug)]
struct Datagram {
    flow: Flow,
    bytes: Vec<u8>,
    queued: Instant,
}

/// A run of datagrams in the send buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) flow: Flow,
    pub(crate) len: usize,
    pub(crate) segment: usize,
}

/// A run that is being written into the send buffer.
#[derive(Debug)]
pub(crate) struct RunWriter<'b> {
    bytes: &'b mut [u8],
    segments_max: usize,
    len: usize,
    segment: usize,
    segments: usize,
    /// Whether the last datagram was shorter than the others, so that none can follow.
    is_closed: bool,
}

impl<'b> RunWriter<'b> {
    pub(crate) fn new(send: &'b mut SendBuffer) -> Self {
        let SendBuffer { bytes, segments_max } = send;
        let segments_max = *segments_max;
        Self { bytes, segments_max, len: 0, segment: 0, segments: 0, is_closed: false }
    }

    /// The room for one more datagram of this length, and what lies behind it; `None` if the run
    /// cannot go on with it.
    pub(crate) fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        let first = self.segments == 0;
        if self.is_closed || self.segments == self.segments_max || (!first && len > self.segment) {
            return None;
        }
        let room = self.bytes.get_mut(self.len..)?;
        (room.len() >= len + SLACK_BYTES).then_some(room)
    }

    /// Takes in the datagram of this length that was written into [`RunWriter::room`].
    pub(crate) fn add(&mut self, len: usize) {
        if self.segments == 0 {
            self.segment = len;
        }
        self.len += len;
        self.segments += 1;
        self.is_closed = len < self.segment;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// `None` if nothing was written.
    pub(crate) fn finish(self, flow: Flow) -> Option<Run> {
        let Self { len, segment, .. } = self;
        (len > 0).then_some(Run { flow, len, segment })
    }
}

impl Runs {
    /// Queues a datagram, or drops it when the peer has too much waiting.
    pub(crate) fn push(&mut self, now: Instant, limits: &Limits, flow: Flow, bytes: Vec<u8>) {
        if self.bytes + bytes.len() <= limits.peer_datagram_bytes_max {
            self.bytes += bytes.len();
            self.queue.push_back(Datagram { flow, bytes, queued: now });
        }
    }

    /// Moves the next run into `send`: as many as go the same way and, but for the last, have the
    /// same length. Media that waited too long is dropped on the way.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        limits: &Limits,
        send: &mut [u8],
        segments_max: usize,
    ) -> Option<Run> {
        while let Some(first) = self.queue.front() {
            let age = now.saturating_duration_since(first.queued);
            if age <= limits.media_age_max || !is_media(&first.bytes) {
                break;
            }
            self.drop_front();
        }
        let first = self.queue.front()?;
        let (flow, segment) = (first.flow, first.bytes.len());
        let (mut len, mut segments) = (0, 0);
        while let Some(next) = self.queue.front() {
            let size = next.bytes.len();
            if next.flow != flow || size > segment || segments == segments_max {
                break;
            }
            let Some(room) = send.get_mut(len..len + size) else { break };
            room.copy_from_slice(&next.bytes);
            len += size;
            segments += 1;
            self.drop_front();
            if size < segment {
                break;
            }
        }
        Some(Run { flow, len, segment })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn drop_front(&mut self) {
        if let Some(datagram) = self.queue.pop_front() {
            self.bytes -= datagram.bytes.len();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn flow(port: u16) -> Flow {
        Flow { local: ([127, 0, 0, 1], 1).into(), remote: ([127, 0, 0, 1], port).into() }
    }

    fn run(runs: &mut Runs, now: Instant, segments_max: usize) -> Option<(u16, usize, usize)> {
        let mut send = [0; 100];
        let run = runs.take(now, &Limits::default(), &mut send, segments_max)?;
        Some((run.flow.remote.port(), run.len, run.segment))
    }

    #[test]
    fn a_run_is_of_one_way_and_one_length_but_for_its_last() {
        let (now, limits) = (Instant::now(), Limits::default());
        let mut runs = Runs::default();
        for (port, size) in [(1, 20), (1, 20), (1, 7), (1, 7), (1, 9), (2, 9), (2, 90), (2, 20)] {
            runs.push(now, &limits, flow(port), vec![128; size]);
        }
        assert_eq!(run(&mut runs, now, 10), Some((1, 47, 20)), "a shorter one ends a run");
        assert_eq!(run(&mut runs, now, 10), Some((1, 7, 7)), "a longer one starts another");
        assert_eq!(run(&mut runs, now, 10), Some((1, 9, 9)), "so does another way");
        assert_eq!(run(&mut runs, now, 10), Some((2, 9, 9)));
        assert_eq!(run(&mut runs, now, 10), Some((2, 90, 90)), "so does the end of the buffer");
        assert_eq!(run(&mut runs, now, 10), Some((2, 20, 20)));
        assert_eq!(run(&mut runs, now, 10), None);
        assert!(runs.is_empty());
        assert_eq!(runs.bytes, 0);
    }

    #[test]
    fn the_kernel_says_how_many_go_at_once() {
        let (now, limits) = (Instant::now(), Limits::default());
        let mut runs = Runs::default();
        for _ in 0..3 {
            runs.push(now, &limits, flow(1), vec![128; 10]);
        }
        assert_eq!(run(&mut runs, now, 2), Some((1, 20, 10)));
        assert_eq!(run(&mut runs, now, 2), Some((1, 10, 10)));
    }

    #[test]
    fn old_media_is_dropped_and_old_handshakes_are_not() {
        let (now, limits) = (Instant::now(), Limits::default());
        let mut runs = Runs::default();
        runs.push(now, &limits, flow(1), vec![128; 10]);
        runs.push(now, &limits, flow(1), vec![22; 11]);
        let late = now + limits.media_age_max + Duration::from_millis(1);
        assert_eq!(run(&mut runs, late, 10), Some((1, 11, 11)));
    }

    #[test]
    fn what_waits_is_bounded() {
        let now = Instant::now();
        let limits = Limits { peer_datagram_bytes_max: 25, ..Limits::default() };
        let mut runs = Runs::default();
        for _ in 0..3 {
            runs.push(now, &limits, flow(1), vec![128; 10]);
        }
        assert_eq!(run(&mut runs, now, 10), Some((1, 20, 10)));
        assert!(runs.is_empty());
    }

    /// Writes datagrams of these lengths for as long as they fit; tells how many did, and the run.
    fn write(lens: &[usize], bytes: usize, segments_max: usize) -> (usize, Option<Run>, Vec<u8>) {
        let mut send = SendBuffer::new(segments_max);
        send.bytes = vec![0; bytes].into_boxed_slice();
        let mut writer = RunWriter::new(&mut send);
        let mut written = 0;
        for (len, mark) in lens.iter().zip(1u8..) {
            let Some(room) = writer.room(*len) else { break };
            assert!(room.len() >= len + SLACK_BYTES);
            room[..*len].fill(mark);
            // A cipher may write behind the packet.
            room[*len..len + SLACK_BYTES].fill(0xee);
            writer.add(*len);
            written += 1;
        }
        assert_eq!(writer.is_empty(), written == 0);
        let len = writer.len();
        let run = writer.finish(flow(9));
        assert_eq!(run.map_or(0, |run| run.len), len);
        let bytes = send.bytes[..len].to_vec();
        (written, run, bytes)
    }

    #[test]
    fn a_written_run_ends_with_the_first_shorter_one() {
        let run = |len, segment| Some(Run { flow: flow(9), len, segment });
        let (written, written_run, bytes) = write(&[20, 20, 7, 7], 1_000, 10);
        assert_eq!((written, written_run), (3, run(47, 20)));
        assert_eq!(bytes, [vec![1; 20], vec![2; 20], vec![3; 7]].concat());
        assert_eq!(write(&[20, 21], 1_000, 10).1, run(20, 20), "a longer one cannot follow");
        assert_eq!(write(&[20; 5], 1_000, 3).1, run(60, 20), "the kernel takes so many");
        let room = 60 + SLACK_BYTES;
        assert_eq!(write(&[20; 5], room, 10).1, run(60, 20), "the buffer is full");
        assert_eq!(write(&[20; 5], room - 1, 10).1, run(40, 20), "a cipher needs more than that");
        assert_eq!(write(&[], 1_000, 10).1, None);
    }

    proptest! {
        #[test]
        fn a_written_run_is_the_longest_that_can_go_at_once(
            lens in prop::collection::vec(prop_oneof![3 => Just(40usize), 1 => 1usize..60], 0..12),
            bytes in 0usize..400,
            segments_max in 1usize..9,
        ) {
            let goes = |count: usize| {
                let [all @ .., last] = &lens[..count] else { return true };
                count <= segments_max
                    && all.iter().all(|len| *len == lens[0])
                    && *last <= lens[0]
                    && lens[..count].iter().sum::<usize>() + SLACK_BYTES <= bytes
            };
            let longest = (0..=lens.len()).rev().find(|count| goes(*count)).unwrap();
            let (written, run, contents) = write(&lens, bytes, segments_max);
            prop_assert_eq!(written, longest);
            let expected = (longest > 0).then(|| (lens[..longest].iter().sum(), lens[0]));
            prop_assert_eq!(run.map(|run| (run.len, run.segment)), expected);
            let marks = lens[..longest].iter().zip(1u8..);
            let expected: Vec<u8> = marks.flat_map(|(len, mark)| vec![mark; *len]).collect();
            prop_assert_eq!(contents, expected);
        }
    }
}
