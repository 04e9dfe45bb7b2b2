//! HTTP responses as their reader judges them (RFC 9112), without the code that wrote them.

/// One response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) closes: bool,
    pub(crate) body: Vec<u8>,
}

/// The responses that a connection carried, and what follows an upgrade.
///
/// # Panics
///
/// If it is anything but whole responses.
pub(crate) fn responses(bytes: &[u8]) -> (Vec<Response>, &[u8]) {
    let mut rest = bytes;
    let mut responses: Vec<Response> = Vec::new();
    while !rest.is_empty() {
        let last = responses.last();
        assert!(last.is_none_or(|last| !last.closes), "more follows the last response");
        if last.is_some_and(|last| last.status == 101) {
            break;
        }
        let (response, behind) = response(rest);
        responses.push(response);
        rest = behind;
    }
    (responses, rest)
}

fn response(bytes: &[u8]) -> (Response, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("half a head: {:?}", String::from_utf8_lossy(bytes)));
    let (head, rest) = bytes.split_at(end + 4);
    let head = std::str::from_utf8(head).expect("a head is text").trim_end_matches("\r\n");
    assert!(head.is_ascii(), "{head:?}");
    let mut lines = head.split("\r\n");
    let status = status(lines.next().unwrap_or_default());
    let mut length = None;
    let mut closes = false;
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{line:?}");
        assert!(value.bytes().all(|b| matches!(b, b' '..=b'~')), "{line:?}");
        if name.eq_ignore_ascii_case("content-length") {
            let number = value.parse::<usize>().expect("a length is a number");
            assert_eq!(length.replace(number), None, "two lengths: {head:?}");
        }
        closes |= name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close");
    }
    // RFC 9112, section 6.3. The answer to a HEAD has no body, whatever its length says.
    let bodiless = matches!(status, 100..=199 | 204 | 304);
    assert!(bodiless || length.is_some(), "where does it end? {head:?}");
    let length = if bodiless || rest.starts_with(b"HTTP/1.1 ") { 0 } else { length.unwrap_or(0) };
    let length = if rest.is_empty() { 0 } else { length };
    let (body, rest) = rest.split_at_checked(length).expect("a whole body");
    (Response { status, closes, body: body.to_vec() }, rest)
}

fn status(line: &str) -> u16 {
    let fields = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once(' '));
    let (status, reason) = fields.unwrap_or_else(|| panic!("no status line: {line:?}"));
    assert!(status.len() == 3 && !reason.is_empty(), "{line:?}");
    status.parse().expect("a status is a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_told_apart_and_half_ones_are_refused() {
        let two = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n";
        let (found, rest) = responses(two);
        assert_eq!(found.iter().map(|r| r.status).collect::<Vec<_>>(), [200, 204]);
        assert!(rest.is_empty());
        for bad in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nX: a\nb\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na\
              HTTP/1.1 204 N\r\n\r\n",
        ] {
            assert!(std::panic::catch_unwind(|| responses(bad)).is_err(), "{bad:?}");
        }
    }
}
