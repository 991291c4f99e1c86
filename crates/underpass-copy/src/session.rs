//! One copy from its request to its report.
//!
//! Order matters: what an earlier copy left is looked at before the source is opened (a server is
//! asked for the rest), the source before the sink (which must know the length), and the sink
//! gets its name last of all.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use rustix::fs::SeekFrom;

use crate::drive::{Drive, Event, Stop};
use crate::endpoint::Endpoint;
use crate::error::{CopyError, Failure, Usage};
use crate::http::{self, Body};
use crate::inlet::{self, FileInlet, Inlet, Stream};
use crate::interrupt::Interrupt;
use crate::movement::{self, Account};
use crate::outlet::{self, Outlet};
use crate::range::Range;
use crate::report::Report;
use crate::request::{Request, check, verifies};
use crate::resume::{self, Standing};
use crate::socket::{self, Listener};
use crate::target::Making;
use crate::tree::{self, Walk};
use crate::verify;

/// A request whose listening sockets are open.
#[derive(Debug)]
pub struct Session {
    request: Request,
    interrupt: Interrupt,
    source_listener: Option<Listener>,
    sink_listener: Option<Listener>,
}

/// What a copy finds out about itself on the way.
#[derive(Debug)]
struct Outcome {
    begun: Instant,
    account: Account,
    resumed_at: u64,
    kept: Option<PathBuf>,
    entries: Option<u64>,
}

impl Session {
    /// Opens what listens, and says where.
    ///
    /// # Errors
    ///
    /// [`CopyError::Open`] with the kernel's answer; [`CopyError::Usage`] for what cannot be.
    pub fn open(
        request: Request,
        interrupt: &Interrupt,
        watcher: &mut dyn FnMut(Event),
    ) -> Result<Self, CopyError> {
        check(&request)?;
        let source_listener = listen(&request.source, watcher)?;
        let sink_listener = listen(&request.sink, watcher)?;
        let interrupt = interrupt.with(request.timeouts);
        Ok(Self { request, interrupt, source_listener, sink_listener })
    }

    /// Copies once, from opening the ends to the sink's name. Waits for peers, and may be called
    /// again for the next one.
    ///
    /// # Errors
    ///
    /// [`Failure`], with what has arrived.
    pub fn copy(&self, watcher: &mut dyn FnMut(Event)) -> Result<Report, Box<Failure>> {
        let request = &self.request;
        let mut drive = Drive::new(
            &self.interrupt,
            watcher,
            request.policy,
            request.stability,
            request.limit_bytes_per_s,
        );
        let mut outcome = Outcome {
            begun: Instant::now(),
            account: Account::default(),
            resumed_at: 0,
            kept: None,
            entries: None,
        };
        let answer = if request.recursive {
            self.copy_folder(&mut drive, &mut outcome)
        } else {
            self.attempt(&mut drive, &mut outcome)
        };
        let (source, sink) = self.names();
        let mut report = Report::of(source, sink, &drive, outcome.begun.elapsed());
        let bytes = drive.done.saturating_sub(outcome.resumed_at);
        report.set_bytes(bytes, outcome.account.holes.min(bytes));
        report.resumed_at = outcome.resumed_at;
        report.checksum = outcome.account.checksum;
        report.verified = outcome.account.verified;
        report.entries = outcome.entries;
        match answer {
            Ok(()) => Ok(report),
            Err(error) => {
                let error = self.named_by_signal(error, drive.done);
                Err(Box::new(Failure { error, report, kept: outcome.kept }))
            }
        }
    }

    fn names(&self) -> (String, String) {
        (self.request.source.to_string(), self.request.sink.to_string())
    }

    /// Whatever failed because a signal came is the signal's.
    fn named_by_signal(&self, error: CopyError, moved: u64) -> CopyError {
        let (from, to) = self.names();
        match self.interrupt.signal() {
            Some(signal) if error.signal().is_none() => {
                CopyError::Interrupted { from, to, signal, moved }
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
        if !from.is_dir() {
            return Err(CopyError::Usage(Usage::NotDirectory(source.to_string())));
        }
        let to = tree::destination(from, to)?;
        let mut walk = Walk::new(drive, self.request.xattrs, self.request.fsync);
        let walked = walk.entry(from, &to);
        let Walk { entries, failed, holes, .. } = walk;
        (outcome.account.holes, outcome.entries) = (holes, Some(entries));
        walked.map_err(|stop| self.stopped(stop, drive))?;
        if failed > 0 {
            let from = source.to_string();
            return Err(CopyError::Entries { from, failed, entries });
        }
        Ok(())
    }

    fn attempt(&self, drive: &mut Drive<'_>, outcome: &mut Outcome) -> Result<(), CopyError> {
        let Request { source, sink, .. } = &self.request;
        let path = match sink {
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
        if let (Endpoint::Path(from), Some(to)) = (source, &path) {
            refuse_same_file(from, to)?;
        }
        let standing = path
            .as_deref()
            .filter(|_| self.request.resume)
            .and_then(|path| Standing::find(path, !self.request.atomic));
        let mut inlet = self.open_source(standing.as_ref())?;
        if let Some(standing) = &standing {
            let (from, to) = self.names();
            standing.check(drive, &mut inlet, (&from, &to))?;
            outcome.resumed_at = standing.have;
            drive.done = standing.have;
        }
        let content_len = inlet.len();
        drive.total = content_len.map(|len| drive.done + len);
        let mut outlet = self.open_sink(path, standing, &inlet)?;
        outcome.begun = Instant::now();
        let moved = if verifies(&self.request) {
            let account = &mut outcome.account;
            let more = || self.connect_again();
            verify::exchange(&self.request, drive, &mut inlet, &mut outlet, account, &more)
        } else {
            let checksum = self.request.checksum;
            movement::all(
                &self.request,
                drive,
                &mut inlet,
                &mut outlet,
                &mut outcome.account,
                checksum,
            )
        };
        if let Outlet::Target(target, _) = &outlet {
            outcome.kept = target.kept();
        }
        let moved = self.judge(moved, drive, &mut outlet)?;
        self.settle(&inlet, outlet, moved)?;
        outcome.kept = None;
        Ok(())
    }

    /// One more connection of the end that is a socket.
    fn connect_again(&self) -> std::io::Result<OwnedFd> {
        let Request { source, sink, .. } = &self.request;
        let (end, listener) = if sink.is_socket() {
            (sink, &self.sink_listener)
        } else {
            (source, &self.source_listener)
        };
        let socket = inlet::connect(end, listener.as_ref(), &self.interrupt);
        socket.map_err(std::io::Error::other)
    }

    fn open_source(&self, standing: Option<&Standing>) -> Result<Inlet<'_>, CopyError> {
        let Request { source, range, .. } = &self.request;
        if let (Endpoint::Url(url), Range::Whole, 2..) =
            (source, range, self.request.parallel.get())
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
            _ => inlet::open(source, *range, self.source_listener.as_ref(), &self.interrupt),
        }
    }

    fn open_sink(
        &self,
        path: Option<PathBuf>,
        standing: Option<Standing>,
        inlet: &Inlet<'_>,
    ) -> Result<Outlet<'_>, CopyError> {
        let Request { sink, atomic, resume, .. } = &self.request;
        match (sink, path) {
            (_, Some(path)) => {
                let mode = if let Inlet::File(file) = inlet { Some(file.mode) } else { None };
                let have = standing.as_ref().map_or(0, |standing| standing.have);
                let making = match (atomic, resume) {
                    (true, false) => Making::Atomic,
                    (true, true) => Making::Part,
                    (false, false) => Making::InPlace,
                    (false, true) => Making::InPlaceResumed,
                };
                if let (Making::Part, Some(standing)) = (making, standing) {
                    standing.become_part(&path)?;
                }
                let outlet = outlet::file(&path, making, mode, have)?;
                if let (Outlet::Target(target, _), Inlet::Http(body)) = (&outlet, inlet)
                    && let (Making::Part, Some(validator)) = (making, &body.validator)
                {
                    resume::keep_validator(target.file(), validator);
                }
                Ok(outlet)
            }
            (Endpoint::Path(path), None) => outlet::special(path, &self.interrupt),
            (Endpoint::Standard, None) => outlet::descriptor(1, sink),
            (Endpoint::Descriptor(number), None) => outlet::descriptor(*number, sink),
            (Endpoint::Url(url), None) => {
                http::put(url, inlet.len(), &self.interrupt).map(|put| Outlet::Put(Box::new(put)))
            }
            (
                Endpoint::Tcp(_)
                | Endpoint::TcpListen(_)
                | Endpoint::Unix(_)
                | Endpoint::UnixListen(_),
                None,
            ) => inlet::connect(sink, self.sink_listener.as_ref(), &self.interrupt)
                .map(|fd| Outlet::Stream(Stream::socket(fd))),
        }
    }

    /// What a server says about a PUT that failed tells more than the failed call.
    fn judge(
        &self,
        moved: Result<u64, Stop>,
        drive: &Drive<'_>,
        outlet: &mut Outlet<'_>,
    ) -> Result<u64, CopyError> {
        let stop = match moved {
            Ok(moved) => return Ok(moved),
            Err(stop) => stop,
        };
        if let (Outlet::Put(put), Stop::Engine(error)) = (outlet, &stop)
            && let underpass::ErrorKind::Io(errno) = error.kind
            && http::is_closed(errno)
            && let Err(status @ CopyError::Status { .. }) = put.finish()
        {
            return Err(status);
        }
        Err(self.stopped(stop, drive))
    }

    /// Ends both ends as whoever is behind them expects.
    fn settle(&self, inlet: &Inlet<'_>, outlet: Outlet<'_>, moved: u64) -> Result<(), CopyError> {
        let Request { source, sink, fsync, .. } = &self.request;
        if let Inlet::File(FileInlet { file, start, moves_offset: true, .. }) = inlet {
            rustix::fs::seek(file, SeekFrom::Start(start + moved))
                .map_err(|error| CopyError::open("set the offset of", source, error))?;
        }
        let cannot = |error: std::io::Error| CopyError::open("finish", sink, error);
        match outlet {
            Outlet::Target(target, _) => target.finish(*fsync).map_err(cannot),
            Outlet::Open(file, at) => {
                rustix::fs::seek(&file, SeekFrom::Start(at + moved))
                    .map_err(|errno| cannot(errno.into()))?;
                if *fsync { file.sync_all().map_err(cannot) } else { Ok(()) }
            }
            Outlet::Stream(stream) if stream.is_socket => {
                socket::end(&stream.fd).map_err(|errno| cannot(errno.into()))
            }
            Outlet::Stream(_) => Ok(()),
            Outlet::Put(mut put) => put.finish(),
        }
    }

    fn stopped(&self, stop: Stop, drive: &Drive<'_>) -> CopyError {
        let (from, to) = self.names();
        CopyError::stopped(stop, (&from, &to), drive.done, drive.total)
    }
}

fn listen(
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

fn refuse_same_file(from: &std::path::Path, to: &std::path::Path) -> Result<(), CopyError> {
    use std::os::unix::fs::MetadataExt;
    let (Ok(one), Ok(other)) = (std::fs::metadata(from), std::fs::metadata(to)) else {
        return Ok(());
    };
    if one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()) {
        let (from, to) = (from.display().to_string(), to.display().to_string());
        return Err(CopyError::Usage(Usage::SameFile(from, to)));
    }
    Ok(())
}
