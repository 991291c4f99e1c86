//! What a client begins with that knows beforehand that HTTP/2 is spoken.
//!
//! Source: RFC 9113 §3.3, §3.4.

use std::future::poll_fn;
use std::io;

use tokio::io::ReadBuf;

use crate::connection::Idle;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether these may be the first bytes of the preface, or are all of it.
pub(crate) fn is_begun(bytes: &[u8]) -> bool {
    let len = bytes.len().min(PREFACE.len());
    bytes[..len] == PREFACE[..len]
}

/// Reads on until it is known whether it is the preface.
///
/// # Errors
///
/// Those of the transport.
pub(crate) async fn is_whole(idle: &mut Idle) -> io::Result<bool> {
    while is_begun(&idle.unread) && idle.unread.len() < PREFACE.len() {
        let mut more = [0; PREFACE.len()];
        let mut more = ReadBuf::new(&mut more);
        poll_fn(|cx| idle.transport.poll_read(cx, &mut more)).await?;
        if more.filled().is_empty() {
            return Ok(false);
        }
        idle.unread = [&idle.unread, more.filled()].concat().into();
    }
    Ok(is_begun(&idle.unread))
}
