//! What a client gets, with how it ended.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(15);

/// An answer, as far as it came.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its head, if all of it came.
    pub(super) head: Option<String>,
    pub(super) content: Vec<u8>,
    pub(super) end: End,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The content is all there is: by its length, its last chunk, or the end of the connection.
    Whole,
    /// The connection ended before.
    Cut,
    /// The client left.
    Left,
    /// Nothing came for a long time.
    Late,
}

/// Asks, and perhaps leaves after this many bytes.
pub(super) fn fetch(
    address: SocketAddr,
    method: &str,
    target: &str,
    fields: &str,
    leaves: Option<usize>,
) -> Answer {
    let mut bytes = Vec::new();
    let end = exchange(address, method, target, fields, leaves, &mut bytes);
    let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(head_end) = head_end else {
        let end = if end == End::Whole { End::Cut } else { end };
        return Answer { head: None, content: bytes, end };
    };
    let content = bytes.split_off(head_end + 4);
    let head = String::from_utf8(bytes).unwrap();
    Answer::of(head, content, end)
}

fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    fields: &str,
    leaves: Option<usize>,
    bytes: &mut Vec<u8>,
) -> End {
    // A server that was killed refuses and resets.
    let Ok(mut stream) = TcpStream::connect(address) else { return End::Cut };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    if stream.write_all(head.as_bytes()).is_err() {
        return End::Cut;
    }
    let mut room = vec![0; 64 << 10];
    loop {
        match stream.read(&mut room) {
            Ok(0) => return End::Whole,
            Ok(n) => bytes.extend_from_slice(&room[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return End::Late,
            Err(_) => return End::Cut,
        }
        if leaves.is_some_and(|leaves| bytes.len() > leaves) {
            return End::Left;
        }
    }
}

impl Answer {
    /// What the head says of bytes that ended so.
    fn of(head: String, content: Vec<u8>, end: End) -> Self {
        let mut answer = Self { head: Some(head), content, end };
        let is_chunked = answer.field("transfer-encoding").is_some();
        let len = answer.field("content-length").map(|len| len.parse().unwrap());
        if is_chunked {
            let (content, is_whole) = without_chunks(&answer.content);
            answer.content = content;
            answer.end_if(is_whole);
        } else if let Some(len) = len {
            assert!(answer.content.len() <= len, "more than was promised: {:?}", answer.head);
            answer.end_if(answer.content.len() == len);
        }
        answer
    }

    /// Whatever ended the connection, all may have come, or not.
    fn end_if(&mut self, is_whole: bool) {
        self.end = match self.end {
            _ if is_whole => End::Whole,
            End::Whole | End::Cut => End::Cut,
            End::Left | End::Late => self.end,
        };
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.head.as_ref()?.split(' ').nth(1)?.parse().ok()
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        field(self.head.as_deref()?, name)
    }
}

/// The field of a head, or of a part.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(there, _)| there.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// What is in chunks, and whether the last one came.
fn without_chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let len = std::str::from_utf8(&rest[..end]).unwrap();
        let len = usize::from_str_radix(len, 16).unwrap();
        rest = &rest[end + 2..];
        if len == 0 {
            return (content, rest == b"\r\n");
        }
        content.extend_from_slice(&rest[..len.min(rest.len())]);
        if rest.len() < len + 2 {
            break;
        }
        rest = &rest[len + 2..];
    }
    (content, false)
}

#[test]
fn an_answer_is_whole_by_its_length_or_its_last_chunk_and_cut_otherwise() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    for (head, content, end, want) in [
        (chunked, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", End::Whole, ("abcde", End::Whole)),
        (chunked, "3\r\nabc\r\n2\r\nde\r\n", End::Whole, ("abcde", End::Cut)),
        (chunked, "5\r\nabc", End::Left, ("abc", End::Left)),
        (long, "abcde", End::Cut, ("abcde", End::Whole)),
        (long, "abcd", End::Whole, ("abcd", End::Cut)),
        (long, "abcd", End::Late, ("abcd", End::Late)),
        ("HTTP/1.1 200 OK\r\n\r\n", "abc", End::Whole, ("abc", End::Whole)),
    ] {
        let answer = Answer::of(head.to_owned(), content.into(), end);
        assert_eq!((std::str::from_utf8(&answer.content).unwrap(), answer.end), want, "{content}");
        assert_eq!(answer.status(), Some(200));
    }
}
