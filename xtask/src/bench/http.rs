//! The client's half of HTTP/1.1, as much as a measuring client needs: one `GET`, one head.
//!
//! A response counts only if its head says 200 and a Content-Length; chunked bodies are refused,
//! since a server that sends a file that way does other work than its peers.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail, ensure};

/// What a response's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its length, the empty line included.
    pub len_bytes: usize,
    /// The status code.
    pub status: u16,
    /// The length of the body that follows.
    pub content_length: Option<u64>,
}

/// Reads a head from the start of `received`; `None` while its end has not arrived.
pub(crate) fn parse_head(received: &[u8]) -> Option<Head> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = received.get(..end)?;
    let mut lines = head.split(|&byte| byte == b'\n');
    let status = lines.next().and_then(|line| line.get(9..12)).and_then(number).unwrap_or(0);
    let content_length = lines.find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") { number(value.get(1..)?) } else { None }
    });
    let status = u16::try_from(status).unwrap_or(0);
    Some(Head { len_bytes: end + 4, status, content_length })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

/// A keep-alive request for `path`.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
        .into_bytes()
}

/// Fetches `path` once and compares the body with the file it must come from.
///
/// What is timed afterwards is thereby known to be the right work.
pub(crate) fn verify(address: SocketAddr, path: &str, file: &File) -> Result<()> {
    let mut client = TcpStream::connect(address)?;
    client.write_all(&get(path))?;
    let mut received = Vec::new();
    let head = loop {
        let mut buffer = [0; 4096];
        let n = client.read(&mut buffer)?;
        ensure!(n > 0, "{path}: the server closed the connection within the head");
        received.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if let Some(head) = parse_head(&received) {
            break head;
        }
    };
    let len = file.metadata()?.len();
    if head.status != 200 || head.content_length != Some(len) {
        bail!("{path}: {head:?} for a file of {len} bytes");
    }
    let body = received.split_off(head.len_bytes);
    compare(&mut body.as_slice().chain(client.take(len - body.len() as u64)), file)
        .with_context(|| format!("{path}: body"))
}

/// Compares a stream, up to its end, with a whole file.
pub(crate) fn compare(got: &mut impl Read, file: &File) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let (mut mine, mut theirs, mut at) = (vec![0; 1 << 16], vec![0; 1 << 16], 0);
    loop {
        let n = got.read(&mut theirs)?;
        if n == 0 {
            break;
        }
        let (Some(mine), Some(theirs)) = (mine.get_mut(..n), theirs.get(..n)) else {
            unreachable!("read(2) returns at most the buffer's length")
        };
        file.read_exact_at(mine, at).with_context(|| format!("byte {at} is past the file"))?;
        ensure!(mine == theirs, "differs from the file within {n} bytes at {at}");
        at += n as u64;
    }
    let len = file.metadata()?.len();
    ensure!(at == len, "ended after {at} of {len} bytes");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_the_empty_line_and_names_are_case_insensitive() {
        let response = b"HTTP/1.1 206 Partial Content\r\ncontent-LENGTH:  12\r\nA: b\r\n\r\nbody";
        let head = Head { len_bytes: 59, status: 206, content_length: Some(12) };
        assert_eq!(parse_head(response), Some(head));
        assert_eq!(parse_head(&response[..58]), None);
    }

    #[test]
    fn a_body_that_differs_or_ends_early_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        compare(&mut b"abcdef".as_slice(), &file).unwrap();
        let error = compare(&mut b"abcdeF".as_slice(), &file).unwrap_err();
        assert_eq!(error.to_string(), "differs from the file within 6 bytes at 0");
        let error = compare(&mut b"abc".as_slice(), &file).unwrap_err();
        assert_eq!(error.to_string(), "ended after 3 of 6 bytes");
        compare(&mut b"abcdefg".as_slice(), &file).unwrap_err();
    }
}
