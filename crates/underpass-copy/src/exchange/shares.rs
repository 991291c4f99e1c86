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

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use underpass::Sink;
use underpass_client::{Interrupt, WaitingStream};

use super::greeting::{
    TransferId, Word, greet, greeting_failed, read_echo, read_greeting, read_word_in_turn,
};
use super::group::PeerGroup;
use super::verify::{self, Place};
use super::wire::{CONNECTIONS_MAX, Sum, read_number};
use crate::drive::{Drive, file_source};
use crate::inlet::FileInlet;
use crate::parallel::{self, Workers};
use crate::pieces::Pieces;
use crate::request::Request;
use crate::stop::Stop;

/// What the sender says about a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    connections: u64,
    offset: u64,
    total: u64,
    /// How many bytes it has, where they are sent.
    len: u64,
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
    /// Greets as the sender, over the first connection; returns the transfer's name.
    pub(super) fn name_as_sender<F: AsFd>(
        self,
        peer: &mut WaitingStream<'_, F>,
    ) -> io::Result<TransferId> {
        let id = match self {
            Self::Accepted(group) => group.id,
            Self::Connected(_) => match read_greeting(peer)? {
                (_, Some(id)) => id,
                (_, None) => TransferId::random()?,
            },
        };
        greet(peer, Word::Begins, Some(id))?;
        Ok(id)
    }

    /// The same as the receiver, which greets here only if it has connected.
    pub(super) fn name_as_receiver<F: AsFd>(
        self,
        peer: &mut WaitingStream<'_, F>,
    ) -> io::Result<TransferId> {
        match self {
            Self::Accepted(group) => Ok(group.id),
            Self::Connected(_) => {
                let id = TransferId::random()?;
                greet(peer, Word::Begins, Some(id)).map(|()| id)
            }
        }
    }
}

/// A peer: its first connection, after the greetings, and how to get more.
pub(super) struct Peer<'m> {
    pub(super) first: OwnedFd,
    pub(super) id: TransferId,
    pub(super) more: More<'m>,
}

/// The connections of a peer, and the threads to come.
struct Gathered {
    sockets: Vec<OwnedFd>,
    workers: Workers,
    id: TransferId,
    /// Whether this end opened them, and so greets on each.
    connects: bool,
}

impl Peer<'_> {
    /// Gets as many connections as the sender says there are.
    fn gather(self, connections: u64, interrupt: &Interrupt) -> Result<Gathered, Stop> {
        let Self { first, id, more } = self;
        let mut sockets = vec![first];
        for _ in 1..connections {
            let socket = match more {
                More::Accepted(group) => group.next(sockets[0].as_fd(), interrupt),
                More::Connected(connect) => connect(),
            };
            sockets.push(socket.map_err(Stop::when("opening another connection"))?);
        }
        let workers = Workers::new(connections);
        for (index, socket) in sockets.iter().enumerate() {
            workers.join(index, socket.try_clone()).map_err(Stop::when("connecting"))?;
        }
        let connects = matches!(more, More::Connected(_));
        Ok(Gathered { sockets, workers, id, connects })
    }
}

/// Sends what `pieces` lacks of a file, over the peer's first connection and as many more as it is
/// worth.
pub(super) fn send(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &FileInlet,
    pieces: &Pieces,
    peer: Peer<'_>,
) -> Result<u64, Stop> {
    let shares = pieces.shares(u64::from(request.parallel.get()));
    let connections = shares.len() as u64;
    let share_at = |index: usize| {
        let (offset, to) = shares[index];
        Share { connections, offset, total: inlet.len, len: to - offset }
    };
    let interrupt = drive.interrupt;
    // A receiver that opens the connections opens the others after it has read this.
    announce(&mut WaitingStream::new(peer.first.as_fd(), interrupt), share_at(0))?;
    let Gathered { sockets, workers, id, connects } = peer.gather(connections, interrupt)?;
    let one = |index: usize, drive: &mut Drive<'_>| {
        let mut peer = WaitingStream::new(sockets[index].as_fd(), interrupt);
        if index > 0 {
            let greeted = if connects { read_greeting(&mut peer).map(|_| ()) } else { Ok(()) };
            greeted
                .and_then(|()| greet(&mut peer, Word::Joins, Some(id)))
                .map_err(greeting_failed)?;
            announce(&mut peer, share_at(index))?;
        }
        send_share(drive, inlet, &mut peer, share_at(index))
    };
    let before = drive.done;
    workers.run((request, None), drive, |drive| one(0, drive), &one)?;
    Ok(drive.done - before)
}

/// Says which share this connection carries.
fn announce(peer: &mut impl Write, share: Share) -> Result<(), Stop> {
    let mut head = Word::Ranges.bytes().to_vec();
    let len = (share.len > 0).then_some(share.len);
    for number in [share.connections, share.offset, share.total].into_iter().chain(len) {
        head.extend_from_slice(&number.to_be_bytes());
    }
    peer.write_all(&head).map_err(greeting_failed)
}

fn send_share<F: AsFd>(
    drive: &mut Drive<'_>,
    inlet: &FileInlet,
    peer: &mut WaitingStream<'_, F>,
    Share { offset, len, .. }: Share,
) -> Result<(), Stop> {
    let offset = inlet.start + offset;
    if len > 0 {
        drive.transfer(file_source(&inlet.file, offset, len)?, Sink::stream(&peer.fd))?;
    }
    let sum = Sum::of_file(&inlet.file, offset, len, drive.interrupt)?;
    verify::conclude(peer, &sum)
}

/// Receives all shares; `there` is what the file already has.
pub(super) fn receive(
    request: &Request,
    drive: &mut Drive<'_>,
    peer: Peer<'_>,
    place: Place<'_>,
    there: Pieces,
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let begun = read_share(&mut WaitingStream::new(peer.first.as_fd(), interrupt))?;
    let gathered = peer.gather(begun.connections, interrupt)?;
    let there = there.of_total(begun.total).ok_or_else(|| {
        let why = format!("the source has {} bytes, fewer than are there", begun.total);
        Stop::call("reading which range comes", io::Error::other(why))
    })?;
    let recorder = parallel::recorder(request, place.file, &there, gathered.sockets.len())?;
    let arrived = Mutex::new(there);
    let one = |index: usize, drive: &mut Drive<'_>| {
        let mut peer = WaitingStream::new(gathered.sockets[index].as_fd(), interrupt);
        let share = if index == 0 { begun } else { gathered.next_share(drive, &mut peer)? };
        let is_of_it = (share.connections, share.total) == (begun.connections, begun.total);
        if !is_of_it || share.offset > share.total {
            let why = "a connection carries a share of another file";
            return Err(Stop::call("receiving", io::Error::other(why)));
        }
        recorder.iter().for_each(|recorder| recorder.begin(index, share.offset, 0));
        let (room, at) = (share.total - share.offset, place.at + share.offset);
        let len = verify::receive_file(drive, &mut peer, Place { at, ..place }, room)?;
        let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.add(share.offset, share.offset + len);
        Ok(())
    };
    let before = drive.done;
    gathered.workers.run((request, recorder.as_ref()), drive, |drive| one(0, drive), &one)?;
    if arrived.into_inner().unwrap_or_else(PoisonError::into_inner).is_whole() {
        return Ok(drive.done - before);
    }
    let why = format!("the ranges do not add up to the {} bytes that were promised", begun.total);
    Err(Stop::call("receiving", io::Error::other(why)))
}

impl Gathered {
    /// Greets on a further connection, and reads which share it carries.
    fn next_share<F: AsFd>(
        &self,
        drive: &mut Drive<'_>,
        peer: &mut WaitingStream<'_, F>,
    ) -> Result<Share, Stop> {
        if self.connects {
            greet(peer, Word::Joins, Some(self.id)).map_err(greeting_failed)?;
            read_echo(drive, peer, self.id)?;
        }
        if read_word_in_turn(drive, peer)? != Word::Ranges {
            let why = "it sends something other than a range";
            return Err(greeting_failed(io::Error::other(why)));
        }
        read_share(peer)
    }
}

/// Reads which share comes; its length is that of its frames.
fn read_share(peer: &mut impl io::Read) -> Result<Share, Stop> {
    let mut next = || read_number(peer).map_err(Stop::when("reading which range comes"));
    let (connections, offset, total) = (next()?, next()?, next()?);
    if !(1..=CONNECTIONS_MAX).contains(&connections) || i64::try_from(total).is_err() {
        let why = format!(
            "it asks for {connections} connections for {total} bytes, which is out of range"
        );
        let why = io::Error::new(io::ErrorKind::InvalidData, why);
        return Err(Stop::call("reading which range comes", why));
    }
    Ok(Share { connections, offset, total, len: 0 })
}
