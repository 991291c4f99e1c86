//! Opening the two ends of a session.
//!
//! A connection may come from a peer at a listening end, or be made here; to the copy they are the
//! same.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use underpass::{Method, Policy, Side};
use underpass_client::{Interrupt, Range};

use super::{Outcome, Session};
use crate::asking::Remote;
use crate::drive::{Drive, Event};
use crate::endpoint::Endpoint;
use crate::error::{CopyError, Usage};
use crate::exchange::greeting::greeting_failed;
use crate::exchange::group::Peer;
use crate::inlet::{self, Inlet};
use crate::outlet::{self, Outlet};
use crate::request::{Request, flag, is_numbered, verifies};
use crate::resume::{self, Partial};
use crate::socket::{self, Listener};
use crate::stream::{SHARED, Stream};
use crate::target::WriteMode;

/// The file that a sink means, and what an earlier copy left of it.
pub(super) struct SinkFile {
    pub(super) path: PathBuf,
    pub(super) partial: Option<Partial>,
}

impl Session {
    /// Waits for the next peer.
    pub(crate) fn accept(&self, interrupt: &Interrupt) -> Result<OwnedFd, CopyError> {
        let side = if self.source_listener.is_some() { Side::Source } else { Side::Sink };
        let (end, listener) = self.end(side);
        inlet::connect(end, listener, interrupt)
    }

    /// An end, and its socket if peers come to it.
    const fn end(&self, side: Side) -> (&Endpoint, Option<&Listener>) {
        match side {
            Side::Source => (&self.request.source, self.source_listener.as_ref()),
            Side::Sink => (&self.request.sink, self.sink_listener.as_ref()),
        }
    }

    /// Exchanges greetings with a peer; `None` if its connection belongs to a transfer under way.
    pub(crate) fn greet_peer(
        &self,
        fd: OwnedFd,
        interrupt: &Interrupt,
    ) -> io::Result<Option<Peer>> {
        self.groups.meet(fd, self.request.source.is_listening(), interrupt)
    }

    /// The same, for a peer that is to be served.
    pub(crate) fn greeted(
        &self,
        fd: OwnedFd,
        outcome: &mut Outcome,
    ) -> Result<Option<Peer>, CopyError> {
        outcome.peer = Some(socket::peer_name(&fd));
        let greeted = self.greet_peer(fd, &self.interrupt);
        greeted.map_err(|error| self.greeting_failed(error, outcome))
    }

    /// The error of a failed greeting.
    pub(crate) fn greeting_failed(&self, error: io::Error, outcome: &Outcome) -> CopyError {
        CopyError::stopped(greeting_failed(error), self.names(outcome), 0, None)
    }

    /// One more connection to the peer's end.
    pub(super) fn connect_again(&self) -> io::Result<OwnedFd> {
        let Request { source, sink, .. } = &self.request;
        let end = if sink.is_socket() { sink } else { source };
        inlet::connect(end, None, &self.interrupt).map_err(io::Error::other)
    }

    /// The connection of an end that is a socket: that of the peer, or a new one.
    fn connection(
        &self,
        side: Side,
        peer: &mut Option<Peer>,
        outcome: &mut Outcome,
    ) -> Result<Stream, CopyError> {
        let (end, listener) = self.end(side);
        let peer = match peer.take_if(|_| end.is_listening()) {
            Some(peer) => peer,
            None => {
                let fd = inlet::connect(end, listener, &self.interrupt)?;
                if end.is_listening() && verifies(&self.request) {
                    let early = || io::Error::other("it belongs to a transfer that has not begun");
                    self.greeted(fd, outcome)?
                        .ok_or_else(|| self.greeting_failed(early(), outcome))?
                } else {
                    Peer { fd, group: None }
                }
            }
        };
        if end.is_listening() {
            outcome.peer.get_or_insert_with(|| socket::peer_name(&peer.fd));
        }
        outcome.group = outcome.group.take().or(peer.group);
        Stream::ours(peer.fd).map_err(|error| CopyError::open("use", end, error))
    }

    /// A descriptor that others share goes by no method but copying.
    pub(super) fn permit_shared(
        &self,
        drive: &mut Drive<'_>,
        inlet: &Inlet<'_>,
        outlet: &Outlet<'_>,
    ) -> Result<(), CopyError> {
        let Request { source, sink, policy, .. } = &self.request;
        let from = if let Inlet::Stream(stream) = inlet { Some((source, stream)) } else { None };
        let to = if let Outlet::Stream(stream) = outlet { Some((sink, stream)) } else { None };
        let mut shared =
            from.into_iter().chain(to).filter(|(_, stream)| !stream.is_for_the_engine());
        let Some((end, _)) = shared.next() else { return Ok(()) };
        if let Policy::Only(method) = policy
            && *method != Method::Copy
        {
            let (method, end, why) = (method.name(), end.to_string(), SHARED.to_owned());
            return Err(CopyError::Usage(Usage::Beneath { method, end, why }));
        }
        drive.pass_user_space(format!("{end} is copied: {SHARED}"));
        Ok(())
    }

    pub(super) fn open_source(
        &self,
        drive: &mut Drive<'_>,
        partial: Option<&Partial>,
        peer: &mut Option<Peer>,
        outcome: &mut Outcome,
    ) -> Result<Inlet<'_>, CopyError> {
        let Request { source, range, .. } = &self.request;
        let (client, is_url) = (&self.request.client, matches!(source, Endpoint::Url(_)));
        match (source, partial) {
            (Endpoint::Url(url), Some(partial)) => {
                let remote = Remote { client, url };
                let body = partial.ask_for_the_rest(remote, *range, (drive, &self.interrupt))?;
                Ok(Inlet::Http(Box::new(body)))
            }
            _ if source.is_socket() => {
                self.connection(Side::Source, peer, outcome).map(Inlet::Stream)
            }
            _ => {
                let is_whole = *range == Range::Whole && self.request.parallel.get() > 1;
                // Asking for a range is how to find out whether a server has ranges.
                let all = Range::From { first: 0, last: None };
                let range = if is_whole && is_url { all } else { *range };
                inlet::open(source, range, client, (drive, &self.interrupt))
            }
        }
    }

    /// Opens the sink, which must be on a disk if its bytes are to be when this ends.
    pub(super) fn open_sink(
        &self,
        file: Option<SinkFile>,
        inlet: &Inlet<'_>,
        peer: &mut Option<Peer>,
        outcome: &mut Outcome,
    ) -> Result<Outlet<'_>, CopyError> {
        let outlet = self.open_any_sink(file, inlet, peer, outcome)?;
        match &outlet {
            Outlet::Stream(stream) if self.request.fsync && !stream.is_kept() => {
                Err(flag("--fsync", &self.request.sink, "only a file or a disk keeps its bytes"))
            }
            Outlet::Target(..) | Outlet::Open(..) | Outlet::Stream(_) | Outlet::Put(_) => {
                Ok(outlet)
            }
        }
    }

    fn open_any_sink(
        &self,
        file: Option<SinkFile>,
        inlet: &Inlet<'_>,
        peer: &mut Option<Peer>,
        outcome: &mut Outcome,
    ) -> Result<Outlet<'_>, CopyError> {
        let Request { sink, atomic, resume, .. } = &self.request;
        match (sink, file) {
            (_, Some(SinkFile { path, partial })) => {
                let have = partial.as_ref().map_or(0, |partial| partial.have);
                let is_begun = partial.as_ref().is_some_and(|partial| partial.bytes() > 0);
                let how = match (atomic, resume) {
                    (true, false) if is_numbered(&self.request) => WriteMode::Numbered,
                    (true, false) => WriteMode::Atomic,
                    (true, true) => WriteMode::Part,
                    (false, false) => WriteMode::InPlace,
                    (false, true) => WriteMode::InPlaceResumed,
                };
                let was_target = match (how, &partial) {
                    (WriteMode::Part, Some(partial)) => partial.rename_to_part(&path)?,
                    _ => false,
                };
                // As with cp(1), a file that is there keeps its mode.
                let mode = inlet.mode().filter(|_| !was_target);
                let mut outlet = outlet::file(&path, how, mode, have)?;
                if let (Outlet::Target(target, _), Some(partial)) = (&mut outlet, partial) {
                    let resumed = target.resume(have, partial.pieces);
                    resumed.map_err(|error| CopyError::open("continue", sink, error))?;
                }
                if let (Outlet::Target(target, _), Inlet::Http(body)) = (&outlet, inlet)
                    && let (WriteMode::Part, Some(validator), false) =
                        (how, &body.validator, is_begun)
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
                let to = outcome.put_to.as_ref().unwrap_or(url);
                let client = &self.request.client;
                let put = client.begin_put(to, url, inlet.len(), policy, &self.interrupt)?;
                Ok(Outlet::Put(Box::new(put)))
            }
            (
                Endpoint::Tcp(_)
                | Endpoint::TcpListen(_)
                | Endpoint::Unix(_)
                | Endpoint::UnixListen(_),
                None,
            ) => self.connection(Side::Sink, peer, outcome).map(Outlet::Stream),
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

/// Refuses a file that would be written while it is read; `path` is the sink's, if it has one.
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

/// The path of an end that was open already; `standard` is the descriptor that `-` means.
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
