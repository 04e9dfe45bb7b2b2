//! The files that a node serves: path, content type, entity tag, bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The files served at `/client2/`, by path without a leading slash (`client2/flashphoner.js`).
#[derive(Clone, Debug, Default)]
pub struct Pages {
    files: Arc<BTreeMap<String, Page>>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its `ETag`, quotes included (RFC 9110, section 8.8.3).
    pub etag: String,
    /// Its bytes.
    pub body: Arc<[u8]>,
}
