//! HTTP/1.1 (RFC 9112) from the side that asks, over bytes in memory: one request at a time, over a
//! connection that stays or comes again.

use std::collections::VecDeque;

use httparse::Status;

/// What an answer may have at most; an SDP is a hundredth of it.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const HEADERS_MAX: usize = 64;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Where what was made is.
    pub(super) location: Option<String>,
    pub(super) body: String,
}

impl Answer {
    /// Whether the request was granted.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// An answer that was not hoped for, for people.
    pub(super) fn complaint(&self) -> String {
        let said: String = self.body.lines().next().unwrap_or_default().chars().take(200).collect();
        format!("the server answered {} {said}", self.status).trim_end().to_owned()
    }
}

/// Requests and their answers.
#[derive(Debug)]
pub(super) struct Http {
    host: String,
    incoming: Vec<u8>,
    ended: bool,
    /// Whether a request is under way.
    waits: bool,
    outgoing: Vec<u8>,
    /// Requests that wait for their turn.
    queue: VecDeque<Vec<u8>>,
}

impl Http {
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            incoming: Vec::new(),
            ended: false,
            waits: false,
            outgoing: Vec::new(),
            queue: VecDeque::new(),
        }
    }

    /// Asks, with a body of this type if there is one.
    pub(super) fn request(&mut self, method: &str, path: &str, body: Option<(&str, &str)>) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n", self.host);
        let rest = match body {
            Some((kind, body)) => {
                format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
            None => "\r\n".to_owned(),
        };
        self.queue.push_back([head, rest].concat().into_bytes());
        self.next();
    }

    fn next(&mut self) {
        if !self.waits
            && let Some(request) = self.queue.pop_front()
        {
            self.waits = true;
            self.ended = false;
            self.incoming.clear();
            self.outgoing.extend(request);
        }
    }

    /// Bytes came in; none: the connection ended, which matters only to who waits for an answer.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        if self.waits {
            self.ended |= bytes.is_empty();
            self.incoming.extend_from_slice(bytes);
        }
    }

    /// The answer to a request, or why there is none.
    pub(super) fn poll(&mut self) -> Option<Result<Answer, String>> {
        if !self.waits {
            return None;
        }
        let answer = match read(&self.incoming, self.ended) {
            Ok(None) if self.incoming.len() > ANSWER_BYTES_MAX => {
                Err("an answer without an end".to_owned())
            }
            Ok(None) if self.ended => Err("the server hung up".to_owned()),
            Ok(None) => return None,
            Ok(Some(answer)) => Ok(answer),
            Err(problem) => Err(problem),
        };
        self.waits = false;
        self.next();
        Some(answer)
    }

    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }
}

/// Reads an answer, if it is complete. Those in between (RFC 9110, section 15.2) are passed over.
fn read(bytes: &[u8], ended: bool) -> Result<Option<Answer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("no answer in HTTP: {error}")),
    };
    let rest = bytes.get(length..).unwrap_or_default();
    let status = head.code.unwrap_or_default();
    if (100..200).contains(&status) {
        return read(rest, ended);
    }
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::trim)
    };
    let chunked = header("Transfer-Encoding").is_some_and(|coding| coding.ends_with("chunked"));
    let body = if chunked {
        unchunk(rest)?
    } else if let Some(length) = header("Content-Length") {
        let length: usize = length.parse().map_err(|_| "a length that is no number")?;
        rest.get(..length).map(<[u8]>::to_vec)
    } else if matches!(status, 204 | 304) {
        Some(Vec::new())
    } else {
        // The end of the connection is its end.
        ended.then(|| rest.to_vec())
    };
    let location = header("Location").map(str::to_owned);
    Ok(body.map(|body| {
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status, location, body }
    }))
}

/// What came in pieces (RFC 9112, section 7.1), if all of them are there.
fn unchunk(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(bytes).map_err(|_| "a chunk without a size")?;
        let Status::Complete((head, size)) = size else { return Ok(None) };
        let size = usize::try_from(size).map_err(|_| "a chunk too large")?;
        let rest = bytes.get(head..).unwrap_or_default();
        if size == 0 {
            // Trailers are nobody's business, but the next answer begins behind them.
            let ends = rest.starts_with(b"\r\n") || rest.windows(4).any(|end| end == b"\r\n\r\n");
            return Ok(ends.then_some(body));
        }
        let chunk = rest.split_at_checked(size);
        let Some((chunk, [_, _, behind @ ..])) = chunk else { return Ok(None) };
        body.extend_from_slice(chunk);
        bytes = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Http {
        let mut http = Http::new("example.com:80");
        http.request("POST", "/whep", Some(("application/sdp", "v=0")));
        http
    }

    fn answer(status: u16, location: Option<&str>, body: &str) -> Option<Result<Answer, String>> {
        Some(Ok(Answer { status, location: location.map(str::to_owned), body: body.to_owned() }))
    }

    #[test]
    fn a_request_is_written_as_http_wants_it() {
        let sent = String::from_utf8(asked().take_outgoing()).unwrap();
        assert_eq!(
            sent,
            "POST /whep HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\n\
             Content-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0"
        );
    }

    #[test]
    fn answers_are_read_however_they_end_and_in_whatever_pieces_they_come() {
        for (bytes, closes, expected) in [
            (
                "HTTP/1.1 201 Created\r\nlocation: /r/1\r\nContent-Length: 4\r\n\r\nv=0\n",
                false,
                answer(201, Some("/r/1"), "v=0\n"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 4;x=y\r\nv=0\n\r\na\r\n0123456789\r\n0\r\n\r\n",
                false,
                answer(200, None, "v=0\n0123456789"),
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", false, answer(204, None, "")),
            ("HTTP/1.0 404 Not Found\r\n\r\nnothing", true, answer(404, None, "nothing")),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                false,
                answer(200, None, ""),
            ),
        ] {
            let mut http = asked();
            for byte in bytes.as_bytes() {
                assert_eq!(http.poll(), None, "{bytes}");
                http.receive(&[*byte]);
            }
            if closes {
                assert_eq!(http.poll(), None, "{bytes}");
                http.receive(&[]);
            }
            assert_eq!(http.poll(), expected, "{bytes}");
            assert_eq!(http.poll(), None, "{bytes}");
        }
    }

    #[test]
    fn requests_wait_for_each_other_and_an_idle_connection_may_end() {
        let mut http = asked();
        http.request("DELETE", "/r/1", None);
        let first = http.take_outgoing();
        assert!(first.starts_with(b"POST"), "{first:?}");
        assert_eq!(http.take_outgoing(), b"");
        http.receive(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(http.poll(), answer(201, None, ""));
        assert!(http.take_outgoing().starts_with(b"DELETE"));
        http.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(http.poll(), answer(200, None, ""));
        http.receive(&[]);
        assert_eq!(http.poll(), None);
        http.request("DELETE", "/r/2", None);
        assert_eq!(http.poll(), None);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for (bytes, said) in [
            ("SSH-2.0-x\r\n", "no answer in HTTP"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "no number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "without a size"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nv=0", "hung up"),
            ("", "hung up"),
        ] {
            let mut http = asked();
            http.receive(bytes.as_bytes());
            http.receive(&[]);
            let problem = http.poll().unwrap().unwrap_err();
            assert!(problem.contains(said), "{bytes}: {problem}");
        }
        let mut http = asked();
        http.receive(b"HTTP/1.1 200 OK\r\n\r\n");
        http.receive(&[b'x'; ANSWER_BYTES_MAX]);
        assert!(http.poll().unwrap().unwrap_err().contains("without an end"));
    }
}
