//! Asks servers: again if they fail, and for the rest of what they cut short.
//!
//! The rest is asked for with If-Range and a strong validator, since the server may have another
//! version. It matters what stopped the bytes: a source that broke off is asked again, a sink not.
//!
//! Source: RFC 9110 §10.2.3 (Retry-After), §13.1.5, §15.3.7.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use underpass_client::{Body, Client, Connection, Interrupt, Range, Url, Validator};

use crate::drive::Drive;
use crate::error::CopyError;
use crate::stop::Stop;

/// The first pause before a server is asked again; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause, also of those that servers ask for.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// A server's file, and how it is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote<'r> {
    pub(crate) client: &'r Client,
    pub(crate) url: &'r Url,
}

/// How often in a row a server has failed.
#[derive(Debug)]
pub(crate) struct Attempts {
    max: u32,
    failed: u32,
}

impl Attempts {
    /// As often as the user wants, and at least `min` times.
    pub(crate) fn new(client: &Client, min: u32) -> Self {
        Self { max: client.retries.max(min), failed: 0 }
    }

    /// Waits for the next attempt, for as long as the server wishes; false if there is none.
    pub(crate) fn again(
        &mut self,
        why: &dyn Display,
        wish: Option<Duration>,
        drive: &mut Drive<'_>,
    ) -> bool {
        let usual = PAUSE.saturating_mul(2_u32.saturating_pow(self.failed));
        let pause = wish.unwrap_or_else(|| usual.min(PAUSE_MAX));
        if self.failed >= self.max || pause > PAUSE_MAX {
            return false;
        }
        self.failed += 1;
        let Self { failed, max } = self;
        drive.note(format!("{why}; trying again in {pause:?} ({failed} of {max})"));
        // After a signal the next attempt ends as well.
        drive.interrupt.wait(&[], Some(Instant::now() + pause)).is_ok()
    }
}

/// Asks for a range, again if the server has no time or cannot be reached.
pub(crate) fn ask<'i>(
    Remote { client, url }: Remote<'_>,
    range: Range,
    if_range: Option<&Validator>,
    (drive, interrupt): (&mut Drive<'_>, &'i Interrupt),
    connected: &dyn Fn(&Connection<'i>) -> io::Result<()>,
) -> Result<Body<'i>, CopyError> {
    let mut attempts = Attempts::new(client, 0);
    loop {
        match client.get(url, range, if_range, interrupt, connected).map_err(CopyError::from) {
            Err(error) if may_pass(&error) && attempts.again(&error, wish(&error), drive) => {}
            answer => return answer,
        }
    }
}

/// Moves all that is wanted of a body by `to`, which is told how many bytes were moved before.
pub(crate) fn deliver<'i>(
    remote: Remote<'_>,
    drive: &mut Drive<'_>,
    body: &mut Body<'i>,
    to: &mut dyn FnMut(&mut Drive<'_>, &mut Body<'i>, u64) -> Result<u64, Stop>,
) -> Result<u64, Stop> {
    let (begun, mut attempts) = (drive.done, Attempts::new(remote.client, 0));
    loop {
        let (place, before) = (body.place, drive.done);
        let answer = to(drive, body, before - begun);
        let moved = drive.done - before;
        body.place = place.after(moved);
        if moved > 0 {
            attempts.failed = 0;
        }
        match answer {
            _ if body.place.is_short() => {}
            Err(stop) if may_continue(&stop, body) && attempts.again(&stop, None, drive) => {}
            answer => return answer.map(|_| drive.done - begun),
        }
        *body = ask_for_the_rest(remote, body, drive)?;
    }
}

/// Reads all that is wanted of a body, also if that takes several answers.
pub(crate) struct Answers<'a, 'w, 'i> {
    pub(crate) remote: Remote<'a>,
    pub(crate) drive: &'a mut Drive<'w>,
    pub(crate) body: &'a mut Body<'i>,
}

impl Read for Answers<'_, '_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Self { remote, drive, body } = self;
        if body.place.is_short() {
            **body = ask_for_the_rest(*remote, body, drive)
                .map_err(|stop| io::Error::other(stop.to_string()))?;
        }
        body.counted().read(into)
    }
}

fn ask_for_the_rest<'i>(
    remote: Remote<'_>,
    body: &Body<'i>,
    drive: &mut Drive<'_>,
) -> Result<Body<'i>, Stop> {
    let wrong = |why: &str| Stop::call("asking for the rest", io::Error::other(why));
    let interrupt = body.connection().map(|connection| connection.socket().interrupt);
    let (Some(validator), Some(interrupt)) = (strong(body), interrupt) else {
        return Err(wrong("it might be of another version, since there is no strong validator"));
    };
    let rest = body.place.rest();
    let next = ask(remote, rest, Some(validator), (drive, interrupt), &|_| Ok(()))
        .and_then(|next| Ok(next.cut(remote.url, rest)?))
        .map_err(|error| Stop::call("asking for the rest", io::Error::other(error)))?;
    let is_same = next.total.is_none() || body.total.is_none() || next.total == body.total;
    if next.validator.as_ref() == Some(validator) && is_same {
        Ok(next)
    } else {
        Err(wrong("the server has another version by now"))
    }
}

fn strong<'b>(body: &'b Body<'_>) -> Option<&'b Validator> {
    body.validator.as_ref().filter(|validator| validator.is_strong())
}

/// Whether a source broke off that can be continued.
fn may_continue(stop: &Stop, body: &Body<'_>) -> bool {
    // EPIPE is a sink's.
    let is_ours = |errno| errno != Errno::PIPE && is_of_network(io::Error::from(errno).kind());
    let is_of_source = match stop {
        Stop::Engine(error) => is_short(error) || errno(error).is_some_and(is_ours),
        Stop::Call("reading the source", error) => is_of_network(error.kind()),
        Stop::Call(..) | Stop::Signal(_) => false,
    };
    is_of_source && strong(body).is_some()
}

const fn is_short(error: &underpass::Error) -> bool {
    matches!(error.kind, underpass::ErrorKind::Truncated { .. })
}

fn errno(error: &underpass::Error) -> Option<Errno> {
    if let underpass::ErrorKind::Io(errno) = error.kind { Some(errno) } else { None }
}

/// Whether another attempt may succeed.
pub(crate) fn may_pass(error: &CopyError) -> bool {
    if let CopyError::Status { status, .. } = error {
        return matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
    }
    let of = |errno| is_of_network(io::Error::from(errno).kind());
    matches!(error, CopyError::Open { source, .. } if is_of_network(source.kind()))
        // The server was the sink.
        || matches!(error, CopyError::Transfer { source, .. } if errno(source).is_some_and(of))
}

/// How long the server wants not to be asked.
pub(crate) const fn wish(error: &CopyError) -> Option<Duration> {
    if let CopyError::Status { retry_after, .. } = error { *retry_after } else { None }
}

const fn is_of_network(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::TimedOut
            | ErrorKind::UnexpectedEof
    )
}
