//! What two `underpass copy` say to each other over a socket, so that a truncated or altered
//! transfer fails at both ends.
//!
//! ```text
//! receiver -> sender   a greeting, see [`greeting`]
//! sender -> receiver   a greeting
//! receiver -> sender   "underpass-entire 2\n"
//! sender -> receiver   "underpass-entire 2\n", then as in [`verify`]
//! ```
//!
//! A receiver that writes a stream, and so takes one connection a peer, says "underpass-single 2\n"
//! instead; the sender does as above. A receiver that continues a part says what it has instead. A
//! sender with the same bytes sends the rest in shares, see [`shares`]; another sender says that it
//! differs:
//!
//! ```text
//! receiver -> sender   "underpass-resume 2\n", count u64 <= 65,
//!                      { offset u64, length u64, BLAKE3 of those bytes [32] }*
//! sender -> receiver   "underpass-ranges 2\n", ... or "underpass-differ 2\n"
//! ```

pub(crate) mod greeting;
pub(crate) mod group;
mod resume;
pub(crate) mod shares;
mod verify;
mod wire;

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use self::greeting::{Word, greeting_failed, read_echo, read_word_in_turn};
use self::shares::{More, Peer};
use self::verify::Place;
use underpass_client::WaitingStream;

use crate::drive::Drive;
use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::pieces::Pieces;
use crate::request::Request;
use crate::stop::Stop;

/// Copies with the exchange; the ends say in which direction.
pub(crate) fn exchange(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    outlet: &mut Outlet<'_>,
    more: More<'_>,
) -> Result<u64, Stop> {
    let moved = match (&*outlet, &*inlet) {
        (Outlet::Stream(stream), _) if request.sink.is_socket() => {
            let first = stream.fd.try_clone().map_err(Stop::when("sending"))?;
            send(request, drive, inlet, outlet, Caller { first, more })
        }
        (_, Inlet::Stream(stream)) => {
            let first = stream.fd.try_clone().map_err(Stop::when("receiving"))?;
            receive(request, drive, outlet, Caller { first, more })
        }
        _ => Err(Stop::call("verifying", io::Error::from(io::ErrorKind::InvalidInput))),
    }?;
    drive.findings.verified = true;
    Ok(moved)
}

/// A peer before the greetings: its first connection, and how to get more.
struct Caller<'m> {
    first: OwnedFd,
    more: More<'m>,
}

/// The two ends do not take matching roles in the exchange.
fn mismatch(why: &'static str) -> Stop {
    greeting_failed(io::Error::new(io::ErrorKind::InvalidData, why))
}

fn send(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    outlet: &mut Outlet<'_>,
    Caller { first, more }: Caller<'_>,
) -> Result<u64, Stop> {
    let mut peer = WaitingStream::new(first.as_fd(), drive.interrupt);
    let id = more.name_as_sender(&mut peer).map_err(greeting_failed)?;
    let word = read_word_in_turn(drive, &mut peer)?;
    let missing = match (word, &*inlet) {
        (Word::Resume, _) => Some(resume::check(&mut peer, inlet)?),
        (Word::Whole, Inlet::File(file)) if request.parallel.get() > 1 => {
            Some(Pieces::beginning(0, file.len))
        }
        (Word::Whole, _) => None,
        (Word::Single, _) => {
            if request.parallel.get() > 1 {
                drive.note("the other end writes a stream: using one connection");
            }
            None
        }
        (_, _) => {
            return Err(mismatch("the other end does not receive, or expects another exchange"));
        }
    };
    match (missing, &*inlet) {
        (Some(pieces), Inlet::File(file)) => {
            shares::send(request, drive, file, &pieces, Peer { first, id, more })
        }
        (Some(_), _) => unreachable!("only a file has what the receiver has"),
        (None, _) => verify::send(request, drive, inlet, outlet, &mut peer),
    }
}

fn receive(
    request: &Request,
    drive: &mut Drive<'_>,
    outlet: &mut Outlet<'_>,
    Caller { first, more }: Caller<'_>,
) -> Result<u64, Stop> {
    let mut peer = WaitingStream::new(first.as_fd(), drive.interrupt);
    let (place, there) = match &*outlet {
        Outlet::Target(target, have) => {
            // The sender will say how long the file is.
            let beginning = Pieces::beginning(*have, u64::MAX);
            let there = target.pieces().cloned().unwrap_or(beginning);
            (Some(Place { file: target.file(), at: 0 }), there)
        }
        Outlet::Open(file, at) => (Some(Place { file, at: *at }), Pieces::beginning(0, u64::MAX)),
        Outlet::Stream(_) | Outlet::Put(_) => (None, Pieces::beginning(0, u64::MAX)),
    };
    let is_begun = there.bytes() > 0;
    let id = more.name_as_receiver(&mut peer).map_err(greeting_failed)?;
    match place {
        Some(place) if is_begun => resume::offer(&mut peer, place.file, &there)?,
        Some(_) => peer.write_all(Word::Whole.bytes()).map_err(greeting_failed)?,
        None => peer.write_all(Word::Single.bytes()).map_err(greeting_failed)?,
    }
    if let More::Connected(_) = more {
        read_echo(drive, &mut peer, id)?;
    }
    match (read_word_in_turn(drive, &mut peer)?, place, &*outlet) {
        (Word::Differs, _, _) => Err(Stop::call("verifying", resume::differs())),
        (Word::Ranges, Some(place), _) => {
            shares::receive(request, drive, Peer { first, id, more }, place, there)
        }
        (Word::Ranges, None, _) => {
            Err(mismatch("the other end sends ranges, and one connection was asked for"))
        }
        (Word::Whole, Some(_), _) if is_begun => {
            Err(mismatch("the other end sends everything again instead of what is missing"))
        }
        (Word::Whole, Some(place), _) => verify::receive_file(drive, &mut peer, place, u64::MAX),
        (Word::Whole, None, Outlet::Stream(stream)) => {
            verify::receive_stream(drive, &mut peer, &mut stream.waiting(drive.interrupt))
        }
        (_, _, _) => Err(mismatch("the other end receives too; one end must send")),
    }
}
