//! One file over several connections between two ends, each share verified by itself.
//!
//! The sender says on every connection how many there are and which range comes over it; the
//! receiver opens or accepts the others when it has heard the first. What came must be all of the
//! file, together with what was there before, before it gets a name.
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

use crate::carry::failed;
use crate::company::Company;
use crate::digest::{self, Algorithm};
use crate::drive::{Drain, Drive, Feed, Stop};
use crate::greeting::{TransferId, Word, greet, hear_echo, hear_greeting, hear_in_turn, unheard};
use crate::inlet::FileInlet;
use crate::interrupt::Interrupt;
use crate::parallel::{self, Crew};
use crate::patient::Patient;
use crate::pieces::Pieces;
use crate::request::Request;
use crate::verify::{self, Sum};

/// Connections that a receiver opens because a sender says so.
pub(crate) const CONNECTIONS_MAX: u64 = 64;

/// What the sender says of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    connections: u64,
    offset: u64,
    total: u64,
}

/// How further connections with the peer come about.
#[derive(Clone, Copy)]
pub(crate) enum More<'m> {
    /// They come to this end, and have been greeted.
    Come(&'m Company),
    /// This end connects once more.
    Made(&'m dyn Fn() -> io::Result<OwnedFd>),
}

impl More<'_> {
    /// One more beside `first`.
    fn connection(self, first: BorrowedFd<'_>, interrupt: &Interrupt) -> io::Result<OwnedFd> {
        match self {
            Self::Come(company) => company.next(first, interrupt),
            Self::Made(connect) => connect(),
        }
    }
}

/// The sender's greetings over its first connection: the transfer's name.
pub(crate) fn name_as_sender<F: AsFd>(
    peer: &mut Patient<'_, F>,
    more: More<'_>,
) -> io::Result<TransferId> {
    let id = match more {
        More::Come(company) => company.id,
        More::Made(_) => match hear_greeting(peer)? {
            (_, Some(id)) => id,
            (_, None) => TransferId::random()?,
        },
    };
    greet(peer, Word::Begins, Some(id))?;
    Ok(id)
}

/// Sends what `pieces` lacks of a file, over `first`, whose greetings are over, and as many further
/// connections as it is worth.
pub(crate) fn send(
    request: &Request,
    drive: &mut Drive<'_>,
    (inlet, pieces): (&FileInlet, &Pieces),
    (first, id, more): (OwnedFd, TransferId, More<'_>),
) -> Result<u64, Stop> {
    let shares = pieces.shares(u64::from(request.parallel.get()));
    let (connections, total) = (shares.len() as u64, inlet.len);
    let share_at = |index: usize| {
        let (offset, to) = shares[index];
        (Share { connections, offset, total }, to - offset)
    };
    // A receiver that opens the connections opens the others when it has heard this.
    announce(drive, &first, share_at(0))?;
    let interrupt = drive.interrupt;
    let (crew, sockets) = gather((first, more), connections, interrupt)?;
    let is_made = matches!(more, More::Made(_));
    let one = |index: usize, drive: &mut Drive<'_>| {
        let (share, len) = share_at(index);
        if index > 0 {
            let mut peer = Patient::new(sockets[index].as_fd(), interrupt);
            let heard = if is_made { hear_greeting(&mut peer).map(|_| ()) } else { Ok(()) };
            heard
                .and_then(|()| greet(&mut peer, Word::Joins, Some(id)))
                .map_err(|error| unheard(drive, error))?;
            announce(drive, &sockets[index], (share, len))?;
        }
        send_share(drive, inlet, &sockets[index], (inlet.start + share.offset, len))
    };
    let before = drive.done;
    crew.work((request, None), drive, |drive| one(0, drive), &one)?;
    Ok(drive.done - before)
}

fn gather(
    (first, more): (OwnedFd, More<'_>),
    connections: u64,
    interrupt: &Interrupt,
) -> Result<(Crew, Vec<OwnedFd>), Stop> {
    let mut sockets = vec![first];
    for _ in 1..connections {
        let socket = more.connection(sockets[0].as_fd(), interrupt);
        sockets.push(socket.map_err(|error| Stop::call("connecting once more", error))?);
    }
    let crew = Crew::new(connections);
    for (index, socket) in sockets.iter().enumerate() {
        crew.join(index, socket.try_clone()).map_err(|e| Stop::call("connecting", e))?;
    }
    Ok((crew, sockets))
}

/// Says what comes over this connection.
fn announce(drive: &Drive<'_>, socket: &OwnedFd, (share, len): (Share, u64)) -> Result<(), Stop> {
    let interrupt = drive.interrupt;
    let mut peer = Patient::new(socket.as_fd(), interrupt);
    let mut head = Word::Ranges.bytes().to_vec();
    for number in [share.connections, share.offset, share.total] {
        head.extend_from_slice(&number.to_be_bytes());
    }
    if len > 0 {
        head.extend_from_slice(&len.to_be_bytes());
    }
    peer.write_all(&head).map_err(|error| unheard(drive, error))
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
        .map_err(|error| failed(drive, "computing the digest", error))?
        .digest;
    let mut peer = Patient::new(socket.as_fd(), interrupt);
    verify::conclude(drive, &mut peer, &Sum { len, digest })
}

/// Receives the share whose greeting came over `first`, and the others; `there` is what the file
/// has of them.
pub(crate) fn receive(
    request: &Request,
    drive: &mut Drive<'_>,
    (first, id, more): (OwnedFd, TransferId, More<'_>),
    (file, at): (&File, u64),
    there: Pieces,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let mut peer = Patient::new(first.as_fd(), interrupt);
    let begun =
        read_share(&mut peer).map_err(|error| failed(drive, "hearing which range comes", error))?;
    let (crew, sockets) = gather((first, more), begun.connections, interrupt)?;
    let is_made = matches!(more, More::Made(_));
    let there = there.of_total(begun.total).ok_or_else(|| {
        let why = format!("{} bytes are fewer than are there", begun.total);
        Stop::call("hearing which range comes", io::Error::other(why))
    })?;
    let keeper = parallel::keeper(request, file, &there, sockets.len())?;
    let arrived = Mutex::new(there);
    let one = |index: usize, drive: &mut Drive<'_>| {
        let mut peer = Patient::new(sockets[index].as_fd(), interrupt);
        let share = if index == 0 {
            begun
        } else {
            if is_made {
                greet(&mut peer, Word::Joins, Some(id)).map_err(|error| unheard(drive, error))?;
                hear_echo(drive, &mut peer, id)?;
            }
            if hear_in_turn(drive, &mut peer)? != Word::Ranges {
                return Err(unheard(drive, io::Error::other("it sends no range")));
            }
            read_share(&mut peer)
                .map_err(|error| failed(drive, "hearing which range comes", error))?
        };
        let is_of_it = (share.connections, share.total) == (begun.connections, begun.total);
        if !is_of_it || share.offset > share.total {
            let why = "a connection carries a share of something else";
            return Err(Stop::call("receiving", io::Error::other(why)));
        }
        let room = share.total - share.offset;
        let place = at + share.offset;
        keeper.iter().for_each(|keeper| keeper.begin(index, share.offset));
        let len = verify::receive_file(drive, &mut peer, (file, place), room)?;
        let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.add(share.offset, share.offset + len);
        Ok(())
    };
    let before = drive.done;
    crew.work((request, keeper.as_ref()), drive, |drive| one(0, drive), &one)?;
    if arrived.into_inner().unwrap_or_else(PoisonError::into_inner).is_whole() {
        return Ok(drive.done - before);
    }
    let why = format!("the shares do not add up to the {} bytes that were promised", begun.total);
    Err(Stop::call("receiving", io::Error::other(why)))
}

fn read_share(peer: &mut impl io::Read) -> io::Result<Share> {
    let connections = verify::read_number(peer)?;
    let (offset, total) = (verify::read_number(peer)?, verify::read_number(peer)?);
    if !(1..=CONNECTIONS_MAX).contains(&connections) || i64::try_from(total).is_err() {
        let why = format!("{connections} connections for {total} bytes are not served");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Share { connections, offset, total })
}
