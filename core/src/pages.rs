//! The files that a node serves: path, content type, entity tag, bytes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

/// The files below `core/web` that these paths name, each with its path.
macro_rules! web_files {
    ($($path:literal,)*) => {
        &[$(($path, include_bytes!(concat!("../web/", $path)))),*]
    };
}

/// The pages that come with the server: each file below `core/web`.
const BUILT_IN: &[(&str, &[u8])] = web_files![
    "client2/advice.js",
    "client2/balancer.js",
    "client2/distributary.css",
    "client2/distributary.js",
    "client2/examples/demo/streaming/embed_player/player.html",
    "client2/examples/demo/streaming/embed_player/player.js",
    "client2/examples/demo/streaming/embed_player/sample.html",
    "client2/examples/demo/streaming/embed_player/sample.js",
    "client2/examples/demo/streaming/two_way_streaming/two_way_streaming.html",
    "client2/examples/demo/streaming/two_way_streaming/two_way_streaming.js",
    "client2/figures.js",
    "client2/icon.svg",
    "client2/index.html",
    "client2/index.js",
    "client2/page.js",
];

/// What the built-in pages may load, and who may show them in a frame (Content Security Policy
/// Level 3): they load only what comes with them, and speak to whatever server they are told to.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src * ws: wss:; frame-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'self'";
/// The same for the one that is made to be shown in a frame of any page.
const POLICY_OF_EMBEDDED: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src * ws: wss:; base-uri 'none'; form-action 'none'; \
     frame-ancestors *";
const EMBEDDED: &str = "client2/examples/demo/streaming/embed_player/player.html";

/// Scripts of the stock client's package that are under another licence than the rest of it, for
/// use with the vendor's own server only. Only its player for media over WebSocket wants them.
const NEVER_SERVED: [&str; 2] = ["WSReceiver2.js", "video-worker2.js"];

/// Bytes of the SHA-256 digest that make an entity tag.
const ETAG_DIGEST_BYTES: usize = 16;

/// The files served at `/client2/`, by path without a leading slash (`client2/flashphoner.js`).
///
/// A path is looked up as it is written, in a table: no path leads to any other file.
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
    /// Its `Content-Security-Policy`, if it has one. Pages of an operator's own may say in a
    /// `<meta>` what they load; nobody else can know.
    pub policy: Option<&'static str>,
    /// Its bytes.
    pub body: Arc<[u8]>,
}

impl Pages {
    /// The pages that come with the server.
    pub fn built_in() -> Self {
        let files = BUILT_IN.iter().map(|(path, body)| ((*path).to_owned(), body.to_vec()));
        let policy = |path: &str| match path {
            EMBEDDED => Some(POLICY_OF_EMBEDDED),
            path => path.ends_with(".html").then_some(POLICY),
        };
        Self::with_policy(files, policy)
    }

    /// Pages from files: the path that each is served at, without a leading slash, and its bytes.
    ///
    /// The content type follows from the extension; a file without one is taken for a script,
    /// which is what the stock client's package has such a file for. Two scripts of that package,
    /// `WSReceiver2.js` and `video-worker2.js`, are left out wherever they are, because their
    /// licence allows them only with the vendor's own server.
    pub fn from_files(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self::with_policy(files, |_| None)
    }

    fn with_policy(
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
        policy: impl Fn(&str) -> Option<&'static str>,
    ) -> Self {
        let files = files
            .into_iter()
            .filter(|(path, _)| {
                !NEVER_SERVED.iter().any(|never| never.eq_ignore_ascii_case(name_of(path)))
            })
            .map(|(path, body)| {
                let page = Page {
                    content_type: content_type_of(&path),
                    etag: etag_of(&body),
                    policy: policy(&path),
                    body: body.into(),
                };
                (path, page)
            })
            .collect();
        Self { files: Arc::new(files) }
    }

    /// The page at a decoded path, with or without its leading slash; a path that ends with a
    /// slash stands for the `index.html` there.
    pub fn get(&self, path: &str) -> Option<&Page> {
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.is_empty() || path.ends_with('/') {
            self.files.get(&format!("{path}index.html"))
        } else {
            self.files.get(path)
        }
    }

    /// Whether a path, written without a slash at its end, has pages below it. With the slash
    /// added, the links in its `index.html` lead where they should.
    pub fn is_directory(&self, path: &str) -> bool {
        let below = format!("{}/", path.strip_prefix('/').unwrap_or(path));
        self.files
            .range::<str, _>((Bound::Excluded(below.as_str()), Bound::Unbounded))
            .next()
            .is_some_and(|(path, _)| path.starts_with(&below))
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn content_type_of(path: &str) -> &'static str {
    let Some((_, extension)) = name_of(path).rsplit_once('.') else {
        return "text/javascript; charset=utf-8";
    };
    match extension.to_ascii_lowercase().as_str() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "ico" => "image/x-icon",
        "mp4" => "video/mp4",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "eot" => "application/vnd.ms-fontobject",
        _ => "application/octet-stream",
    }
}

fn etag_of(body: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, body);
    let start = digest.as_ref().get(..ETAG_DIGEST_BYTES).unwrap_or(digest.as_ref());
    format!("\"{}\"", HEXLOWER.encode(start))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn pages(paths: &[&str]) -> Pages {
        Pages::from_files(paths.iter().map(|path| ((*path).to_owned(), path.as_bytes().to_vec())))
    }

    fn body<'a>(pages: &'a Pages, path: &str) -> Option<&'a [u8]> {
        pages.get(path).map(|page| &*page.body)
    }

    #[test]
    fn a_page_is_found_by_its_path_only() {
        let pages = pages(&["client2/a.html", "client2/index.html", "client2/b/c.js"]);
        assert_eq!(body(&pages, "client2/a.html"), Some(&b"client2/a.html"[..]));
        assert_eq!(body(&pages, "/client2/a.html"), Some(&b"client2/a.html"[..]));
        assert_eq!(body(&pages, "/client2/"), Some(&b"client2/index.html"[..]));
        for nowhere in
            ["", "/", "/client2", "//client2/a.html", "/client2/b/", "/client2/./a.html", "/a.html"]
        {
            assert_eq!(body(&pages, nowhere), None, "{nowhere}");
        }
        for (path, is) in [
            ("/client2", true),
            ("client2/b", true),
            ("/client2/a.html", false),
            ("/client", false),
            ("/client2/b/c", false),
            ("/client3", false),
        ] {
            assert_eq!(pages.is_directory(path), is, "{path}");
        }
    }

    #[test]
    fn the_extension_tells_the_content_type() {
        let pages = pages(&["a.HTML", "copy-to-clipboard@latest", "a.b/c.woff2", "x.y", "a.b/c"]);
        for (path, content_type) in [
            ("a.HTML", "text/html; charset=utf-8"),
            ("copy-to-clipboard@latest", "text/javascript; charset=utf-8"),
            ("a.b/c.woff2", "font/woff2"),
            ("x.y", "application/octet-stream"),
            ("a.b/c", "text/javascript; charset=utf-8"),
        ] {
            assert_eq!(pages.get(path).map(|page| page.content_type), Some(content_type), "{path}");
        }
    }

    #[test]
    fn the_entity_tag_follows_the_bytes() {
        let pages = Pages::from_files([
            ("a".to_owned(), b"abc".to_vec()),
            ("b".to_owned(), b"abd".to_vec()),
        ]);
        let etag = |path| pages.get(path).unwrap().etag.as_str();
        // FIPS 180-4's example of SHA-256, cut to 16 bytes.
        assert_eq!(etag("a"), "\"ba7816bf8f01cfea414140de5dae2223\"");
        assert_ne!(etag("a"), etag("b"));
    }

    #[test]
    fn every_built_in_page_has_a_policy_and_asks_for_nothing_that_it_forbids() {
        let pages = Pages::built_in();
        for (path, page) in pages.files.iter().filter(|(path, _)| path.ends_with(".html")) {
            let policy = page.policy.unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}");
            let may_frame = if path == EMBEDDED { "*" } else { "'self'" };
            assert!(policy.ends_with(&format!("frame-ancestors {may_frame}")), "{path}");
            let text = std::str::from_utf8(&page.body).unwrap();
            for forbidden in ["<style", "style=", "<script>", " onclick=", "javascript:", "http"] {
                assert!(!text.contains(forbidden), "{path} has {forbidden}");
            }
        }
        assert!(pages.files.values().filter(|page| page.policy.is_some()).count() >= 4);
    }

    #[test]
    fn files_under_another_licence_are_left_out() {
        let pages =
            pages(&["client2/WSReceiver2.js", "video-worker2.js", "a/Video-Worker2.js", "b"]);
        assert_eq!(pages.files.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn every_file_of_the_built_in_pages_is_listed() {
        fn walk(root: &Path, directory: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(root, &path, found);
                } else {
                    found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut found = Vec::new();
        walk(&root, &root, &mut found);
        found.sort();
        let pages = Pages::built_in();
        assert_eq!(pages.files.keys().cloned().collect::<Vec<_>>(), found);
        for (path, page) in pages.files.iter() {
            assert!(!page.content_type.ends_with("octet-stream"), "{path}");
        }
    }
}
