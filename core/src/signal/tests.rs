//! The dialogue as text, against what pages send and what they read.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::request::{Fields, Incoming, RequestFault, parse};
use super::say::*;
use super::*;
use crate::config::{KeepAlive, Secret};
use crate::limits::Limits;
use crate::tests::Bench;

mod arbitrary;
mod dialogues;
mod generated;
mod incoming;
mod outgoing;
mod sessions;

macro_rules! capture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/fixtures/captures/",
            $name,
            ".json"
        ))
    };
}
use capture;

fn value(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap();
    assert!(value["data"].is_array(), "pages read data[0] of everything: {text}");
    value
}

fn message(name: &str, data: &Value) -> String {
    json!({ "message": name, "data": [data] }).to_string()
}

fn read(name: &str, data: &Value) -> Result<Incoming, RequestFault> {
    parse(&message(name, data), &Limits::default())
}

fn request(name: &str, data: &Value) -> Request {
    match read(name, data) {
        Ok(Incoming::Request(request)) => request,
        other => panic!("{name}: {other:?}"),
    }
}

fn long(bytes: usize) -> String {
    "n".repeat(bytes)
}

/// What a backend is shown of a message.
fn all_but_the_offer(data: &Value) -> Fields {
    let mut fields = data.as_object().unwrap().clone();
    fields.remove("sdp");
    Fields(fields)
}
