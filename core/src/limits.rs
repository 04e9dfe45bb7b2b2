//! Every bound of a shard, with its reason.

use std::time::Duration;

/// What a shard takes on before it refuses. Every queue, table and wait has its bound here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections at once, per shard. One descriptor and some 10 KiB each.
    pub connections_max: usize,
    /// Remote addresses that are counted one by one, per shard; those beyond share one budget.
    pub addresses_max: usize,
    /// Bytes of an HTTP request head. More gets 431 (RFC 6585, section 5).
    pub http_head_bytes_max: usize,
    /// Bytes of an HTTP request body, or of a response that we asked for.
    pub http_body_bytes_max: usize,
    /// How long a connection may take over TLS, its first request head, and the upgrade.
    pub handshake_timeout: Duration,
    /// How long an HTTP connection may idle between requests.
    pub http_idle_timeout: Duration,
    /// Bytes of one WebSocket message. Offers are 6 to 8 KiB; the clients' logs come whole.
    pub websocket_message_bytes_max: usize,
    /// Bytes that may wait for a slow reader of a TCP connection. More ends the connection.
    pub outgoing_bytes_max: usize,
    /// How long they may wait without any of them being taken. Longer ends the connection: whoever
    /// reads nothing holds as much memory as one who reads slowly, and answers pings nevertheless.
    pub write_stall_timeout: Duration,
    /// Time between the upgrade and the `connection` message.
    pub session_timeout: Duration,
    /// Messages that a page may send in a second, and five seconds' worth at once; more end the
    /// session.
    pub session_messages_per_second: u64,
    /// Requests of a shard's sessions that the node has not taken up yet. Whoever sends one more
    /// is sent away: the node is overloaded, and they must not pile up before it.
    pub requests_waiting_max: u32,
    /// Streams published and played by one session, together.
    pub session_streams_max: usize,
    /// Bytes of a stream's name, of a media session's id, and of an application key.
    pub name_bytes_max: usize,
    /// Bytes of the data that a publisher sends along its stream at once: every viewer gets them.
    pub event_bytes_max: usize,
    /// Bytes of the SDP of an offer or an answer.
    pub sdp_bytes_max: usize,
    /// Bytes of a signed token. Ours have some 300, those of others as many as they have claims.
    pub token_bytes_max: usize,
    /// By how much the clock of whoever signed a token may differ from ours.
    pub token_skew_max: Duration,
    /// Streams of a node.
    pub streams_max: usize,
    /// Peers (WebRTC transports) of a shard.
    pub peers_max: usize,
    /// From the answer until ICE and DTLS are up; later is `Failed by ICE timeout` or
    /// `Failed by DTLS error`.
    pub peer_connect_timeout: Duration,
    /// Silence on ICE after which a peer counts as gone; browsers check every 2.5 s. Longer is
    /// `Failed by ICE keep alive` (RFC 7675 lets consent live for 30 s).
    pub consent_timeout: Duration,
    /// How long a peer that said goodbye on DTLS may take to say so in the dialogue too.
    pub goodbye_timeout: Duration,
    /// Remote addresses that one peer may be heard from.
    pub peer_addresses_max: usize,
    /// How long a remote address belongs to the peer that was last heard there.
    pub path_hold_time: Duration,
    /// UDP sockets for dialed peers, per shard: the number of streams that can go from this shard
    /// to one edge.
    pub dial_sockets_max: usize,
    /// How long a publisher may send no RTP at all; longer is `Failed by RTP activity`.
    pub rtp_silence_timeout: Duration,
    /// How long the node may take to answer an offer across its shards.
    pub answer_timeout: Duration,
    /// Least time between two key frame requests for one stream to its publisher.
    pub keyframe_interval_min: Duration,
    /// Time between two key frames that are asked for under `periodic_fir_request`.
    pub keyframe_period: Duration,
    /// Times one peer may be polled for one input before it counts as broken.
    pub peer_polls_max: usize,
    /// Bytes of datagrams of one peer that wait to be sent.
    pub peer_datagram_bytes_max: usize,
    /// Media that waited longer than this to be sent is dropped.
    pub media_age_max: Duration,
    /// How long a sent packet is kept for a far side that misses it. Three round trips around the
    /// world; whoever asks later has long shown the next picture.
    pub retransmission_age_max: Duration,
    /// The oldest key frame that a late viewer begins with; past it a new one is asked for.
    pub keyframe_cache_age_max: Duration,
    /// The most that a late viewer is given at once, from the newest key frame on, in bytes of
    /// payload; past it a new one is asked for.
    pub keyframe_cache_bytes_max: usize,
    /// Least time between two key frame requests for viewers who have one to begin with.
    pub keyframe_cache_interval_min: Duration,
    /// For how long a viewer's bandwidth has to be below the rate of its stream before it is told.
    pub shortage_time_min: Duration,
    /// Least time between two words to one viewer that its bandwidth is not enough.
    pub shortage_interval_min: Duration,
    /// Packets of a stream that are kept, on each shard that sends it.
    pub history_packets_max: usize,
    /// Bytes of payload that are kept of a stream; the shards of a node share them.
    pub history_bytes_max: usize,
    /// From the end of the handshake until a late viewer is given what came before: longer than one
    /// datagram is commonly overtaken by another.
    pub catch_up_delay: Duration,
    /// Time between two turns of those late viewers who are given what came before.
    pub catch_up_interval: Duration,
    /// Late viewers that have their turn at once, of 16 KiB each. The others wait for the next one,
    /// so that live viewers do not. That is some 750 MB/s: a thousand who come at once have to be
    /// given more than what comes live meanwhile, or they never catch up.
    pub catch_up_turns_max: usize,
    /// Least time between two notes of who may not publish or play: strangers are not to fill the
    /// disk with them.
    pub denial_interval: Duration,
    /// Questions to the backend of `auth.hook.url` that are on their way at once.
    pub hooks_running_max: usize,
    /// Questions to the backend that wait for their turn; more are refused at once. Each ends by
    /// `auth.hook.timeout`.
    pub hooks_waiting_max: usize,
    /// How long the backend's addresses are believed before its name is looked up again.
    pub hook_name_age_max: Duration,
    /// Bytes of what the backend is asked with: a message about a stream, its offer included.
    pub hook_bytes_max: usize,
    /// How long a node of `loadbalancing.xml` may take to answer a poll for its load.
    pub poll_timeout: Duration,
    /// Time between two polls of a node for its load.
    pub poll_interval: Duration,
    /// Time between two `ping`s on a link, and between two checks of ICE beside it.
    pub link_ping_interval: Duration,
    /// Silence after which a link is dead, or the media path of a stream that goes over it.
    pub link_silence_timeout: Duration,
    /// How long dialing a link may take: name, TCP, TLS, upgrade, `connection`.
    pub link_connect_timeout: Duration,
    /// First wait before a broken link is dialed again; it doubles.
    pub link_backoff_min: Duration,
    /// Longest wait before a broken link is dialed again.
    pub link_backoff_max: Duration,
    /// How long a link must stay up before it counts as sound, and its next failure as news.
    pub link_settle_time: Duration,
    /// How long the token of a link is good for; a new one is made for every dial.
    pub link_token_life: Duration,
    /// Tokens of links that are remembered, so that none is used twice. Each is forgotten once it
    /// would be refused for its age, after three minutes at most; who comes when there are so many
    /// is refused. At one dial a second, of some ninety origins whose links do not last.
    pub link_tokens_max: usize,
    /// Least time between two warnings of links that were refused, on each shard.
    pub link_refusal_interval: Duration,
    /// Nodes in `loadbalancing.xml`.
    pub nodes_max: usize,
    /// How long an edge may take to answer a stream that is pushed to it.
    pub relay_answer_timeout: Duration,
    /// Offers that an edge may owe an answer to at once; more streams wait their turn.
    pub relays_offering_max: usize,
    /// Wait before a stream that an edge refused, or lost, is pushed to it again.
    pub relay_retry_interval: Duration,
    /// How long a drain waits for the goodbyes to be written.
    pub drain_timeout: Duration,
    /// How late pings, time-outs of connections, and ICE of those who are connected may be: most
    /// of them then need no wake-up of their own, for something else comes meanwhile.
    pub timer_slack: Duration,
}

/// What a shard is bounded by unless it is told otherwise.
const USUAL: Limits = Limits {
    connections_max: 20_000,
    addresses_max: 50_000,
    http_head_bytes_max: 16 * 1024,
    http_body_bytes_max: 64 * 1024,
    handshake_timeout: Duration::from_secs(10),
    http_idle_timeout: Duration::from_secs(30),
    websocket_message_bytes_max: 256 * 1024,
    outgoing_bytes_max: 1024 * 1024,
    write_stall_timeout: Duration::from_secs(20),
    session_timeout: Duration::from_secs(10),
    session_messages_per_second: 200,
    requests_waiting_max: 4_096,
    session_streams_max: 64,
    name_bytes_max: 512,
    event_bytes_max: 16 * 1024,
    sdp_bytes_max: 64 * 1024,
    token_bytes_max: 4 * 1024,
    token_skew_max: Duration::from_secs(60),
    streams_max: 10_000,
    peers_max: 20_000,
    peer_connect_timeout: Duration::from_secs(15),
    consent_timeout: Duration::from_secs(15),
    goodbye_timeout: Duration::from_secs(2),
    peer_addresses_max: 8,
    path_hold_time: Duration::from_secs(5),
    dial_sockets_max: 256,
    rtp_silence_timeout: Duration::from_secs(10),
    answer_timeout: Duration::from_secs(5),
    keyframe_interval_min: Duration::from_millis(500),
    keyframe_period: Duration::from_secs(5),
    peer_polls_max: 10_000,
    peer_datagram_bytes_max: 1024 * 1024,
    media_age_max: Duration::from_millis(500),
    retransmission_age_max: Duration::from_secs(1),
    keyframe_cache_age_max: Duration::from_secs(2),
    keyframe_cache_bytes_max: 1024 * 1024,
    keyframe_cache_interval_min: Duration::from_secs(2),
    shortage_time_min: Duration::from_secs(3),
    shortage_interval_min: Duration::from_secs(5),
    history_packets_max: 4_096,
    history_bytes_max: 4 * 1024 * 1024,
    catch_up_delay: Duration::from_millis(20),
    catch_up_interval: Duration::from_millis(2),
    catch_up_turns_max: 96,
    denial_interval: Duration::from_millis(500),
    hooks_running_max: 64,
    hooks_waiting_max: 1_024,
    hook_name_age_max: Duration::from_secs(10),
    hook_bytes_max: 64 * 1024,
    poll_timeout: Duration::from_secs(2),
    poll_interval: Duration::from_secs(1),
    link_ping_interval: Duration::from_secs(1),
    link_silence_timeout: Duration::from_secs(3),
    link_connect_timeout: Duration::from_secs(5),
    link_backoff_min: Duration::from_millis(100),
    link_backoff_max: Duration::from_secs(1),
    link_settle_time: Duration::from_secs(10),
    link_token_life: Duration::from_secs(60),
    link_tokens_max: 16_384,
    link_refusal_interval: Duration::from_secs(10),
    nodes_max: 256,
    relay_answer_timeout: Duration::from_secs(5),
    relays_offering_max: 64,
    relay_retry_interval: Duration::from_secs(1),
    drain_timeout: Duration::from_secs(5),
    timer_slack: Duration::from_millis(50),
};

impl Default for Limits {
    fn default() -> Self {
        USUAL
    }
}
