//! Exchanging length and digest between two ends: a truncated or altered transfer fails at both.
//!
//! ```text
//! receiver -> sender   a greeting, see [`greeting`](crate::greeting)
//! sender -> receiver   a greeting
//! receiver -> sender   "underpass-entire 2\n"
//! sender -> receiver   "underpass-entire 2\n"
//!                      { length u64 > 0, that many bytes }*
//!                      0 u64, total length u64, BLAKE3 of all bytes [32]
//! receiver -> sender   total length u64, BLAKE3 of what arrived [32]
//! ```
//!
//! A receiver that writes a stream, and so takes one connection a peer, says "underpass-single 2\n"
//! instead; the sender does as above.
//!
//! A receiver that continues a part says what it has instead. A sender with the same bytes sends
//! the rest in shares, see [`shares`]; another sender says that it differs:
//!
//! ```text
//! receiver -> sender   "underpass-resume 2\n", count u64 <= 65,
//!                      { offset u64, length u64, BLAKE3 of those bytes [32] }*
//! sender -> receiver   "underpass-ranges 2\n", ... or "underpass-differ 2\n"
//! ```
//!
//! Numbers are in network byte order. The receiver answers when the bytes are in the file, and
//! before the file gets its name.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::content::{Content, Destination, move_content};
use crate::digest::{self, Algorithm, Digest};
use crate::drive::{Drain, Drive, Feed};
use crate::greeting::{TransferId, Word, greet, greeting_failed, read_echo, read_word_in_turn};
use crate::inlet::Inlet;
use crate::outlet::Outlet;
use crate::pieces::Pieces;
use crate::request::Request;
use crate::shares::{self, More};
use crate::source_to_sink::{self, Findings};
use crate::stop::Stop;
use crate::verified_resume;
use crate::waiting::WaitingStream;

/// The most ranges that a receiver may have.
pub(crate) const PIECES_MAX: u64 = 65;

/// Length and digest, as one end found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) len: u64,
    pub(crate) digest: String,
}

/// The two ends have different bytes; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error(
    "altered or truncated: {sent} bytes with BLAKE3 {sent_digest} were sent, {got} bytes with \
     BLAKE3 {got_digest} arrived"
)]
struct Altered {
    sent: u64,
    sent_digest: String,
    got: u64,
    got_digest: String,
}

/// Copies with the exchange; the ends say in which direction.
pub(crate) fn exchange(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    outlet: &mut Outlet<'_>,
    findings: &mut Findings,
    more: More<'_>,
) -> Result<u64, Stop> {
    let moved = match (&*outlet, &*inlet) {
        (Outlet::Stream(stream), _) if request.sink.is_socket() => {
            let fd = stream.fd.try_clone().map_err(Stop::when("sending"))?;
            let mut peer = WaitingStream::new(fd.as_fd(), drive.interrupt);
            let id = shares::name_as_sender(&mut peer, more).map_err(greeting_failed)?;
            match (read_word_in_turn(drive, &mut peer)?, inlet) {
                (Word::Resume, inlet) => {
                    let pieces = verified_resume::check(drive, &mut peer, inlet)?;
                    match inlet {
                        Inlet::File(file) => shares::send(
                            request,
                            drive,
                            (file, &pieces),
                            shares::Peer { first: fd, id, more },
                        ),
                        Inlet::Stream(_) | Inlet::Http(_) => {
                            unreachable!("only a file has what the receiver has")
                        }
                    }
                }
                (Word::Whole, Inlet::File(file)) if request.parallel.get() > 1 => {
                    let pieces = Pieces::beginning(0, file.len);
                    shares::send(
                        request,
                        drive,
                        (file, &pieces),
                        shares::Peer { first: fd, id, more },
                    )
                }
                (state @ (Word::Whole | Word::Single), inlet) => {
                    if state == Word::Single && request.parallel.get() > 1 {
                        drive.note("the other end writes a stream: using one connection");
                    }
                    send(request, drive, inlet, (fd.as_fd(), outlet), findings)
                }
                (_, _) => {
                    Err(mismatch("the other end does not receive, or expects another exchange"))
                }
            }
        }
        (_, Inlet::Stream(stream)) => {
            let fd = stream.fd.try_clone().map_err(Stop::when("receiving"))?;
            receive(request, drive, (fd, more), outlet, findings)
        }
        _ => Err(Stop::call("verifying", io::Error::from(io::ErrorKind::InvalidInput))),
    }?;
    findings.verified = true;
    Ok(moved)
}

/// The two ends do not take matching roles in the exchange.
fn mismatch(why: &'static str) -> Stop {
    Stop::call("greeting the other end", io::Error::new(io::ErrorKind::InvalidData, why))
}

fn send(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    (fd, outlet): (BorrowedFd<'_>, &mut Outlet<'_>),
    findings: &mut Findings,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let mut peer = WaitingStream::new(fd, interrupt);
    peer.write_all(Word::Whole.bytes()).map_err(greeting_failed)?;
    let is_file = matches!(inlet, Inlet::File(_));
    let moved = if is_file {
        let len = inlet.len().unwrap_or(0);
        if len > 0 {
            peer.write_all(&len.to_be_bytes()).map_err(Stop::when("sending the length"))?;
        }
        source_to_sink::copy(request, drive, inlet, outlet, findings, Some(Algorithm::Blake3))?
    } else {
        let mut digest = Digest::new(Algorithm::Blake3);
        let content = match inlet {
            Inlet::File(_) => unreachable!("asked above"),
            Inlet::Stream(stream) => {
                Content::Kernel(Feed::Stream { fd: stream.fd.as_fd(), len: None })
            }
            Inlet::Http(body) => body.content(),
        };
        let mut prefixed = LengthPrefixed(&mut peer);
        let moved =
            move_content(drive, content, Destination::Writer(&mut prefixed), Some(&mut digest))?;
        findings.checksum = Some(digest.finish());
        moved
    };
    let digest = findings.checksum.as_ref().map(|sum| sum.digest.clone()).unwrap_or_default();
    conclude(&mut peer, &Sum { len: moved, digest })?;
    Ok(moved)
}

/// Ends what was sent, and reads whether it arrived unchanged.
pub(crate) fn conclude<F: AsFd>(peer: &mut WaitingStream<'_, F>, ours: &Sum) -> Result<(), Stop> {
    let theirs = peer
        .write_all(&0_u64.to_be_bytes())
        .and_then(|()| write_sum(peer, ours))
        .and_then(|()| read_sum(peer));
    let theirs = theirs.map_err(Stop::when("reading what arrived"))?;
    agree(ours, &theirs)
}

fn receive(
    request: &Request,
    drive: &mut Drive<'_>,
    (fd, more): (OwnedFd, More<'_>),
    outlet: &mut Outlet<'_>,
    findings: &mut Findings,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let mut peer = WaitingStream::new(fd.as_fd(), interrupt);
    let (file, there) = match &*outlet {
        Outlet::Target(target, have) => {
            // The sender will say how long the file is.
            let beginning = Pieces::beginning(*have, u64::MAX);
            (Some((target.file(), 0)), target.pieces().cloned().unwrap_or(beginning))
        }
        Outlet::Open(file, at) => (Some((file, *at)), Pieces::beginning(0, u64::MAX)),
        Outlet::Stream(_) | Outlet::Put(_) => (None, Pieces::beginning(0, u64::MAX)),
    };
    let is_begun = there.bytes() > 0;
    let id = match more {
        More::Accepted(group) => group.id,
        More::Connected(_) => {
            let named = TransferId::random();
            let greeted =
                named.and_then(|id| greet(&mut peer, Word::Begins, Some(id)).map(|()| id));
            greeted.map_err(greeting_failed)?
        }
    };
    match file {
        Some((file, _)) if is_begun => verified_resume::offer(drive, &mut peer, (file, &there))?,
        Some(_) | None => peer
            .write_all(if file.is_none() { Word::Single } else { Word::Whole }.bytes())
            .map_err(greeting_failed)?,
    }
    if let More::Connected(_) = more {
        read_echo(drive, &mut peer, id)?;
    }
    match (read_word_in_turn(drive, &mut peer)?, file, &*outlet) {
        (Word::Differs, _, _) => Err(Stop::call("verifying", verified_resume::differs())),
        (Word::Ranges, Some(place), _) => {
            shares::receive(request, drive, shares::Peer { first: fd, id, more }, place, there)
        }
        (Word::Ranges, None, _) => {
            Err(mismatch("the other end sends ranges, and one connection was asked for"))
        }
        (Word::Whole, Some(_), _) if is_begun => {
            Err(mismatch("the other end sends everything again instead of what is missing"))
        }
        (Word::Whole, Some(place), _) => receive_file(drive, &mut peer, place, u64::MAX),
        (Word::Whole, None, Outlet::Stream(stream)) => {
            receive_stream(drive, &mut peer, stream.fd.as_fd(), findings)
        }
        (_, _, _) => Err(mismatch("the other end receives too; one end must send")),
    }
}

/// Receives frames of at most `room` bytes into a file, and answers with their digest.
pub(crate) fn receive_file<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut WaitingStream<'_, F>,
    (file, at): (&File, u64),
    room: u64,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let mut moved = 0;
    while let Some(len) = next_frame(peer)? {
        if len > room - moved {
            let why = format!("{len} bytes arrive where {} were promised", room - moved);
            return Err(Stop::call("receiving", io::Error::other(why)));
        }
        let feed = Feed::Stream { fd: peer.fd.as_fd(), len: Some(len) };
        moved += drive.transfer(feed, Drain::File { file: file.as_fd(), at: at + moved })?;
    }
    let theirs = read_sum(peer).map_err(Stop::when("reading what was sent"))?;
    let ended = || interrupt.signal().is_some();
    let digest = digest::of_file(Algorithm::Blake3, file, at, moved, &ended)
        .map_err(Stop::when("computing the digest"))?
        .digest;
    answer(peer, &theirs, &Sum { len: moved, digest })?;
    Ok(moved)
}

fn receive_stream<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut WaitingStream<'_, F>,
    sink: BorrowedFd<'_>,
    findings: &mut Findings,
) -> Result<u64, Stop> {
    let mut digest = Digest::new(Algorithm::Blake3);
    let mut moved = 0;
    while let Some(len) = next_frame(peer)? {
        let content = Content::Kernel(Feed::Stream { fd: peer.fd.as_fd(), len: Some(len) });
        let place = Destination::Kernel(Drain::Stream(sink));
        moved += move_content(drive, content, place, Some(&mut digest))?;
    }
    let theirs = read_sum(peer).map_err(Stop::when("reading what was sent"))?;
    let checksum = digest.finish();
    answer(peer, &theirs, &Sum { len: moved, digest: checksum.digest.clone() })?;
    findings.checksum = Some(checksum);
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

/// Writes the length before each write.
struct LengthPrefixed<'w, W>(&'w mut W);

impl<W: Write> Write for LengthPrefixed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            // A length of 0 would mean the end.
            self.0.write_all(&(bytes.len() as u64).to_be_bytes())?;
            self.0.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
