//! The connections of the peers at a listening end, grouped by transfer, so that no transfer gets
//! another's connection.
//!
//! A connection waits here after its greeting until its transfer asks for it. When a transfer ends,
//! its waiting connections are closed.
//!
//! Source: eventfd(2), `EFD_SEMAPHORE`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFlags};
use rustix::io::Errno;
use underpass_client::{Interrupt, WaitingStream, Woken, interrupted};

use super::greeting::{GREETING_TIMEOUT, TransferId, Word, greet, read_greeting};
use super::wire::CONNECTIONS_MAX;

/// A transfer at a listening end, and its connections that are still waiting.
#[derive(Debug)]
pub(crate) struct PeerGroup {
    pub(crate) id: TransferId,
    waiting: Mutex<VecDeque<OwnedFd>>,
    /// Readable once for each waiting connection.
    arrivals: OwnedFd,
}

impl PeerGroup {
    fn new(id: TransferId) -> io::Result<Arc<Self>> {
        let flags = EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let arrivals = rustix::event::eventfd(0, flags)?;
        Ok(Arc::new(Self { id, waiting: Mutex::default(), arrivals }))
    }

    fn join(&self, fd: OwnedFd) -> io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() as u64 >= CONNECTIONS_MAX {
            return Err(wrong("its transfer has more connections than it may have"));
        }
        waiting.push_back(fd);
        rustix::io::write(&self.arrivals, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    /// The next connection that the peer at the other end of `first` has promised. Fails when
    /// `first` closes.
    pub(crate) fn next(&self, first: BorrowedFd<'_>, interrupt: &Interrupt) -> io::Result<OwnedFd> {
        let until = Some(Instant::now() + GREETING_TIMEOUT);
        let ends = [(self.arrivals.as_fd(), PollFlags::IN), (first, PollFlags::RDHUP)];
        match interrupt.wait(&ends, until)? {
            Woken::Ready => {}
            Woken::Signal => return Err(interrupted()),
            Woken::Due => {
                let why = "it promised a further connection, and none came";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
        match rustix::io::read(&self.arrivals, &mut [0; 8]) {
            Ok(_) => {}
            Err(Errno::AGAIN) => {
                let why = "it closed before all of its connections were there";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            Err(errno) => return Err(errno.into()),
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front().ok_or_else(|| wrong("a connection arrived and is gone"))
    }
}

/// A peer that has connected to the listening end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) fd: OwnedFd,
    /// Its transfer, if it verifies.
    pub(crate) group: Option<Arc<PeerGroup>>,
}

/// The transfers at a listening end.
#[derive(Debug, Default)]
pub(crate) struct PeerGroups(Mutex<Vec<Weak<PeerGroup>>>);

impl PeerGroups {
    /// Exchanges greetings with a new connection; `None` if it is one more of a known transfer.
    pub(crate) fn meet(
        &self,
        fd: OwnedFd,
        is_receiver: bool,
        interrupt: &Interrupt,
    ) -> io::Result<Option<Peer>> {
        let mut peer = WaitingStream::new(fd, interrupt);
        if is_receiver {
            greet(&mut peer, Word::Begins, None)?;
        }
        let (word, id) = read_greeting(&mut peer)?;
        let id = id.ok_or_else(|| wrong("it does not name its transfer"))?;
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|group| group.strong_count() > 0);
        let known = begun.iter().filter_map(Weak::upgrade).find(|group| group.id == id);
        match (word, known) {
            (Word::Joins, Some(group)) => group.join(peer.fd).map(|()| None),
            (Word::Joins, None) => {
                Err(wrong("it belongs to a transfer that this end does not know"))
            }
            (_, Some(_)) => Err(wrong("its transfer has already begun")),
            (_, None) => {
                let group = PeerGroup::new(id)?;
                begun.push(Arc::downgrade(&group));
                Ok(Some(Peer { fd: peer.fd, group: Some(group) }))
            }
        }
    }
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
