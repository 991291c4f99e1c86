//! Content over one connection, with its length and digest at the end.
//!
//! ```text
//! sender -> receiver   { length u64 > 0, that many bytes }*
//!                      0 u64, total length u64, BLAKE3 of all bytes [32]
//! receiver -> sender   total length u64, BLAKE3 of what arrived [32]
//! ```
//!
//! The receiver answers when the bytes are in the file, and before the file gets its name.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use underpass::{Sink, Source};
use underpass_client::WaitingStream;

use super::greeting::{Word, greeting_failed};
use super::wire::{LengthPrefixed, Sum, read_number, read_sum, write_sum};
use crate::digest::{Algorithm, Digest};
use crate::drive::Drive;
use crate::inlet::Inlet;
use crate::memory::through_memory;
use crate::outlet::Outlet;
use crate::request::Request;
use crate::source_to_sink;
use crate::stop::Stop;

/// Where the receiver's file begins.
#[derive(Clone, Copy)]
pub(super) struct Place<'f> {
    pub(super) file: &'f File,
    pub(super) at: u64,
}

/// Sends everything over the connection that `outlet` is.
pub(super) fn send<F: AsFd>(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    outlet: &mut Outlet<'_>,
    peer: &mut WaitingStream<'_, F>,
) -> Result<u64, Stop> {
    peer.write_all(Word::Whole.bytes()).map_err(greeting_failed)?;
    let len = if let Inlet::File(file) = &*inlet {
        if file.len > 0 {
            let len = file.len.to_be_bytes();
            peer.write_all(&len).map_err(Stop::when("sending the length"))?;
        }
        source_to_sink::copy(request, drive, inlet, outlet, Some(Algorithm::Blake3))?
    } else {
        let mut digest = Digest::new(Algorithm::Blake3);
        let (len, mut reader) = (inlet.len(), inlet.reader(drive.interrupt));
        let mut prefixed = LengthPrefixed(peer);
        let moved = through_memory(drive, &mut reader, len, &mut prefixed, Some(&mut digest))?;
        drive.findings.checksum = Some(digest.finish());
        moved
    };
    let digest = drive.findings.checksum.as_ref().map(|sum| sum.digest.clone());
    conclude(peer, &Sum { len, digest: digest.unwrap_or_default() })?;
    Ok(len)
}

/// Ends what was sent, and reads whether it arrived unchanged.
pub(super) fn conclude<F: AsFd>(peer: &mut WaitingStream<'_, F>, ours: &Sum) -> Result<(), Stop> {
    let theirs = peer
        .write_all(&0_u64.to_be_bytes())
        .and_then(|()| write_sum(peer, ours))
        .and_then(|()| read_sum(peer))
        .map_err(Stop::when("reading what arrived"))?;
    Sum::agree(ours, &theirs)
}

/// Receives frames of at most `room` bytes into a file, and answers with their digest.
pub(super) fn receive_file<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut WaitingStream<'_, F>,
    Place { file, at }: Place<'_>,
    room: u64,
) -> Result<u64, Stop> {
    let mut moved = 0;
    while let Some(len) = next_frame(peer)? {
        if len > room - moved {
            let why = format!("{len} bytes arrive where {} were promised", room - moved);
            return Err(Stop::call("receiving", io::Error::other(why)));
        }
        let frame = Source::stream(&peer.fd).take(len);
        moved += drive.transfer(frame, Sink::file(file, at + moved))?;
    }
    let theirs = read_sum(peer).map_err(Stop::when("reading what was sent"))?;
    answer(peer, &theirs, &Sum::of_file(file, at, moved, drive.interrupt)?)?;
    Ok(moved)
}

/// The same, into a stream.
pub(super) fn receive_stream<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut WaitingStream<'_, F>,
    sink: &mut dyn Write,
) -> Result<u64, Stop> {
    let mut digest = Digest::new(Algorithm::Blake3);
    let mut moved = 0;
    while let Some(len) = next_frame(peer)? {
        moved += through_memory(drive, peer, Some(len), sink, Some(&mut digest))?;
    }
    let theirs = read_sum(peer).map_err(Stop::when("reading what was sent"))?;
    let checksum = digest.finish();
    answer(peer, &theirs, &Sum { len: moved, digest: checksum.digest.clone() })?;
    drive.findings.checksum = Some(checksum);
    Ok(moved)
}

/// The next frame's length; `None` after the last.
fn next_frame<F: AsFd>(peer: &mut WaitingStream<'_, F>) -> Result<Option<u64>, Stop> {
    let len = read_number(peer).map_err(Stop::when("reading the next length"))?;
    Ok((len > 0).then_some(len))
}

/// Tells the sender what arrived, and fails if that is not what was sent.
fn answer<F: AsFd>(peer: &mut WaitingStream<'_, F>, theirs: &Sum, ours: &Sum) -> Result<(), Stop> {
    write_sum(peer, ours).map_err(Stop::when("answering what arrived"))?;
    Sum::agree(theirs, ours)
}
