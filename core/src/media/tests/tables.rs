//! What a shard keeps of its peers and tells the shards of their streams, until they are gone.

use std::time::Duration;

use super::stage::{Stage, packet};
use super::{PeerId, StreamId, chromium_plays, chromium_publishes, published};
use crate::id::ShardId;
use crate::limits::Limits;
use crate::message::{Message, ToMedia};
use crate::output::Output;

const HERE: ShardId = ShardId::NODE;
const HOME: ShardId = ShardId(1);

/// What the shard told others.
fn posts(stage: &mut Stage) -> Vec<(ShardId, Message)> {
    let post = |output| {
        let Output::Post { to, message } = output else { panic!("{output:?}") };
        (to, message.0)
    };
    stage.bench.outputs().into_iter().map(post).collect()
}

/// The same as text.
fn words(stage: &mut Stage) -> Vec<(ShardId, String)> {
    posts(stage).into_iter().map(|(to, message)| (to, format!("{message:?}"))).collect()
}

/// A viewer of a stream that comes in at another shard.
fn play_from_afar(stage: &mut Stage, peer: u64) {
    let (peer, stream, offer) = (PeerId(peer), StreamId(1), chromium_plays());
    let formats = published(&chromium_publishes(), "opus,vp8");
    stage.handle(ToMedia::AcceptEgress { peer, stream, home: HOME, formats, offer });
}

#[test]
fn the_first_viewer_and_the_last_are_the_streams_shards_business_and_every_wish() {
    let mut stage = Stage::new(Limits::default());
    let to_home = |word: ToMedia| vec![(HOME, format!("{:?}", Message::Media(word)))];
    let (stream, to) = (StreamId(1), HERE);
    play_from_afar(&mut stage, 1);
    assert_eq!(words(&mut stage), to_home(ToMedia::Subscribe { stream, to }));
    play_from_afar(&mut stage, 2);
    assert_eq!(words(&mut stage), []);
    stage.handle(ToMedia::WantKeyframe { stream });
    assert_eq!(words(&mut stage), to_home(ToMedia::WantKeyframe { stream }));
    stage.handle(ToMedia::Drop { peer: PeerId(1) });
    assert_eq!(words(&mut stage), []);
    stage.handle(ToMedia::Drop { peer: PeerId(2) });
    assert_eq!(words(&mut stage), to_home(ToMedia::Unsubscribe { stream, to }));
}

#[test]
fn a_shard_gets_what_comes_in_as_long_as_it_has_viewers() {
    let mut stage = Stage::of_two(Limits::default());
    let (stream, to) = (StreamId(1), HOME);
    let mut sent = |seq, word: ToMedia| {
        stage.handle(word);
        let packet = packet(&stage, seq, true, 100);
        stage.ends[0].write(packet);
        stage.run(Duration::from_millis(100));
        let packets = posts(&mut stage).into_iter().map(|(to, message)| {
            let Message::Packets(packets) = message else { panic!("{message:?}") };
            assert_eq!(to, HOME);
            packets.len()
        });
        packets.sum::<usize>()
    };
    assert_eq!(sent(1, ToMedia::Subscribe { stream, to }), 1);
    assert_eq!(sent(2, ToMedia::Subscribe { stream, to }), 1, "not twice");
    assert_eq!(sent(3, ToMedia::Unsubscribe { stream, to }), 0);
}

#[test]
fn nothing_is_kept_of_those_who_are_gone() {
    let mut stage = Stage::of_two(Limits::default());
    stage.handle(ToMedia::Subscribe { stream: StreamId(1), to: HOME });
    let packet = packet(&stage, 1, true, 100);
    stage.fan_out(&[packet]);
    stage.run(Duration::from_secs(1));
    for peer in [1, 2] {
        stage.handle(ToMedia::Drop { peer: PeerId(peer) });
    }
    assert!(!stage.media.streams.is_empty(), "the other shard's viewers wait");
    stage.handle(ToMedia::Unsubscribe { stream: StreamId(1), to: HOME });
    let media = &stage.media;
    assert_eq!((media.peers.len(), media.by_id.len(), media.by_path.len()), (0, 0, 0));
    assert_eq!((media.streams.len(), media.turns.is_empty(), media.timers.len()), (0, true, 0));
}
