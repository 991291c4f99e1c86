//! Ranges of one representation over several connections, each into its place in the file.
//!
//! Every further connection must be given the same version (If-Range, or the same length where
//! the server has no strong validator). The first failure closes the others' connections; its
//! reason is the one that is told.
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
use crate::session::Request;

/// A range below this is not worth a connection of its own.
const SHARE_BYTES_MIN: u64 = 1 << 20;

/// What the connections share.
struct Crew {
    sockets: Mutex<Vec<OwnedFd>>,
    /// The first failure.
    failed: Mutex<Option<Stop>>,
    /// Bytes in place, by connection.
    done: Arc<Vec<AtomicU64>>,
}

impl Crew {
    /// Has a connection closed with the others.
    fn join(&self, body: &Body<'_>) -> Result<(), Stop> {
        let socket = body.socket().map_err(|e| Stop::call("connecting", e))?;
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        Ok(())
    }

    fn fail(&self, stop: Stop) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(stop);
        for socket in &*self.sockets.lock().unwrap_or_else(PoisonError::into_inner) {
            // ENOTCONN: the server closed it already.
            drop(rustix::net::shutdown(socket, Shutdown::Both).map_err(io::Error::from));
        }
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
    let end = begin + len;
    let validator = body.validator.clone();
    body.limit(share);
    let done = (0..connections).map(|_| AtomicU64::new(0)).collect();
    let crew = Crew { sockets: Mutex::default(), failed: Mutex::default(), done: Arc::new(done) };
    drive.beside = Some(Arc::clone(&crew.done));
    crew.join(body)?;
    let interrupt = drive.interrupt;
    let (crew, validator) = (&crew, validator.as_deref());
    let others = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for index in 1..connections {
            threads.push(scope.spawn(move || {
                let first = begin + index * share;
                let last = (first + share).min(end) - 1;
                let counter = &crew.done[usize::try_from(index).unwrap_or(0)];
                let mut watch = |event| {
                    if let Event::Progress { done, .. } = event {
                        counter.store(done, Ordering::Relaxed);
                    }
                };
                let limit = request.limit_bytes_per_s.map(|limit| limit / connections);
                let mut own =
                    Drive::new(interrupt, &mut watch, request.policy, request.stability, limit);
                let drain = Drain::File { file: file.as_fd(), at: at + (first - begin) };
                let asked = Range::From { first, last: Some(last) };
                if let Err(stop) = share_of(&mut own, crew, (url, asked, validator), drain) {
                    crew.fail(stop);
                }
                (own.ledger, own.through_user_space, own.outside_calls, own.done)
            }));
        }
        let drain = Drain::File { file: file.as_fd(), at };
        if let Err(stop) = carry(drive, body.content(), Place::Kernel(drain), None) {
            crew.fail(stop);
        }
        let answers = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
        answers.collect::<Vec<_>>()
    });
    drive.beside = None;
    for (ledger, through_user_space, calls, done) in others {
        drive.ledger += &ledger;
        drive.through_user_space += through_user_space;
        drive.outside_calls += calls;
        drive.done += done;
    }
    let failed = crew.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    failed.map_or(Ok(len), Err)
}

/// One connection's range.
fn share_of(
    drive: &mut Drive<'_>,
    crew: &Crew,
    (url, range, validator): (&Url, Range, Option<&str>),
    drain: Drain<'_>,
) -> Result<(), Stop> {
    let Range::From { first, last: Some(last) } = range else { return Ok(()) };
    let wanted = last - first + 1;
    let wrong = |why| Stop::call("asking for a range", io::Error::other(why));
    let answer = http::get(url, range, validator, drive.interrupt)
        .map_err(|error| Stop::call("asking for a range", io::Error::other(error)))?;
    let mut body = Body::new(answer);
    if !body.is_range || body.start != first || body.len() != Some(wanted) {
        return Err(wrong("the server gave another range, or another version"));
    }
    crew.join(&body)?;
    carry(drive, body.content(), Place::Kernel(drain), None).map(|_| ())
}
