//! Length and digest exchanged between two ends, so that a cut or altered transfer fails at both.
//!
//! ```text
//! receiver -> sender   a greeting, see [`greeting`](crate::greeting)
//! sender -> receiver   a greeting
//! receiver -> sender   "underpass-entire 2\n"
//! sender -> receiver   "underpass-entire 2\n"
//!                      { length u64 > 0, so many bytes }*
//!                      0 u64, total length u64, BLAKE3 of all bytes [32]
//! receiver -> sender   total length u64, BLAKE3 of what arrived [32]
//! ```
//!
//! A receiver that takes one connection a peer, because it writes a stream, says
//! "underpass-single 2\n" in the place of that; the sender does as above.
//!
//! A receiver that goes on with a part says what it has instead. A sender that has the same sends
//! the rest in shares, see [`shares`]; one that does not says so:
//!
//! ```text
//! receiver -> sender   "underpass-resume 2\n", count u64 <= 65,
//!                      { offset u64, length u64, BLAKE3 of so many bytes [32] }*
//! sender -> receiver   "underpass-ranges 2\n", ... or "underpass-differ 2\n"
//! ```
//!
//! Numbers are in network order. The receiver answers when the bytes are where they belong and
//! before they get a name.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::again;
use crate::carry::{Content, Place, carry, failed};
use crate::digest::{self, Algorithm, Digest};
use crate::drive::{Drain, Drive, Feed, Stop};
use crate::greeting::{TransferId, Word, greet, hear_echo, hear_in_turn, unheard};
use crate::inlet::Inlet;
use crate::movement::{self, Account};
use crate::outlet::Outlet;
use crate::patient::Patient;
use crate::pieces::Pieces;
use crate::request::Request;
use crate::shares::{self, More};

/// Ranges that a receiver may have.
pub(crate) const PIECES_MAX: u64 = 65;

/// What one end says of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) len: u64,
    pub(crate) digest: String,
}

/// What the two ends did not agree on; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error(
    "altered or cut: {sent} bytes with BLAKE3 {sent_digest} were sent, {got} bytes with BLAKE3 \
     {got_digest} arrived"
)]
struct Altered {
    sent: u64,
    sent_digest: String,
    got: u64,
    got_digest: String,
}

/// Copies with the exchange, in the direction that the ends say.
pub(crate) fn exchange(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    outlet: &mut Outlet<'_>,
    account: &mut Account,
    more: More<'_>,
) -> Result<u64, Stop> {
    let moved = match (&*outlet, &*inlet) {
        (Outlet::Stream(stream), _) if request.sink.is_socket() => {
            let fd = stream.fd.try_clone().map_err(|e| Stop::call("sending", e))?;
            let mut peer = Patient::new(fd.as_fd(), drive.interrupt);
            let id = shares::name_as_sender(&mut peer, more).map_err(|e| unheard(drive, e))?;
            match (hear_in_turn(drive, &mut peer)?, inlet) {
                (Word::Resume, inlet) => {
                    let pieces = again::agree(drive, &mut peer, inlet)?;
                    match inlet {
                        Inlet::File(file) => {
                            shares::send(request, drive, (file, &pieces), (fd, id, more))
                        }
                        Inlet::Stream(_) | Inlet::Http(_) => unreachable!("they do not agree"),
                    }
                }
                (Word::Whole, Inlet::File(file)) if request.parallel.get() > 1 => {
                    let pieces = Pieces::beginning(0, file.len);
                    shares::send(request, drive, (file, &pieces), (fd, id, more))
                }
                (state @ (Word::Whole | Word::Single), inlet) => {
                    if state == Word::Single && request.parallel.get() > 1 {
                        drive.note("the other end writes a stream, which takes one connection");
                    }
                    send(request, drive, inlet, (fd.as_fd(), outlet), account)
                }
                (_, _) => Err(unlike("the other end does not receive, or in another way")),
            }
        }
        (_, Inlet::Stream(stream)) => {
            let fd = stream.fd.try_clone().map_err(|e| Stop::call("receiving", e))?;
            receive(request, drive, (fd, more), outlet, account)
        }
        _ => Err(Stop::call("verifying", io::Error::from(io::ErrorKind::InvalidInput))),
    }?;
    account.verified = true;
    Ok(moved)
}

/// The other end's way of the exchange is none that goes with this end's.
fn unlike(why: &'static str) -> Stop {
    Stop::call("agreeing with the other end", io::Error::new(io::ErrorKind::InvalidData, why))
}

fn send(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    (fd, outlet): (BorrowedFd<'_>, &mut Outlet<'_>),
    account: &mut Account,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let mut peer = Patient::new(fd, interrupt);
    peer.write_all(Word::Whole.bytes()).map_err(|error| unheard(drive, error))?;
    let is_file = matches!(inlet, Inlet::File(_));
    let moved = if is_file {
        let len = inlet.len().unwrap_or(0);
        if len > 0 {
            peer.write_all(&len.to_be_bytes())
                .map_err(|error| failed(drive, "sending the length", error))?;
        }
        movement::all(request, drive, inlet, outlet, account, Some(Algorithm::Blake3))?
    } else {
        let mut digest = Digest::new(Algorithm::Blake3);
        let content = match inlet {
            Inlet::File(_) => unreachable!("asked above"),
            Inlet::Stream(stream) => {
                Content::Kernel(Feed::Stream { fd: stream.fd.as_fd(), len: None })
            }
            Inlet::Http(body) => body.content(),
        };
        let mut frames = Frames(&mut peer);
        let moved = carry(drive, content, Place::Writer(&mut frames), Some(&mut digest))?;
        account.checksum = Some(digest.finish());
        moved
    };
    let digest = account.checksum.as_ref().map(|sum| sum.digest.clone()).unwrap_or_default();
    conclude(drive, &mut peer, &Sum { len: moved, digest })?;
    Ok(moved)
}

/// Ends what was sent and hears whether it arrived so.
pub(crate) fn conclude<F: AsFd>(
    drive: &Drive<'_>,
    peer: &mut Patient<'_, F>,
    ours: &Sum,
) -> Result<(), Stop> {
    let theirs = peer
        .write_all(&0_u64.to_be_bytes())
        .and_then(|()| write_sum(peer, ours))
        .and_then(|()| read_sum(peer));
    let theirs = theirs.map_err(|error| failed(drive, "hearing what arrived", error))?;
    agree(ours, &theirs)
}

fn receive(
    request: &Request,
    drive: &mut Drive<'_>,
    (fd, more): (OwnedFd, More<'_>),
    outlet: &mut Outlet<'_>,
    account: &mut Account,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let mut peer = Patient::new(fd.as_fd(), interrupt);
    let (file, there) = match &*outlet {
        Outlet::Target(target, have) => {
            // The sender says how long the whole is.
            let beginning = Pieces::beginning(*have, u64::MAX);
            (Some((target.file(), 0)), target.pieces().cloned().unwrap_or(beginning))
        }
        Outlet::Open(file, at) => (Some((file, *at)), Pieces::beginning(0, u64::MAX)),
        Outlet::Stream(_) | Outlet::Put(_) => (None, Pieces::beginning(0, u64::MAX)),
    };
    let is_begun = there.bytes() > 0;
    let id = match more {
        More::Come(company) => company.id,
        More::Made(_) => {
            let named = TransferId::random();
            let greeted =
                named.and_then(|id| greet(&mut peer, Word::Begins, Some(id)).map(|()| id));
            greeted.map_err(|error| unheard(drive, error))?
        }
    };
    match file {
        Some((file, _)) if is_begun => again::tell(drive, &mut peer, (file, &there))?,
        Some(_) | None => peer
            .write_all(if file.is_none() { Word::Single } else { Word::Whole }.bytes())
            .map_err(|error| unheard(drive, error))?,
    }
    if let More::Made(_) = more {
        hear_echo(drive, &mut peer, id)?;
    }
    match (hear_in_turn(drive, &mut peer)?, file, &*outlet) {
        (Word::Differs, _, _) => Err(Stop::call("verifying", again::differs())),
        (Word::Ranges, Some(place), _) => {
            shares::receive(request, drive, (fd, id, more), place, there)
        }
        (Word::Ranges, None, _) => Err(unlike("ranges come where one connection was asked for")),
        (Word::Whole, Some(_), _) if is_begun => {
            Err(unlike("the other end sends the whole again and not what is missing"))
        }
        (Word::Whole, Some(place), _) => receive_file(drive, &mut peer, place, u64::MAX),
        (Word::Whole, None, Outlet::Stream(stream)) => {
            receive_stream(drive, &mut peer, stream.fd.as_fd(), account)
        }
        (_, _, _) => Err(unlike("the other end receives, too")),
    }
}

/// Receives frames of at most `room` bytes into a file, and answers for them.
pub(crate) fn receive_file<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut Patient<'_, F>,
    (file, at): (&File, u64),
    room: u64,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let mut moved = 0;
    while let Some(len) = next_frame(drive, peer)? {
        if len > room - moved {
            let why = format!("{len} bytes come where {} were promised", room - moved);
            return Err(Stop::call("receiving", io::Error::other(why)));
        }
        let feed = Feed::Stream { fd: peer.fd.as_fd(), len: Some(len) };
        moved += drive.transfer(feed, Drain::File { file: file.as_fd(), at: at + moved })?;
    }
    let theirs = read_sum(peer).map_err(|error| failed(drive, "hearing what was sent", error))?;
    let ended = || interrupt.signal().is_some();
    let digest = digest::of_file(Algorithm::Blake3, file, at, moved, &ended)
        .map_err(|error| failed(drive, "computing the digest", error))?
        .digest;
    answer(drive, peer, &theirs, &Sum { len: moved, digest })?;
    Ok(moved)
}

fn receive_stream<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut Patient<'_, F>,
    sink: BorrowedFd<'_>,
    account: &mut Account,
) -> Result<u64, Stop> {
    let mut digest = Digest::new(Algorithm::Blake3);
    let mut moved = 0;
    while let Some(len) = next_frame(drive, peer)? {
        let content = Content::Kernel(Feed::Stream { fd: peer.fd.as_fd(), len: Some(len) });
        let place = Place::Kernel(Drain::Stream(sink));
        moved += carry(drive, content, place, Some(&mut digest))?;
    }
    let theirs = read_sum(peer).map_err(|error| failed(drive, "hearing what was sent", error))?;
    let checksum = digest.finish();
    answer(drive, peer, &theirs, &Sum { len: moved, digest: checksum.digest.clone() })?;
    account.checksum = Some(checksum);
    Ok(moved)
}

/// The next frame's length; `None` behind the last.
fn next_frame<F: AsFd>(drive: &Drive<'_>, peer: &mut Patient<'_, F>) -> Result<Option<u64>, Stop> {
    let len = read_number(peer).map_err(|error| failed(drive, "hearing how much comes", error))?;
    Ok((len > 0).then_some(len))
}

/// Tells the sender what arrived, and fails if that is not what was sent.
fn answer<F: AsFd>(
    drive: &Drive<'_>,
    peer: &mut Patient<'_, F>,
    theirs: &Sum,
    ours: &Sum,
) -> Result<(), Stop> {
    write_sum(peer, ours).map_err(|error| failed(drive, "telling what arrived", error))?;
    agree(theirs, ours)
}

fn agree(sent: &Sum, got: &Sum) -> Result<(), Stop> {
    if sent == got {
        return Ok(());
    }
    let altered = Altered {
        sent: sent.len,
        sent_digest: sent.digest.clone(),
        got: got.len,
        got_digest: got.digest.clone(),
    };
    Err(Stop::call("verifying", io::Error::new(io::ErrorKind::InvalidData, altered)))
}

pub(crate) fn read_number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

pub(crate) fn read_sum(from: &mut impl Read) -> io::Result<Sum> {
    let len = read_number(from)?;
    let mut bytes = [0; 32];
    from.read_exact(&mut bytes)?;
    Ok(Sum { len, digest: digest::hexadecimal(&bytes) })
}

pub(crate) fn write_sum(to: &mut impl Write, sum: &Sum) -> io::Result<()> {
    let digits = sum.digest.as_bytes().chunks(2);
    let digest: Option<Vec<u8>> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    to.write_all(&sum.len.to_be_bytes())?;
    to.write_all(&digest.unwrap_or_default())
}

/// Puts each write's length before it.
struct Frames<'w, W>(&'w mut W);

impl<W: Write> Write for Frames<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            // A length of 0 would be the end.
            self.0.write_all(&(bytes.len() as u64).to_be_bytes())?;
            self.0.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
