//! How two ends agree on what the receiver already has, before the sender sends the rest.
//!
//! Each range that is there is compared by its digest, which costs reading it at both ends; what is
//! sent afterwards is verified separately. The words are those of the [exchange](super).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use underpass_client::WaitingStream;

use super::greeting::{Word, greeting_failed};
use super::wire::{PIECES_MAX, Sum, read_number, read_sum, write_sum};
use crate::inlet::Inlet;
use crate::pieces::Pieces;
use crate::stop::Stop;

/// The error at both ends.
#[derive(Debug, thiserror::Error)]
#[error(
    "the receiver has other bytes than the sender, or the sender reads a stream; remove what the \
     receiver has, or copy without --resume"
)]
struct Differs;

pub(super) fn differs() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Differs)
}

/// The receiver's part: lists the ranges that its file has, with their digests.
pub(super) fn offer<F: AsFd>(
    peer: &mut WaitingStream<'_, F>,
    file: &File,
    there: &Pieces,
) -> Result<(), Stop> {
    let mut words = Word::Resume.bytes().to_vec();
    words.extend_from_slice(&(there.have().len() as u64).to_be_bytes());
    for &(from, to) in there.have() {
        words.extend_from_slice(&from.to_be_bytes());
        let sum = Sum::of_file(file, from, to - from, peer.interrupt)?;
        write_sum(&mut words, &sum).map_err(Stop::when("sending the list of ranges"))?;
    }
    peer.write_all(&words).map_err(Stop::when("sending the list of ranges"))
}

/// The sender's part: reads what the receiver has, and returns it if the source has the same.
pub(super) fn check<F: AsFd>(
    peer: &mut WaitingStream<'_, F>,
    inlet: &Inlet<'_>,
) -> Result<Pieces, Stop> {
    let reading = Stop::when("reading the receiver's list of ranges");
    let count = read_number(peer).map_err(reading)?;
    if count > PIECES_MAX {
        let why = format!("it lists {count} ranges, more than {PIECES_MAX}");
        return Err(reading(io::Error::new(io::ErrorKind::InvalidData, why)));
    }
    let mut theirs = Vec::new();
    for _ in 0..count {
        let from = read_number(peer).map_err(reading)?;
        theirs.push((from, read_sum(peer).map_err(reading)?));
    }
    let same = match inlet {
        Inlet::File(file) => {
            let mut pieces = Pieces::beginning(0, file.len);
            let mut is_same = true;
            for (from, theirs) in &theirs {
                let end = from.checked_add(theirs.len).filter(|end| *end <= file.len);
                is_same &= match end {
                    Some(end) => {
                        pieces.add(*from, end);
                        let at = file.start + from;
                        Sum::of_file(&file.file, at, theirs.len, peer.interrupt)? == *theirs
                    }
                    None => false,
                };
            }
            is_same.then_some(pieces)
        }
        Inlet::Stream(_) | Inlet::Http(_) => None,
    };
    if let Some(pieces) = same {
        return Ok(pieces);
    }
    let sent = peer.write_all(Word::Differs.bytes());
    sent.map_err(greeting_failed)?;
    Err(Stop::call("verifying", differs()))
}
