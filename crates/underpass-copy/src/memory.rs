//! Moves content to its destination: by the engine where both ends allow it, through memory where
//! this process has to see the bytes.
//!
//! Bytes that an engine transfer takes out of memory are in its ledger as copied. Only those that
//! leave by a writer of ours (TLS, framing) are counted separately, so no byte is counted twice.

use std::io::{Read, Write};

use bytes::{Bytes, BytesMut};

use crate::digest::Digest;
use crate::drive::{Drain, Drive, Feed};
use crate::http::Records;
use crate::range_reader::RangeReader;
use crate::stop::Stop;
use crate::waiting::WaitingStream;

/// How much is read at a time where bytes go through memory.
const BLOCK_BYTES: usize = 256 * 1024;

/// What is moved.
pub(crate) enum Content<'c> {
    Kernel(Feed<'c>),
    /// Until it ends, or this many bytes.
    Reader(&'c mut dyn Read, Option<u64>),
}

/// Where it goes.
pub(crate) enum Destination<'p> {
    Kernel(Drain<'p>),
    Writer(&'p mut dyn Write),
}

/// Moves everything; returns how many bytes arrived.
pub(crate) fn move_content(
    drive: &mut Drive<'_>,
    content: Content<'_>,
    destination: Destination<'_>,
    mut digest: Option<&mut Digest>,
) -> Result<u64, Stop> {
    let (reader, len) = match (content, &destination) {
        (Content::Kernel(feed), Destination::Kernel(drain)) if digest.is_none() => {
            return drive.transfer(feed, *drain);
        }
        (Content::Kernel(feed), _) => return through_memory(drive, feed, destination, digest),
        (Content::Reader(reader, len), _) => (reader, len),
    };
    let mut moved = 0;
    let mut destination = destination;
    let mut buffer = BytesMut::new();
    let block = drive.block_bytes(BLOCK_BYTES);
    while len.is_none_or(|len| moved < len) {
        buffer.resize(block, 0);
        let left = len.map_or(usize::MAX, |len| usize::try_from(len - moved).unwrap_or(usize::MAX));
        let n = match reader.read(&mut buffer[..block.min(left)]) {
            Ok(0) => match len {
                Some(len) => return Err(Stop::short(moved, len)),
                None => break,
            },
            Ok(n) => n,
            Err(error) => return Err(Stop::call("reading the source", error)),
        };
        drive.outside_calls += 1;
        if let Some(digest) = &mut digest {
            digest.update(&buffer[..n]);
        }
        match &mut destination {
            Destination::Kernel(drain) => {
                buffer.truncate(n);
                let bytes: Bytes = buffer.freeze();
                drive.send(bytes.clone(), drain.after(moved))?;
                buffer = bytes.try_into_mut().unwrap_or_default();
            }
            Destination::Writer(writer) => {
                if let Err(error) = writer.write_all(&buffer[..n]) {
                    return Err(Stop::call("writing to the sink", error));
                }
                drive.done += n as u64;
                drive.count_outside(n as u64, 1)?;
            }
        }
        moved += n as u64;
    }
    Ok(moved)
}

fn through_memory(
    drive: &mut Drive<'_>,
    feed: Feed<'_>,
    destination: Destination<'_>,
    digest: Option<&mut Digest>,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    match feed {
        Feed::File { file, offset, len } => {
            let file = file.try_clone_to_owned().map_err(Stop::when("reading"))?.into();
            let mut range = RangeReader { file: &file, at: offset, end: offset + len };
            move_content(drive, Content::Reader(&mut range, Some(len)), destination, digest)
        }
        Feed::Tls { stream, len } => {
            move_content(drive, Content::Reader(&mut Records(stream), len), destination, digest)
        }
        Feed::Stream { fd, len } => {
            let mut waiting = WaitingStream::new(fd, interrupt);
            move_content(drive, Content::Reader(&mut waiting, len), destination, digest)
        }
    }
}
