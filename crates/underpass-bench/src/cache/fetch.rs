//! A client that compares every byte with what the origin has.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use underpass_testkit::origin::Object;

/// A server that answers nothing for this long ends the measurement.
const STALL: Duration = Duration::from_secs(120);

/// Asks for an object, or a range of it as a Range field has it, which is these bytes; returns how
/// long the first of them took to come.
pub(super) fn fetch(
    address: SocketAddr,
    target: &str,
    range: Option<&str>,
    object: &Object,
    bytes: Range<u64>,
) -> Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).context("no connection")?;
    stream.set_read_timeout(Some(STALL))?;
    stream.write_all(&request(target, range))?;
    let mut body = Body::new(range.is_some(), bytes);
    let (mut room, mut first) = (vec![0; 64 << 10], None);
    while !body.is_whole() {
        let n = stream.read(&mut room).context("no byte came")?;
        ensure!(n > 0, "the connection ended {}", body.told());
        body.take(&room[..n], object)?;
        if first.is_none() && body.has_begun() {
            first = Some(start.elapsed());
        }
    }
    first.context("no byte of content")
}

/// A request that is the last of its connection.
pub(super) fn request(target: &str, range: Option<&str>) -> Vec<u8> {
    let range = range.map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
    format!("GET {target} HTTP/1.1\r\nHost: bench\r\n{range}Connection: close\r\n\r\n").into_bytes()
}

/// An answer as it comes.
#[derive(Debug)]
pub(super) struct Body {
    is_part: bool,
    head: Option<Vec<u8>>,
    start: u64,
    bytes: Range<u64>,
}

impl Body {
    /// One that must be a 206 or a 200 of these bytes.
    pub(super) fn new(is_part: bool, bytes: Range<u64>) -> Self {
        Self { is_part, head: Some(Vec::new()), start: bytes.start, bytes }
    }

    /// Compares what came.
    pub(super) fn take(&mut self, came: &[u8], object: &Object) -> Result<()> {
        let Some(head) = &mut self.head else { return self.compare(came, object) };
        head.extend_from_slice(came);
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(()) };
        let content = head.split_off(end + 4);
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let status = if self.is_part { "206" } else { "200" };
        let has_status = head.split(' ').nth(1) == Some(status);
        let len = self.bytes.end - self.bytes.start;
        let has_len = head.contains(&format!("\r\ncontent-length: {len}\r\n"));
        ensure!(has_status && has_len, "not a {status} of {len} bytes: {head}");
        self.head = None;
        self.compare(&content, object)
    }

    fn compare(&mut self, came: &[u8], object: &Object) -> Result<()> {
        ensure!(came.len() as u64 <= self.bytes.end - self.bytes.start, "more than was promised");
        if let Some(difference) = object.difference(self.bytes.start, came) {
            anyhow::bail!("not what the origin has: {difference}");
        }
        self.bytes.start += came.len() as u64;
        Ok(())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.head.is_none() && self.bytes.is_empty()
    }

    fn has_begun(&self) -> bool {
        self.bytes.start > self.start
    }

    pub(super) fn told(&self) -> String {
        format!("at byte {} of {}", self.bytes.start, self.bytes.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_whole_when_the_right_bytes_came_and_refused_where_one_is_wrong() {
        let object = Object::new(1000);
        let head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\n";
        let answer = [&head[..], &object.bytes(90..100)].concat();
        for cut in 0..answer.len() {
            let mut body = Body::new(true, 90..100);
            body.take(&answer[..cut], &object).unwrap();
            assert!(!body.is_whole());
            body.take(&answer[cut..], &object).unwrap();
            assert!(body.is_whole() && body.has_begun());
        }
        let refused = |answer: &[u8]| Body::new(true, 90..100).take(answer, &object).is_err();
        assert!(refused(&[&head[..], &object.bytes(91..101)].concat()));
        assert!(refused(&[&answer[..], &object.bytes(100..101)].concat()));
        assert!(refused(
            &answer[..].iter().map(|&b| if b == b'6' { b'0' } else { b }).collect::<Vec<_>>()
        ));
        assert!(Body::new(false, 90..100).take(&answer, &object).is_err());
        assert!(Body::new(true, 90..101).take(&answer, &object).is_err());
    }
}
