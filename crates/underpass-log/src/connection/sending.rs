//! A response on its way to the socket: memory as it is, records from their files.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::task::{Poll, ready};

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use underpass::{ErrorKind, Sink, Source, Transfer};
use underpass_daemon::Accepted;

use crate::metrics::Counts;
use crate::wire::{FileRange, Piece};

/// Why a response was not sent whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    /// A file has not what was to be sent of it.
    #[error("cannot send {}", path.display())]
    File { path: PathBuf, source: underpass::Error },
    /// The connection is at an end.
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// Sends all of a response; gives how many bytes it has.
///
/// # Errors
///
/// Those of the socket, and that a file cannot be read. A part of the response may have been sent,
/// so the connection must end.
pub(super) async fn send(
    socket: &Accepted,
    pieces: Vec<Piece>,
    counts: &Counts,
) -> Result<u64, Cut> {
    match <[Piece; 1]>::try_from(pieces) {
        Ok([Piece::Memory(bytes)]) => Ok(send_bytes(socket, bytes).await?),
        Ok(pieces) => send_pieces(socket, &pieces, counts).await,
        Err(pieces) => send_pieces(socket, &pieces, counts).await,
    }
}

async fn send_bytes(socket: &Accepted, mut bytes: Bytes) -> io::Result<u64> {
    let count = bytes.len() as u64;
    poll_fn(|cx| {
        while bytes.has_remaining() {
            match socket.try_write_vectored(&[IoSlice::new(&bytes)]) {
                Ok(count) => bytes.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(count))
    })
    .await
}

async fn send_pieces(socket: &Accepted, pieces: &[Piece], counts: &Counts) -> Result<u64, Cut> {
    let sink = match socket {
        Accepted::Tcp(stream, _) => Sink::tokio(stream),
        Accepted::Unix(stream) => Sink::tokio(stream),
    };
    let mut sources = pieces.iter().map(source);
    let Some(first) = sources.next() else { return Ok(0) };
    let mut transfer = sources.fold(Transfer::new(first, sink), Transfer::chain);
    let driven = transfer.drive().await;
    counts.add_ledger(transfer.ledger());
    driven.map_err(|error| cut(pieces, error))
}

fn cut(pieces: &[Piece], source: underpass::Error) -> Cut {
    let files = || pieces.iter().filter_map(Piece::file);
    let is_short = |one: &&FileRange| one.file.metadata().is_ok_and(|it| it.len() < one.range.end);
    let file = if matches!(source.kind, ErrorKind::Truncated { .. }) {
        files().find(is_short)
    } else if source.kind == ErrorKind::Io(Errno::IO) {
        files().next()
    } else {
        None
    };
    match file {
        Some(FileRange { file, .. }) => {
            // Files are open without their names, which only this needs.
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            let path = std::fs::read_link(link).unwrap_or_else(|_| PathBuf::from("a segment"));
            Cut::File { path, source }
        }
        None => Cut::Socket(source.into()),
    }
}

/// Segment files only grow, and what is below their published end is never written again.
fn source(piece: &Piece) -> Source<'_> {
    match piece {
        Piece::Memory(bytes) => Source::bytes(bytes.clone()),
        Piece::File(FileRange { file, range }) => {
            Source::appended(&***file, range.clone()).resident(file.residency())
        }
    }
}
