//! One file over several connections between two ends, each share verified separately.
//!
//! The sender says on every connection how many there are and which range it carries; the receiver
//! opens or accepts the others after it has read the first. The file gets its name only when the
//! shares, and what was there before, make up all of it.
//!
//! ```text
//! receiver -> sender   on further connections a greeting that joins
//! sender -> receiver   the same, on further ones; on all of them:
//!                      "underpass-ranges 2\n", connections u64, offset u64, total length u64,
//!                      then as in an exchange of one connection
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use crate::digest::{self, Algorithm};
use crate::drive::{Drain, Drive, Feed};
use crate::greeting::{
    TransferId, Word, greet, greeting_failed, read_echo, read_greeting, read_word_in_turn,
};
use crate::inlet::FileInlet;
use crate::interrupt::Interrupt;
use crate::parallel::{self, Workers};
use crate::peer_group::PeerGroup;
use crate::pieces::Pieces;
use crate::request::Request;
use crate::stop::Stop;
use crate::verify::{self, Sum};
use crate::waiting::WaitingStream;

/// The most connections that a sender may ask for.
pub(crate) const CONNECTIONS_MAX: u64 = 64;

/// What the sender says about a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    connections: u64,
    offset: u64,
    total: u64,
}

/// Where further connections with the peer come from.
#[derive(Clone, Copy)]
pub(crate) enum More<'m> {
    /// The peer connects; they are accepted and greeted elsewhere.
    Accepted(&'m PeerGroup),
    /// This end connects.
    Connected(&'m dyn Fn() -> io::Result<OwnedFd>),
}

impl More<'_> {
    /// One more connection, after `first`.
    fn connection(self, first: BorrowedFd<'_>, interrupt: &Interrupt) -> io::Result<OwnedFd> {
        match self {
            Self::Accepted(group) => group.next(first, interrupt),
            Self::Connected(connect) => connect(),
        }
    }
}

/// The sender's greeting over its first connection; returns the transfer's name.
pub(crate) fn name_as_sender<F: AsFd>(
    peer: &mut WaitingStream<'_, F>,
    more: More<'_>,
) -> io::Result<TransferId> {
    let id = match more {
        More::Accepted(group) => group.id,
        More::Connected(_) => match read_greeting(peer)? {
            (_, Some(id)) => id,
            (_, None) => TransferId::random()?,
        },
    };
    greet(peer, Word::Begins, Some(id))?;
    Ok(id)
}

/// A peer: its first connection, after the greetings, and how to get more.
pub(crate) struct Peer<'m> {
    pub(crate) first: OwnedFd,
    pub(crate) id: TransferId,
    pub(crate) more: More<'m>,
}

/// Sends what `pieces` lacks of a file, over the peer's first connection and as many more as it is
/// worth.
pub(crate) fn send(
    request: &Request,
    drive: &mut Drive<'_>,
    (inlet, pieces): (&FileInlet, &Pieces),
    Peer { first, id, more }: Peer<'_>,
) -> Result<u64, Stop> {
    let shares = pieces.shares(u64::from(request.parallel.get()));
    let (connections, total) = (shares.len() as u64, inlet.len);
    let share_at = |index: usize| {
        let (offset, to) = shares[index];
        (Share { connections, offset, total }, to - offset)
    };
    // A receiver that opens the connections opens the others after it has read this.
    announce(drive, &first, share_at(0))?;
    let interrupt = drive.interrupt;
    let (workers, sockets) = gather((first, more), connections, interrupt)?;
    let connects = matches!(more, More::Connected(_));
    let one = |index: usize, drive: &mut Drive<'_>| {
        let (share, len) = share_at(index);
        if index > 0 {
            let mut peer = WaitingStream::new(sockets[index].as_fd(), interrupt);
            let greeted = if connects { read_greeting(&mut peer).map(|_| ()) } else { Ok(()) };
            greeted
                .and_then(|()| greet(&mut peer, Word::Joins, Some(id)))
                .map_err(greeting_failed)?;
            announce(drive, &sockets[index], (share, len))?;
        }
        send_share(drive, inlet, &sockets[index], (inlet.start + share.offset, len))
    };
    let before = drive.done;
    workers.run((request, None), drive, |drive| one(0, drive), &one)?;
    Ok(drive.done - before)
}

fn gather(
    (first, more): (OwnedFd, More<'_>),
    connections: u64,
    interrupt: &Interrupt,
) -> Result<(Workers, Vec<OwnedFd>), Stop> {
    let mut sockets = vec![first];
    for _ in 1..connections {
        let socket = more.connection(sockets[0].as_fd(), interrupt);
        sockets.push(socket.map_err(Stop::when("opening another connection"))?);
    }
    let workers = Workers::new(connections);
    for (index, socket) in sockets.iter().enumerate() {
        workers.join(index, socket.try_clone()).map_err(Stop::when("connecting"))?;
    }
    Ok((workers, sockets))
}

/// Says which share this connection carries.
fn announce(drive: &Drive<'_>, socket: &OwnedFd, (share, len): (Share, u64)) -> Result<(), Stop> {
    let interrupt = drive.interrupt;
    let mut peer = WaitingStream::new(socket.as_fd(), interrupt);
    let mut head = Word::Ranges.bytes().to_vec();
    for number in [share.connections, share.offset, share.total] {
        head.extend_from_slice(&number.to_be_bytes());
    }
    if len > 0 {
        head.extend_from_slice(&len.to_be_bytes());
    }
    peer.write_all(&head).map_err(greeting_failed)
}

fn send_share(
    drive: &mut Drive<'_>,
    inlet: &FileInlet,
    socket: &OwnedFd,
    (offset, len): (u64, u64),
) -> Result<(), Stop> {
    let interrupt = drive.interrupt;
    if len > 0 {
        let feed = Feed::File { file: inlet.file.as_fd(), offset, len };
        drive.transfer(feed, Drain::Stream(socket.as_fd()))?;
    }
    let ended = || interrupt.signal().is_some();
    let digest = digest::of_file(Algorithm::Blake3, &inlet.file, offset, len, &ended)
        .map_err(Stop::when("computing the digest"))?
        .digest;
    let mut peer = WaitingStream::new(socket.as_fd(), interrupt);
    verify::conclude(&mut peer, &Sum { len, digest })
}

/// Receives all shares; `there` is what the file already has.
pub(crate) fn receive(
    request: &Request,
    drive: &mut Drive<'_>,
    Peer { first, id, more }: Peer<'_>,
    (file, at): (&File, u64),
    there: Pieces,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let mut peer = WaitingStream::new(first.as_fd(), interrupt);
    let begun = read_share(&mut peer).map_err(Stop::when("reading which range comes"))?;
    let (workers, sockets) = gather((first, more), begun.connections, interrupt)?;
    let connects = matches!(more, More::Connected(_));
    let there = there.of_total(begun.total).ok_or_else(|| {
        let why = format!("the source has {} bytes, fewer than are there", begun.total);
        Stop::call("reading which range comes", io::Error::other(why))
    })?;
    let recorder = parallel::recorder(request, file, &there, sockets.len())?;
    let arrived = Mutex::new(there);
    let one = |index: usize, drive: &mut Drive<'_>| {
        let mut peer = WaitingStream::new(sockets[index].as_fd(), interrupt);
        let share = if index == 0 {
            begun
        } else {
            if connects {
                greet(&mut peer, Word::Joins, Some(id)).map_err(greeting_failed)?;
                read_echo(drive, &mut peer, id)?;
            }
            if read_word_in_turn(drive, &mut peer)? != Word::Ranges {
                return Err(greeting_failed(io::Error::other(
                    "it sends something other than a range",
                )));
            }
            read_share(&mut peer).map_err(Stop::when("reading which range comes"))?
        };
        let is_of_it = (share.connections, share.total) == (begun.connections, begun.total);
        if !is_of_it || share.offset > share.total {
            let why = "a connection carries a share of another file";
            return Err(Stop::call("receiving", io::Error::other(why)));
        }
        let room = share.total - share.offset;
        let place = at + share.offset;
        recorder.iter().for_each(|recorder| recorder.begin(index, share.offset));
        let len = verify::receive_file(drive, &mut peer, (file, place), room)?;
        let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.add(share.offset, share.offset + len);
        Ok(())
    };
    let before = drive.done;
    workers.run((request, recorder.as_ref()), drive, |drive| one(0, drive), &one)?;
    if arrived.into_inner().unwrap_or_else(PoisonError::into_inner).is_whole() {
        return Ok(drive.done - before);
    }
    let why = format!("the ranges do not add up to the {} bytes that were promised", begun.total);
    Err(Stop::call("receiving", io::Error::other(why)))
}

fn read_share(peer: &mut impl io::Read) -> io::Result<Share> {
    let connections = verify::read_number(peer)?;
    let (offset, total) = (verify::read_number(peer)?, verify::read_number(peer)?);
    if !(1..=CONNECTIONS_MAX).contains(&connections) || i64::try_from(total).is_err() {
        let why = format!(
            "it asks for {connections} connections for {total} bytes, which is out of range"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Share { connections, offset, total })
}
