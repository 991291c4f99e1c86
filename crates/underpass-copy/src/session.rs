//! One copy from its request to its report.
//!
//! Order matters. What an earlier copy left is checked before the source is opened, since a server
//! is asked only for the rest. The source is opened before the sink, which must know the length.
//! The sink gets its name last.

mod again;
mod ending;
mod opening;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use underpass_client::{Interrupt, Range, Url};

use crate::drive::{Drive, Event};
use crate::endpoint::Endpoint;
use crate::error::{CopyError, Failure, Names, Usage};
use crate::exchange;
use crate::exchange::group::{Peer, PeerGroup, PeerGroups};
use crate::exchange::shares::More;
use crate::inlet::Inlet;
use crate::outlet::{self, Outlet};
use crate::report::Report;
use crate::request::{Request, check, flag, is_numbered, verifies};
use crate::resume::Partial;
use crate::socket::Listener;
use crate::source_to_sink;
use crate::stop::Stop;
use crate::tree::{self, Walk, Wanted};

use self::opening::{SinkFile, listen, refuse_same_file};

/// The name of a peer's file in a directory, before its number.
const PEER_NAME: &str = "peer-";

/// A request whose listening sockets are open.
#[derive(Debug)]
pub struct Session {
    request: Request,
    interrupt: Interrupt,
    source_listener: Option<Listener>,
    sink_listener: Option<Listener>,
    groups: PeerGroups,
    /// Where the search for a free number begins.
    next_number: AtomicU64,
}

/// What a copy learns about itself on the way.
#[derive(Debug)]
pub(crate) struct Outcome {
    begun: Instant,
    resumed_at: u64,
    kept: Option<PathBuf>,
    entries: Option<u64>,
    /// The peer that connected to the listening end.
    peer: Option<String>,
    /// Its transfer, if it verifies.
    group: Option<Arc<PeerGroup>>,
    /// The file made for the peer.
    made: Option<PathBuf>,
    /// Where a server redirects to.
    put_to: Option<Url>,
}

impl Outcome {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            resumed_at: 0,
            kept: None,
            entries: None,
            peer: None,
            group: None,
            made: None,
            put_to: None,
        }
    }
}

impl Session {
    /// Opens what listens, and says where.
    ///
    /// # Errors
    ///
    /// [`CopyError::Open`] with the kernel's error; [`CopyError::Usage`] for what cannot work.
    pub fn open(
        request: Request,
        interrupt: &Interrupt,
        watcher: &mut dyn FnMut(Event),
    ) -> Result<Self, CopyError> {
        check(&request)?;
        let source_listener = listen(&request.source, watcher)?;
        let sink_listener = listen(&request.sink, watcher)?;
        let interrupt = interrupt.with(request.timeouts);
        let (groups, next_number) = (PeerGroups::default(), AtomicU64::new(1));
        Ok(Self { request, interrupt, source_listener, sink_listener, groups, next_number })
    }

    /// Copies once, from opening the ends to giving the sink its name. Waits for a peer if an end
    /// listens; may be called again for the next one.
    ///
    /// # Errors
    ///
    /// [`Failure`], with what has arrived.
    pub fn copy(&self, watcher: &mut dyn FnMut(Event)) -> Result<Report, Box<Failure>> {
        self.once(None, watcher)
    }

    pub(crate) const fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) const fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The end that peers connect to.
    pub(crate) const fn listening_end(&self) -> &Endpoint {
        let Request { source, sink, .. } = &self.request;
        if self.source_listener.is_some() { source } else { sink }
    }

    /// The failure of a copy that did not begin.
    pub(crate) fn without_copy(&self, error: CopyError, outcome: &Outcome) -> Box<Failure> {
        let mut ignore = |_| {};
        let drive = self.drive(&mut ignore);
        let report = self.report(&drive, outcome);
        let error = self.named_by_signal(error, 0, outcome);
        Box::new(Failure { error, report, kept: None })
    }

    fn drive<'d>(&'d self, watcher: &'d mut dyn FnMut(Event)) -> Drive<'d> {
        let Request { policy, stability, limit_bytes_per_s, .. } = self.request;
        Drive::new(&self.interrupt, watcher, policy, stability, limit_bytes_per_s)
    }

    /// Copies once, for this peer, or for the next one that connects.
    pub(crate) fn once(
        &self,
        mut peer: Option<Peer>,
        watcher: &mut dyn FnMut(Event),
    ) -> Result<Report, Box<Failure>> {
        let mut drive = self.drive(watcher);
        let mut outcome = Outcome::new();
        let answer = if self.request.recursive {
            self.copy_folder(&mut drive, &mut outcome)
        } else {
            self.attempts(&mut drive, &mut outcome, &mut peer)
        };
        let report = self.report(&drive, &outcome);
        match answer {
            Ok(()) => Ok(report),
            Err(error) => {
                let error = self.named_by_signal(error, drive.done, &outcome);
                Err(Box::new(Failure { error, report, kept: outcome.kept }))
            }
        }
    }

    fn report(&self, drive: &Drive<'_>, outcome: &Outcome) -> Report {
        let Request { source, sink, .. } = &self.request;
        let made = outcome.made.as_ref().map(|made| made.display().to_string());
        let sink = made.unwrap_or_else(|| sink.to_string());
        let mut report = Report::of(source.to_string(), sink, drive, outcome.begun.elapsed());
        let bytes = drive.done.saturating_sub(outcome.resumed_at);
        report.set_bytes(bytes, drive.findings.holes.min(bytes));
        report.resumed_at = outcome.resumed_at;
        report.checksum.clone_from(&drive.findings.checksum);
        report.verified = drive.findings.verified;
        report.entries = outcome.entries;
        report.peer.clone_from(&outcome.peer);
        report
    }

    /// The names of the two ends, with the peer's.
    fn names(&self, outcome: &Outcome) -> Names {
        let name = |end: &Endpoint| match &outcome.peer {
            Some(peer) if end.is_listening() => format!("{end} ({peer})"),
            Some(_) | None => end.to_string(),
        };
        Names { from: name(&self.request.source), to: name(&self.request.sink) }
    }

    /// After a signal, every failure is the signal's.
    fn named_by_signal(&self, error: CopyError, moved: u64, outcome: &Outcome) -> CopyError {
        match self.interrupt.signal() {
            Some(signal) if error.signal().is_none() => {
                CopyError::stopped(Stop::Signal(signal), self.names(outcome), moved, None)
            }
            Some(_) | None => error,
        }
    }

    fn copy_folder(&self, drive: &mut Drive<'_>, outcome: &mut Outcome) -> Result<(), CopyError> {
        let Request { source, sink, .. } = &self.request;
        let (Endpoint::Path(from), Endpoint::Path(to)) = (source, sink) else {
            let end = if matches!(source, Endpoint::Path(_)) { sink } else { source };
            return Err(CopyError::Usage(Usage::NotDirectory(end.to_string())));
        };
        let to = tree::destination(from, to)?;
        let Request { xattrs: attributes, owners, atomic, fsync: sync, .. } = self.request;
        let mut walk = Walk::new(drive, Wanted { attributes, owners, atomic, sync }, from, &to);
        let walked = walk.run();
        let Walk { entries, failed, incomplete, holes, .. } = walk;
        outcome.entries = Some(entries);
        drive.findings.holes = holes;
        walked.map_err(|stop| self.stopped(stop, drive, outcome))?;
        if failed > 0 {
            let from = source.to_string();
            return Err(CopyError::Entries { from, failed, entries });
        }
        if incomplete > 0 {
            let from = source.to_string();
            return Err(CopyError::Incomplete { from, incomplete, entries });
        }
        Ok(())
    }

    fn attempt(
        &self,
        drive: &mut Drive<'_>,
        outcome: &mut Outcome,
        peer: &mut Option<Peer>,
    ) -> Result<(), CopyError> {
        let Request { source, sink, range, .. } = &self.request;
        let path = match sink {
            Endpoint::Path(path) if is_numbered(&self.request) => Some(path.join(PEER_NAME)),
            Endpoint::Path(path) if !outlet::is_special(path) || path.is_dir() => {
                Some(outlet::path_of(path, source)?)
            }
            Endpoint::Path(_)
            | Endpoint::Standard
            | Endpoint::Descriptor(_)
            | Endpoint::Tcp(_)
            | Endpoint::TcpListen(_)
            | Endpoint::Unix(_)
            | Endpoint::UnixListen(_)
            | Endpoint::Url(_) => None,
        };
        refuse_same_file(&self.request, path.as_deref())?;
        let partial = path
            .as_deref()
            .filter(|_| self.request.resume)
            .and_then(|path| Partial::find(path, !self.request.atomic));
        let mut inlet = self.open_source(drive, partial.as_ref(), peer, outcome)?;
        if let (Inlet::Http(body), Endpoint::Url(url)) = (&inlet, source)
            && let Some(connection) = body.connection()
        {
            connection.permits(self.request.policy, url)?;
            connection.in_user_space().into_iter().for_each(|why| drive.pass_user_space(why));
        }
        if let Some(partial) = &partial {
            if let (Inlet::Stream(stream), true) = (&inlet, *range != Range::Whole)
                && stream.is_kept()
            {
                let why = "its length is unknown, and so what is left of a range of it";
                return Err(flag("--resume with --range", source, why));
            }
            // The other end compares, if it verifies.
            if !verifies(&self.request) {
                partial.check(drive, &mut inlet, &self.request, &self.names(outcome))?;
            }
            outcome.resumed_at = partial.bytes();
            drive.done = partial.bytes();
        }
        let content_len = inlet.len();
        let there = partial.as_ref().map_or(0, |partial| partial.have);
        drive.total = content_len.map(|len| there + len);
        let file = path.map(|path| SinkFile { path, partial });
        let mut outlet = self.open_sink(file, &inlet, peer, outcome)?;
        if let Outlet::Put(put) = &outlet {
            let why = put.connection.in_user_space();
            why.into_iter().for_each(|why| drive.pass_user_space(why));
        }
        self.permit_shared(drive, &inlet, &outlet)?;
        outcome.begun = Instant::now();
        let before = drive.done;
        let moved = if verifies(&self.request) {
            self.exchange(drive, &mut inlet, &mut outlet, outcome)?
        } else {
            let Request { checksum, .. } = self.request;
            source_to_sink::copy(&self.request, drive, &mut inlet, &mut outlet, checksum)
        };
        if let Outlet::Target(target, _) = &outlet {
            outcome.kept = target.kept();
        }
        let offsets = self.set_offsets(&inlet, &outlet, drive.done - before);
        self.judge(moved, drive, &mut outlet, outcome)?;
        offsets?;
        self.settle(drive, outlet, outcome)?;
        outcome.kept = None;
        Ok(())
    }

    /// Copies with a peer that verifies; the inner result is the copy's.
    fn exchange(
        &self,
        drive: &mut Drive<'_>,
        inlet: &mut Inlet<'_>,
        outlet: &mut Outlet<'_>,
        outcome: &mut Outcome,
    ) -> Result<Result<u64, Stop>, CopyError> {
        let connect = || self.connect_again();
        let more = outcome.group.as_deref().map_or(More::Connected(&connect), More::Accepted);
        let is_alone = matches!(more, More::Accepted(_)) && !self.request.keep_listening;
        let mut exchange = || exchange::exchange(&self.request, drive, inlet, outlet, more);
        if is_alone {
            let copied = self.accepting_while(exchange);
            return copied
                .map_err(|error| CopyError::open("listen at", self.listening_end(), error));
        }
        Ok(exchange())
    }

    fn stopped(&self, stop: Stop, drive: &Drive<'_>, outcome: &Outcome) -> CopyError {
        CopyError::stopped(stop, self.names(outcome), drive.done, drive.total)
    }
}
