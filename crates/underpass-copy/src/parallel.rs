//! Several connections that move ranges of one file at once, each into its place.
//!
//! The first failure closes the others' connections; its reason is the one that is told. Of a
//! server every further connection must be given the same version (If-Range, or the same length
//! where the server has no strong validator).
//!
//! Source: RFC 9110 §13.1.5, §14.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::Shutdown;

use crate::carry::{Place, carry};
use crate::drive::{Drain, Drive, Event, Stop};
use crate::http::url::Url;
use crate::http::{self, Body};
use crate::range::Range;
use crate::request::Request;

/// A range below this is not worth a connection of its own.
pub(crate) const SHARE_BYTES_MIN: u64 = 1 << 20;

/// What the connections share.
pub(crate) struct Crew {
    sockets: Mutex<Vec<OwnedFd>>,
    /// The first failure.
    failed: Mutex<Option<Stop>>,
    /// Bytes in place, by connection.
    done: Arc<Vec<AtomicU64>>,
}

impl Crew {
    pub(crate) fn new(connections: u64) -> Self {
        let done = (0..connections).map(|_| AtomicU64::new(0)).collect();
        Self { sockets: Mutex::default(), failed: Mutex::default(), done: Arc::new(done) }
    }

    /// Has a connection closed with the others.
    pub(crate) fn join(&self, socket: io::Result<OwnedFd>) -> Result<(), Stop> {
        let socket = socket.map_err(|e| Stop::call("connecting", e))?;
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        Ok(())
    }

    fn fail(&self, stop: Stop) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(stop);
        for socket in &*self.sockets.lock().unwrap_or_else(PoisonError::into_inner) {
            let closed = rustix::net::shutdown(socket, Shutdown::Both);
            debug_assert_ne!(closed, Err(rustix::io::Errno::NOTSOCK), "they are sockets");
        }
    }

    /// Runs the first share on this thread and the others on threads of their own, each with a
    /// drive; the accounts become one.
    pub(crate) fn work(
        &self,
        request: &Request,
        drive: &mut Drive<'_>,
        first: impl FnOnce(&mut Drive<'_>) -> Result<(), Stop>,
        other: &(impl Fn(usize, &mut Drive<'_>) -> Result<(), Stop> + Sync),
    ) -> Result<(), Stop> {
        drive.beside = Some(Arc::clone(&self.done));
        let interrupt = drive.interrupt;
        let limit = request.limit_bytes_per_s.map(|limit| limit / self.done.len() as u64);
        drive.set_limit(limit);
        let others = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for (index, counter) in self.done.iter().enumerate().skip(1) {
                threads.push(scope.spawn(move || {
                    let mut watch = |event| {
                        if let Event::Progress { done, .. } = event {
                            counter.store(done, Ordering::Relaxed);
                        }
                    };
                    let Request { policy, stability, .. } = *request;
                    let mut own = Drive::new(interrupt, &mut watch, policy, stability, limit);
                    if let Err(stop) = other(index, &mut own) {
                        self.fail(stop);
                    }
                    counter.store(own.done, Ordering::Relaxed);
                    (own.ledger, own.through_user_space, own.outside_calls, own.done)
                }));
            }
            if let Err(stop) = first(drive) {
                self.fail(stop);
            }
            let ends = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
            ends.collect::<Vec<_>>()
        });
        drive.beside = None;
        for (ledger, through_user_space, calls, done) in others {
            drive.ledger += &ledger;
            drive.through_user_space += through_user_space;
            drive.outside_calls += calls;
            drive.done += done;
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }
}

/// Brings what is left of `body`, and ranges of it that others ask for, to `at` of the file.
pub(crate) fn fetch(
    request: &Request,
    drive: &mut Drive<'_>,
    (url, body): (&Url, &mut Body<'_>),
    (file, at): (&File, u64),
) -> Result<u64, Stop> {
    let len = body.len().unwrap_or(0);
    let connections = u64::from(request.parallel.get()).min(len / SHARE_BYTES_MIN).max(1);
    let share = len.div_ceil(connections);
    let begin = body.start;
    let validator = body.validator.clone();
    body.limit(share);
    let crew = Crew::new(connections);
    crew.join(body.socket())?;
    let first = |drive: &mut Drive<'_>| {
        let drain = Drain::File { file: file.as_fd(), at };
        carry(drive, body.content(), Place::Kernel(drain), None).map(|_| ())
    };
    crew.work(request, drive, first, &|index, drive| {
        let from = index as u64 * share;
        let to = (from + share).min(len);
        let drain = Drain::File { file: file.as_fd(), at: at + from };
        let places = (begin + from, begin + to - 1);
        ask_for(drive, &crew, (url, places, validator.as_deref()), drain)
    })?;
    Ok(len)
}

/// One connection's range.
fn ask_for(
    drive: &mut Drive<'_>,
    crew: &Crew,
    (url, (first, last), validator): (&Url, (u64, u64), Option<&str>),
    drain: Drain<'_>,
) -> Result<(), Stop> {
    let wrong = |why| Stop::call("asking for a range", io::Error::other(why));
    let range = Range::From { first, last: Some(last) };
    let answer = http::get(url, range, validator, drive.interrupt)
        .map_err(|error| Stop::call("asking for a range", io::Error::other(error)))?;
    let mut body = Body::new(answer);
    if !body.is_range || body.start != first || body.len() != Some(last - first + 1) {
        return Err(wrong("the server gave another range, or another version"));
    }
    crew.join(body.socket())?;
    carry(drive, body.content(), Place::Kernel(drain), None).map(|_| ())
}
