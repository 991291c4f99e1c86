//! HTTP/1.1 as a client that keeps its connection.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection that fails instead of waiting for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer
}

/// The head of an answer, of which nothing more is read.
pub(crate) fn head(peer: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// The head and the content of an answer that says its length.
pub(crate) fn answer(peer: &mut impl Read) -> io::Result<(String, String)> {
    let head = head(peer)?;
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut content = vec![0; len.parse().unwrap()];
    peer.read_exact(&mut content)?;
    Ok((head, String::from_utf8(content).unwrap()))
}
