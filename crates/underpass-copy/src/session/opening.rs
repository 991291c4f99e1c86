//! Opening the two ends of a session.
//!
//! A connection is one that a peer made to an end that listens, or one that is made here; which of
//! them is no matter to the copy.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Outcome, Session};
use crate::company::Visitor;
use crate::drive::{Event, Stop};
use crate::endpoint::Endpoint;
use crate::error::{CopyError, Usage};
use crate::http::{self, Body};
use crate::inlet::{self, Inlet, Stream};
use crate::interrupt::Interrupt;
use crate::outlet::{self, Outlet};
use crate::range::Range;
use crate::request::{Request, verifies};
use crate::resume::{self, Standing};
use crate::socket::{self, Listener};
use crate::target::Making;

impl Session {
    /// Waits for the next peer.
    pub(crate) fn accept(&self, interrupt: &Interrupt) -> Result<OwnedFd, CopyError> {
        let listener = self.source_listener.as_ref().or(self.sink_listener.as_ref());
        inlet::connect(self.door(), listener, interrupt)
    }

    /// Greets a peer; `None` if its connection belongs to a transfer under way.
    pub(crate) fn meet_visitor(
        &self,
        fd: OwnedFd,
        interrupt: &Interrupt,
    ) -> io::Result<Option<Visitor>> {
        self.companies.meet(fd, self.request.source.is_listening(), interrupt)
    }

    /// The same, for one who is to be served.
    pub(crate) fn greeted(
        &self,
        fd: OwnedFd,
        outcome: &mut Outcome,
    ) -> Result<Option<Visitor>, CopyError> {
        outcome.peer = Some(socket::peer_name(&fd));
        let met = self.meet_visitor(fd, &self.interrupt);
        met.map_err(|error| self.unmet(error, outcome))
    }

    /// The failure of greetings.
    pub(crate) fn unmet(&self, error: io::Error, outcome: &Outcome) -> CopyError {
        let (from, to) = self.names(outcome);
        CopyError::stopped(Stop::call("agreeing with the other end", error), (&from, &to), 0, None)
    }

    /// One more connection to the peer's end.
    pub(super) fn connect_again(&self) -> io::Result<OwnedFd> {
        let Request { source, sink, .. } = &self.request;
        let end = if sink.is_socket() { sink } else { source };
        inlet::connect(end, None, &self.interrupt).map_err(io::Error::other)
    }

    /// The connection of an end that is a socket: the peer's who came, or a new one.
    fn meet(
        &self,
        (end, listener): (&Endpoint, Option<&Listener>),
        peer: &mut Option<Visitor>,
        outcome: &mut Outcome,
    ) -> Result<Stream, CopyError> {
        let visitor = match peer.take_if(|_| end.is_listening()) {
            Some(visitor) => visitor,
            None => {
                let fd = inlet::connect(end, listener, &self.interrupt)?;
                if end.is_listening() && verifies(&self.request) {
                    let early = || io::Error::other("it joins what has not begun");
                    self.greeted(fd, outcome)?.ok_or_else(|| self.unmet(early(), outcome))?
                } else {
                    Visitor { fd, company: None }
                }
            }
        };
        if end.is_listening() {
            outcome.peer.get_or_insert_with(|| socket::peer_name(&visitor.fd));
        }
        outcome.company = outcome.company.take().or(visitor.company);
        Ok(Stream::socket(visitor.fd))
    }

    pub(super) fn open_source(
        &self,
        standing: Option<&Standing>,
        peer: &mut Option<Visitor>,
        outcome: &mut Outcome,
    ) -> Result<Inlet<'_>, CopyError> {
        let Request { source, range, .. } = &self.request;
        if let (Endpoint::Url(url), Range::Whole, None, 2..) =
            (source, range, standing, self.request.parallel.get())
        {
            // Whether it gives ranges shows when it is asked for one.
            let all = Range::From { first: 0, last: None };
            match http::get(url, all, None, &self.interrupt) {
                Ok(answer) => return Ok(Inlet::Http(Box::new(Body::new(answer)))),
                // A representation of no bytes has no ranges.
                Err(CopyError::Usage(Usage::Range { len: 0, .. })) => {}
                Err(error) => return Err(error),
            }
        }
        match (source, standing) {
            (Endpoint::Url(url), Some(standing)) => {
                let body = standing.ask_for_the_rest(url, *range, &self.interrupt)?;
                Ok(Inlet::Http(Box::new(body)))
            }
            _ if source.is_socket() => {
                let listener = self.source_listener.as_ref();
                self.meet((source, listener), peer, outcome).map(Inlet::Stream)
            }
            _ => inlet::open(source, *range, &self.interrupt),
        }
    }

    pub(super) fn open_sink(
        &self,
        (path, standing): (Option<PathBuf>, Option<Standing>),
        inlet: &Inlet<'_>,
        peer: &mut Option<Visitor>,
        outcome: &mut Outcome,
    ) -> Result<Outlet<'_>, CopyError> {
        let Request { sink, atomic, resume, .. } = &self.request;
        match (sink, path) {
            (_, Some(path)) => {
                let mode = if let Inlet::File(file) = inlet { Some(file.mode) } else { None };
                let have = standing.as_ref().map_or(0, |standing| standing.have);
                let is_begun = standing.as_ref().is_some_and(|standing| standing.bytes() > 0);
                let making = match (atomic, resume) {
                    (true, false) => Making::Atomic,
                    (true, true) => Making::Part,
                    (false, false) => Making::InPlace,
                    (false, true) => Making::InPlaceResumed,
                };
                if let (Making::Part, Some(standing)) = (making, &standing) {
                    standing.become_part(&path)?;
                }
                let mut outlet = outlet::file(&path, making, mode, have)?;
                if let (Outlet::Target(target, _), Some(standing)) = (&mut outlet, standing) {
                    let gone_on = target.go_on(have, standing.pieces);
                    gone_on.map_err(|error| CopyError::open("go on with", sink, error))?;
                }
                if let (Outlet::Target(target, _), Inlet::Http(body)) = (&outlet, inlet)
                    && let (Making::Part, Some(validator), false) =
                        (making, &body.validator, is_begun)
                {
                    resume::keep_validator(target.file(), validator);
                }
                Ok(outlet)
            }
            (Endpoint::Path(path), None) => outlet::special(path, &self.interrupt),
            (Endpoint::Standard, None) => outlet::descriptor(1, sink),
            (Endpoint::Descriptor(number), None) => outlet::descriptor(*number, sink),
            (Endpoint::Url(url), None) => {
                let policy = self.request.policy;
                let put = http::put(url, inlet.len(), policy, &self.interrupt)?;
                Ok(Outlet::Put(Box::new(put)))
            }
            (
                Endpoint::Tcp(_)
                | Endpoint::TcpListen(_)
                | Endpoint::Unix(_)
                | Endpoint::UnixListen(_),
                None,
            ) => {
                let listener = self.sink_listener.as_ref();
                self.meet((sink, listener), peer, outcome).map(Outlet::Stream)
            }
        }
    }
}

pub(super) fn listen(
    endpoint: &Endpoint,
    watcher: &mut dyn FnMut(Event),
) -> Result<Option<Listener>, CopyError> {
    let listener = match endpoint {
        Endpoint::TcpListen(address) => Listener::tcp(address),
        Endpoint::UnixListen(path) => Listener::unix(path),
        Endpoint::Path(_)
        | Endpoint::Standard
        | Endpoint::Descriptor(_)
        | Endpoint::Tcp(_)
        | Endpoint::Unix(_)
        | Endpoint::Url(_) => return Ok(None),
    };
    let cannot = |error| CopyError::open("listen at", endpoint, error);
    let listener = listener.map_err(cannot)?;
    watcher(Event::Listening(listener.name().map_err(cannot)?));
    Ok(Some(listener))
}

/// Refuses a file that would be written while it is read; `path` is the sink's, where it is one.
pub(super) fn refuse_same_file(request: &Request, path: Option<&Path>) -> Result<(), CopyError> {
    let Request { source, sink, range, .. } = request;
    let from =
        if let Endpoint::Path(from) = source { Some(from.clone()) } else { open_file(source, 0) };
    // A range may be copied to another place in its file.
    let open_sink = || open_file(sink, 1).filter(|_| *range == Range::Whole);
    let to = path.map(Path::to_owned).or_else(open_sink);
    let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
    let (Ok(one), Ok(other)) = (std::fs::metadata(from), std::fs::metadata(&to)) else {
        return Ok(());
    };
    if one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()) {
        let to = path.map_or_else(|| sink.to_string(), |path| path.display().to_string());
        return Err(CopyError::Usage(Usage::SameFile(source.to_string(), to)));
    }
    Ok(())
}

/// The name of an end that was open already, whose standard descriptor would be this.
fn open_file(end: &Endpoint, standard: RawFd) -> Option<PathBuf> {
    let number = match end {
        Endpoint::Standard => standard,
        Endpoint::Descriptor(number) => *number,
        Endpoint::Path(_)
        | Endpoint::Tcp(_)
        | Endpoint::TcpListen(_)
        | Endpoint::Unix(_)
        | Endpoint::UnixListen(_)
        | Endpoint::Url(_) => return None,
    };
    // proc(5): stat(2) of this is of the open file.
    Some(PathBuf::from(format!("/proc/self/fd/{number}")))
}
