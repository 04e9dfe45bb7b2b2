//! The JSON dialogue between a server and those who publish and play, seen from both ends.
//!
//! Every message is `{"message": NAME, "data": [ARGUMENT, …]}` in one WebSocket text frame. The
//! names, fields and the order of messages are those of the protocol that the npm package
//! `@flashphoner/websdk` speaks.

mod info;
pub(crate) mod reply;
mod request;
mod say;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use info::Info;
pub(crate) use request::{Greeting, LinkTag, Request, StreamRequest};
pub(crate) use say::{
    Status, StreamEvent, available, connection, data_status, fail, inbound_video_rate,
    not_enough_bandwidth, outbound_video_rate, ping, pong, publish_stream, remote_sdp,
    send_stream_event, snapshot_failed, status, stream_event, un_publish_stream,
};
pub(crate) use session::{Session, SessionFault, Step};
