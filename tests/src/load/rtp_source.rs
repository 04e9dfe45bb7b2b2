//! A publisher of bare RTP, for servers that are fed so.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::browser::{Codec, Engine, Source, Stamp};

/// A far side that cannot ask for key frames gets one so often.
const KEY_FRAME_INTERVAL: Duration = Duration::from_secs(2);
/// From the port of pictures to that of sound.
const SOUND: u16 = 2;

/// A picture and sound.
#[derive(Debug)]
pub(super) struct RtpSource {
    clock: Instant,
    source: Source,
    publisher: u32,
    tracks: [Track; 2],
    key_frame_at: Option<Instant>,
}

#[derive(Debug)]
struct Track {
    codec: Codec,
    socket: UdpSocket,
    due: Instant,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    counter: u32,
}

impl RtpSource {
    /// Sends pictures to this address, and sound two ports further.
    pub(super) fn new(
        at: SocketAddr,
        clock: Instant,
        source: Source,
        publisher: u32,
    ) -> io::Result<Self> {
        let sound = at.port().checked_add(SOUND).ok_or(io::ErrorKind::InvalidInput)?;
        let track = |codec, port| {
            let from = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(from)?;
            socket.connect((at.ip(), port))?;
            Ok::<_, io::Error>(Track {
                codec,
                socket,
                due: Instant::now(),
                ssrc: fastrand::u32(1..),
                sequence: fastrand::u16(..),
                timestamp: fastrand::u32(..),
                counter: 0,
            })
        };
        let tracks = [track(Codec::H264, at.port())?, track(Codec::Opus, sound)?];
        Ok(Self { clock, source, publisher, tracks, key_frame_at: None })
    }

    /// When it is to be called again.
    pub(super) fn due(&self) -> Instant {
        let [picture, sound] = &self.tracks;
        picture.due.min(sound.due)
    }

    /// Sends what is due.
    pub(super) fn advance(&mut self, now: Instant) {
        let source = self.source;
        for track in &mut self.tracks {
            while track.due <= now {
                let video = track.codec.is_video();
                let old = self.key_frame_at.is_none_or(|last| last + KEY_FRAME_INTERVAL <= now);
                let key_frame = video && old;
                if key_frame {
                    self.key_frame_at = Some(now);
                }
                let sent = now.saturating_duration_since(self.clock);
                track
                    .send(source, Stamp { publisher: self.publisher, counter: 0, sent, key_frame });
            }
        }
    }
}

impl Track {
    /// Sends a picture, or a piece of sound.
    fn send(&mut self, source: Source, stamp: Stamp) {
        let video = self.codec.is_video();
        let (packets, interval) = if video {
            (source.packets_per_frame.max(1), source.frame_interval)
        } else {
            (1, source.audio_interval)
        };
        let (payload_type, _) = Engine::Chromium.payload_types(self.codec);
        for nth in 0..packets {
            let marker = video && nth + 1 == packets;
            let mut packet = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend(self.timestamp.to_be_bytes());
            packet.extend(self.ssrc.to_be_bytes());
            let stamp = Stamp { counter: self.counter, ..stamp };
            packet.extend(stamp.payload(self.codec, nth == 0, source.filler(video)));
            // A datagram that the kernel refuses is a lost datagram.
            let _ = self.socket.send(&packet);
            self.sequence = self.sequence.wrapping_add(1);
            self.counter += 1;
        }
        let ticks = interval.as_micros() * u128::from(self.codec.clock_rate()) / 1_000_000;
        self.timestamp = self.timestamp.wrapping_add(u32::try_from(ticks).unwrap_or_default());
        self.due += interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::browser::payload::begins_key_frame;

    #[test]
    fn a_second_holds_what_a_publisher_sends_in_one() {
        let pair = || {
            let picture = UdpSocket::bind("127.0.0.1:0").ok()?;
            let port = picture.local_addr().ok()?.port();
            Some((picture, UdpSocket::bind(("127.0.0.1", port.checked_add(SOUND)?)).ok()?))
        };
        let (picture, sound) = std::iter::repeat_with(pair).take(20).flatten().next().unwrap();
        let at = picture.local_addr().unwrap();
        for socket in [&picture, &sound] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        let clock = Instant::now();
        let source = super::super::publishers::source(2_592_000);
        let mut sender = RtpSource::new(at, clock, source, 7).unwrap();
        for track in &mut sender.tracks {
            track.due = clock;
        }
        let mut room = [0; 2048];
        let mut key_frames = 0;
        // One millisecond less than four seconds, so that the last turn has nothing but its own.
        for step in 0..3_999 {
            sender.advance(clock + Duration::from_millis(step));
            while sender.tracks[0].counter > 0 {
                for nth in 0..9 {
                    let length = picture.recv(&mut room).unwrap();
                    let payload = &room[12..length];
                    let stamp = Stamp::find(payload).unwrap();
                    let length = payload.len();
                    // A key frame's headers are longer.
                    assert!(length == 1_200 || stamp.key_frame, "{step}: {length}");
                    assert_eq!((room[1] & 0x7f, room[1] >> 7 == 1), (102, nth == 8));
                    assert_eq!(stamp.publisher, 7);
                    key_frames += usize::from(begins_key_frame(Codec::H264, payload));
                }
                sender.tracks[0].counter -= 9;
            }
        }
        assert_eq!(key_frames, 2);
        let mut sounds = 0;
        sound.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        while sound.recv(&mut room).is_ok() {
            assert_eq!(room[1], 111);
            sounds += 1;
        }
        assert_eq!(sounds, 200);
    }
}
