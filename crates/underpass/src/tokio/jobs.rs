//! The common jobs, each in one call.

use std::future::poll_fn;
use std::io;
use std::ops::RangeBounds;
use std::os::fd::AsFd;
use std::task::Poll;

use crate::error::Error;
use crate::ledger::Ledger;
use crate::sink::Sink;
use crate::source::{Source, bounds};
use crate::tokio::flow::Flow;
use crate::tokio::readiness::Readiness;
use crate::transfer::Transfer;

/// Sends the bytes `range` of a file to a stream, by sendfile(2) where it can. Returns what it did.
///
/// ```no_run
/// # async fn example(socket: tokio::net::TcpStream) -> std::io::Result<()> {
/// let file = std::fs::File::open("large.bin")?;
/// underpass::send_file(&file, .., &socket).await?;
/// # Ok(())
/// # }
/// ```
///
/// Nothing is sent but the range: the stream stays open. The file is checked before its last bytes
/// leave, as [`Stability::Guard`](crate::Stability::Guard) says. Cold pages are read on tokio's
/// blocking pool.
///
/// # Errors
///
/// Those of [`Source::file`], and [`Error`]s, which say how many bytes were sent.
///
/// # Cancel safety
///
/// Not cancel safe: a dropped future does not say how much was sent. A [`Transfer`] that is driven
/// keeps its place.
///
/// # Panics
///
/// Outside a tokio runtime.
pub async fn send_file(
    file: &(impl AsFd + Sync),
    range: impl RangeBounds<u64>,
    to: &impl Readiness,
) -> io::Result<Ledger> {
    let source = Source::file(file, range)?;
    finish(Transfer::new(source, Sink::tokio(to))).await
}

/// Receives bytes from a stream into the bytes `range` of a file, by splice(2) where it can.
/// Returns what it did.
///
/// An open end takes everything until the stream ends; otherwise as many bytes as the range has.
///
/// ```no_run
/// # async fn example(socket: tokio::net::TcpStream) -> std::io::Result<()> {
/// let file = std::fs::File::create("received.bin")?;
/// let ledger = underpass::receive_file(&socket, &file, ..).await?;
/// println!("{} bytes", ledger.moved());
/// # Ok(())
/// # }
/// ```
///
/// The file is written on tokio's blocking pool. It is not truncated, and not flushed to its disk.
///
/// # Errors
///
/// `InvalidInput` for a range that starts after its end, and [`Error`]s, which say how many bytes
/// the file has; among them [`Truncated`](crate::ErrorKind::Truncated) where the stream ends before
/// the range is full.
///
/// # Cancel safety
///
/// Not cancel safe: bytes taken from the stream may be lost with a dropped future.
///
/// # Panics
///
/// Outside a tokio runtime.
pub async fn receive_file(
    from: &impl Readiness,
    file: &(impl AsFd + Sync),
    range: impl RangeBounds<u64>,
) -> io::Result<Ledger> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not a range of a file");
    let (start, end) = bounds(range).ok_or_else(invalid)?;
    let source = match end {
        None => Source::tokio(from),
        Some(end) => Source::tokio(from).take(end.checked_sub(start).ok_or_else(invalid)?),
    };
    finish(Transfer::new(source, Sink::file(file, start))).await
}

async fn finish(mut transfer: Transfer<'_>) -> io::Result<Ledger> {
    transfer.drive().await?;
    Ok(std::mem::take(&mut transfer.state.ledger))
}

/// Copies both ways between two sockets until both have ended, as
/// `tokio::io::copy_bidirectional` does, by splice(2). Returns how many bytes went from `a` to
/// `b`, and from `b` to `a`.
///
/// Where one socket's peer ends its stream, the other's is sent the end, shutdown(2), and the other
/// direction continues.
///
/// ```no_run
/// # async fn example(client: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// let server = tokio::net::TcpStream::connect("localhost:9000").await?;
/// let (sent, received) = underpass::copy_bidirectional(&client, &server).await?;
/// # Ok(())
/// # }
/// ```
///
/// While nothing moves no pipe and no buffer is held. Other tasks get their turn every 4 MiB.
///
/// # Errors
///
/// The first failure of either direction.
///
/// # Cancel safety
///
/// Not cancel safe: bytes taken from one socket may be lost with a dropped future. Two [`Flow`]s
/// keep theirs.
pub async fn copy_bidirectional(
    a: &impl Readiness,
    b: &impl Readiness,
) -> Result<(u64, u64), Error> {
    let (mut there, mut back) = (Flow::new(), Flow::new());
    poll_fn(|cx| {
        let is_there = there.poll_shutdown(cx, a, b)?.is_ready();
        let is_back = back.poll_shutdown(cx, b, a)?.is_ready();
        if is_there && is_back { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    Ok((there.moved(), back.moved()))
}
