//! How two ends agree on what the receiver has, before the sender sends the rest.
//!
//! Each range that is there is compared by its digest, at the price of reading it at both ends;
//! what is sent then is verified by itself. The words are in [`verify`](crate::verify).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use crate::carry::failed;
use crate::digest::{self, Algorithm};
use crate::drive::{Drive, Stop};
use crate::greeting::{Word, unheard};
use crate::inlet::Inlet;
use crate::patient::Patient;
use crate::pieces::Pieces;
use crate::verify::{PIECES_MAX, Sum, read_number, read_sum, write_sum};

/// What both ends fail with.
#[derive(Debug, thiserror::Error)]
#[error(
    "what the receiver has is not what the sender has, or the sender reads a stream; remove it, or \
     copy without --resume"
)]
struct Differs;

pub(crate) fn differs() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Differs)
}

/// The receiver's greeting, with what the file has.
pub(crate) fn tell<F: AsFd>(
    drive: &Drive<'_>,
    peer: &mut Patient<'_, F>,
    (file, there): (&File, &Pieces),
) -> Result<(), Stop> {
    let mut words = Word::Resume.bytes().to_vec();
    words.extend_from_slice(&(there.have().len() as u64).to_be_bytes());
    for &(from, to) in there.have() {
        words.extend_from_slice(&from.to_be_bytes());
        let sum = sum(drive, file, from, to - from)?;
        write_sum(&mut words, &sum).map_err(|e| Stop::call("telling what is there", e))?;
    }
    peer.write_all(&words).map_err(|error| failed(drive, "telling what is there", error))
}

/// The sender's part, once it has heard the greeting: what the receiver has, which is the same.
pub(crate) fn agree<F: AsFd>(
    drive: &Drive<'_>,
    peer: &mut Patient<'_, F>,
    inlet: &Inlet<'_>,
) -> Result<Pieces, Stop> {
    let hearing = |error| failed(drive, "hearing what is there", error);
    let count = read_number(peer).map_err(hearing)?;
    if count > PIECES_MAX {
        let why = format!("{count} ranges are more than {PIECES_MAX}");
        return Err(hearing(io::Error::new(io::ErrorKind::InvalidData, why)));
    }
    let mut theirs = Vec::new();
    for _ in 0..count {
        let from = read_number(peer).map_err(hearing)?;
        theirs.push((from, read_sum(peer).map_err(hearing)?));
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
                        sum(drive, &file.file, file.start + from, theirs.len)? == *theirs
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
    let told = peer.write_all(Word::Differs.bytes());
    told.map_err(|error| unheard(drive, error))?;
    Err(Stop::call("verifying", differs()))
}

fn sum(drive: &Drive<'_>, file: &File, at: u64, len: u64) -> Result<Sum, Stop> {
    let ended = || drive.interrupt.signal().is_some();
    let digest = digest::of_file(Algorithm::Blake3, file, at, len, &ended)
        .map_err(|error| failed(drive, "computing the digest of what is there", error))?
        .digest;
    Ok(Sum { len, digest })
}
