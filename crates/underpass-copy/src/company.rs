//! The connections that come to a listening end, by transfer: those of one are never taken for
//! another's.
//!
//! A connection waits here, greeted, until its transfer asks for it; a transfer that ends takes
//! with it what nobody asked for.
//!
//! Source: eventfd(2), `EFD_SEMAPHORE`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFlags};
use rustix::io::Errno;

use crate::greeting::{PATIENCE, TransferId, Word, greet, hear_greeting};
use crate::interrupt::{Interrupt, Woken};
use crate::patient::Patient;
use crate::shares::CONNECTIONS_MAX;
use crate::socket::interrupted;

/// A transfer under way at a listening end, and its connections that wait.
#[derive(Debug)]
pub(crate) struct Company {
    pub(crate) id: TransferId,
    waiting: Mutex<VecDeque<OwnedFd>>,
    /// Readable once for each that waits.
    come: OwnedFd,
}

impl Company {
    fn new(id: TransferId) -> io::Result<Arc<Self>> {
        let flags = EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let come = rustix::event::eventfd(0, flags)?;
        Ok(Arc::new(Self { id, waiting: Mutex::default(), come }))
    }

    fn join(&self, fd: OwnedFd) -> io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() as u64 >= CONNECTIONS_MAX {
            return Err(wrong("more connections come than a transfer can have"));
        }
        waiting.push_back(fd);
        rustix::io::write(&self.come, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    /// The next connection that the peer at the other end of `first` has promised, for as long as
    /// that stands.
    pub(crate) fn next(&self, first: BorrowedFd<'_>, interrupt: &Interrupt) -> io::Result<OwnedFd> {
        let until = Some(Instant::now() + PATIENCE);
        let ends = [(self.come.as_fd(), PollFlags::IN), (first, PollFlags::RDHUP)];
        match interrupt.wait(&ends, until)? {
            Woken::Ready => {}
            Woken::Signal => return Err(interrupted()),
            Woken::Due => {
                let why = "no further connection came, which it had promised";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
        match rustix::io::read(&self.come, &mut [0; 8]) {
            Ok(_) => {}
            Err(Errno::AGAIN) => {
                let why = "it closed before all of its connections had come";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            Err(errno) => return Err(errno.into()),
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front().ok_or_else(|| wrong("a connection came and is not there"))
    }
}

/// A peer who has come to the end that listens.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) fd: OwnedFd,
    /// Of those who verify.
    pub(crate) company: Option<Arc<Company>>,
}

/// Transfers that have begun at a listening end.
#[derive(Debug, Default)]
pub(crate) struct Companies(Mutex<Vec<Weak<Company>>>);

impl Companies {
    /// Greets who has connected; `None` if that was a further connection of a transfer here.
    pub(crate) fn meet(
        &self,
        fd: OwnedFd,
        is_receiver: bool,
        interrupt: &Interrupt,
    ) -> io::Result<Option<Visitor>> {
        let mut peer = Patient::new(fd, interrupt);
        if is_receiver {
            greet(&mut peer, Word::Begins, None)?;
        }
        let (word, id) = hear_greeting(&mut peer)?;
        let id = id.ok_or_else(|| wrong("it does not name its transfer"))?;
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|company| company.strong_count() > 0);
        let known = begun.iter().filter_map(Weak::upgrade).find(|company| company.id == id);
        match (word, known) {
            (Word::Joins, Some(company)) => company.join(peer.fd).map(|()| None),
            (Word::Joins, None) => Err(wrong("it belongs to a transfer that is not here")),
            (_, Some(_)) => Err(wrong("its transfer has begun already")),
            (_, None) => {
                let company = Company::new(id)?;
                begun.push(Arc::downgrade(&company));
                Ok(Some(Visitor { fd: peer.fd, company: Some(company) }))
            }
        }
    }
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
