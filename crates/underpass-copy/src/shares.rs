//! One file over several connections between two ends, each share verified by itself.
//!
//! The sender says on every connection how many there are and which range comes over it; the
//! receiver opens or accepts the others when it has heard the first. What came must be all of the
//! file, each byte once, before it gets a name.
//!
//! ```text
//! sender -> receiver   "underpass-ranges 1\n", connections u64, offset u64, total length u64,
//!                      then as in an exchange of one connection
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use crate::carry::failed;
use crate::digest::{self, Algorithm};
use crate::drive::{Drain, Drive, Feed, Stop};
use crate::inlet::FileInlet;
use crate::parallel::{Crew, SHARE_BYTES_MIN};
use crate::patient::Patient;
use crate::request::Request;
use crate::verify::{self, Hello, Sum};

/// Connections that a receiver opens because a sender says so.
const CONNECTIONS_MAX: u64 = 64;

/// What the sender says of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    connections: u64,
    offset: u64,
    total: u64,
}

/// Opens one more connection to the peer.
pub(crate) type More<'m> = &'m dyn Fn() -> io::Result<OwnedFd>;

/// Sends a file over `first` and as many further connections as it is worth.
pub(crate) fn send(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &FileInlet,
    (first, more): (OwnedFd, More<'_>),
) -> Result<u64, Stop> {
    let total = inlet.len;
    let connections = u64::from(request.parallel.get()).min(total / SHARE_BYTES_MIN).max(1);
    let len = total.div_ceil(connections);
    let share_at = |index: usize| {
        let offset = (index as u64 * len).min(total);
        (Share { connections, offset, total }, len.min(total - offset))
    };
    // A receiver that opens the connections opens the others when it has heard this.
    announce(drive, &first, share_at(0))?;
    let (crew, sockets) = gather(first, connections, more)?;
    let one = |index: usize, drive: &mut Drive<'_>| {
        let (share, len) = share_at(index);
        if index > 0 {
            announce(drive, &sockets[index], (share, len))?;
        }
        send_share(drive, inlet, &sockets[index], (inlet.start + share.offset, len))
    };
    crew.work(request, drive, |drive| one(0, drive), &one)?;
    Ok(total)
}

fn gather(first: OwnedFd, connections: u64, more: More<'_>) -> Result<(Crew, Vec<OwnedFd>), Stop> {
    let mut sockets = vec![first];
    for _ in 1..connections {
        sockets.push(more().map_err(|error| Stop::call("connecting once more", error))?);
    }
    let crew = Crew::new(connections);
    for socket in &sockets {
        crew.join(socket.try_clone())?;
    }
    Ok((crew, sockets))
}

/// Hears the receiver's greeting and says what comes over this connection.
fn announce(drive: &Drive<'_>, socket: &OwnedFd, (share, len): (Share, u64)) -> Result<(), Stop> {
    let interrupt = drive.interrupt;
    let mut peer = Patient { fd: socket.as_fd(), interrupt };
    let mut head = Hello::Ranges.bytes().to_vec();
    for number in [share.connections, share.offset, share.total] {
        head.extend_from_slice(&number.to_be_bytes());
    }
    if len > 0 {
        head.extend_from_slice(&len.to_be_bytes());
    }
    verify::greet(&mut peer, interrupt)
        .and_then(|_| peer.write_all(&head))
        .map_err(|error| failed(drive, "agreeing with the other end", error))
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
    let mut peer = Patient { fd: socket.as_fd(), interrupt };
    verify::conclude(drive, &mut peer, &Sum { len, digest })
}

/// Receives the share whose greeting came over `first`, and the others.
pub(crate) fn receive(
    request: &Request,
    drive: &mut Drive<'_>,
    (first, more): (OwnedFd, More<'_>),
    (file, at): (&File, u64),
) -> Result<u64, Stop> {
    let interrupt = drive.interrupt;
    let mut peer = Patient { fd: first.as_fd(), interrupt };
    let begun =
        read_share(&mut peer).map_err(|error| failed(drive, "hearing which range comes", error))?;
    let (crew, sockets) = gather(first, begun.connections, more)?;
    let ranges = Mutex::new(Vec::new());
    let keep = |offset: u64, len: u64| {
        ranges.lock().unwrap_or_else(PoisonError::into_inner).push((offset, len));
    };
    let one = |index: usize, drive: &mut Drive<'_>| {
        let mut peer = Patient { fd: sockets[index].as_fd(), interrupt };
        let share = if index == 0 {
            begun
        } else {
            peer.write_all(Hello::Whole.bytes())
                .and_then(|()| verify::greet(&mut peer, interrupt))
                .and_then(|_| read_share(&mut peer))
                .map_err(|error| failed(drive, "hearing which range comes", error))?
        };
        let is_of_it = (share.connections, share.total) == (begun.connections, begun.total);
        if !is_of_it || share.offset > share.total {
            let why = "a connection carries a share of something else";
            return Err(Stop::call("receiving", io::Error::other(why)));
        }
        let room = share.total - share.offset;
        let place = at + share.offset;
        let len = verify::receive_file(drive, &mut peer, (file, place), room)?;
        keep(share.offset, len);
        Ok(())
    };
    crew.work(request, drive, |drive| one(0, drive), &one)?;
    let mut ranges = ranges.into_inner().unwrap_or_else(PoisonError::into_inner);
    ranges.sort_unstable();
    let end =
        ranges.iter().try_fold(0_u64, |end, &(offset, len)| (offset == end).then_some(end + len));
    if end == Some(begun.total) {
        return Ok(begun.total);
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
