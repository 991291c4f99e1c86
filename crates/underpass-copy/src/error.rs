//! How a copy fails: the object, the numbers, and what to do about it.
//!
//! [`Failure`] says exactly what arrived, so that a script can continue from there.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use underpass_client::{ClientError, Url, is_idle};

use crate::report::Report;
use crate::stop::Stop;

/// A copy that failed, and what it did until then.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: CopyError,
    /// What was done until then; `bytes` are at the sink.
    pub report: Report,
    /// The file with what arrived, if it was kept for `--resume`.
    pub kept: Option<PathBuf>,
}

/// The two ends, as messages name them.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// An end could not be opened, connected or made.
    #[error("cannot {verb} {end}")]
    Open {
        /// What was attempted.
        verb: &'static str,
        /// The end.
        end: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The engine stopped.
    #[error("{from} -> {to}")]
    Transfer {
        /// Where the bytes came from.
        from: String,
        /// Where they went.
        to: String,
        /// The engine's error, with how much had moved.
        source: underpass::Error,
    },
    /// A call other than the transfer's failed.
    #[error("{from} -> {to}: {doing} failed after {moved} bytes")]
    Call {
        /// Where the bytes came from.
        from: String,
        /// Where they went.
        to: String,
        /// What was being done.
        doing: &'static str,
        /// Bytes the sink had.
        moved: u64,
        /// Its error.
        source: io::Error,
    },
    /// SIGHUP, SIGINT or SIGTERM.
    #[error("{from} -> {to}: ended by {name} after {moved} bytes", name = signal_name(*.signal))]
    Interrupted {
        /// Where the bytes came from.
        from: String,
        /// Where they went.
        to: String,
        /// The signal's number.
        signal: i32,
        /// Bytes the sink had.
        moved: u64,
    },
    /// The two ends or the flags do not go together.
    #[error("{0}")]
    Usage(Usage),
    /// The server answered with another status.
    #[error("{url}: the server answered {status} {reason}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
        /// Its phrase, as the server sent it.
        reason: String,
        /// How long the server wants not to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server wants the content at another URL.
    #[error("{url}: the server redirects to {to}")]
    Redirect {
        /// Where it was sent.
        url: String,
        /// Where it should be sent.
        to: Box<Url>,
    },
    /// The peer broke the protocol.
    #[error("{end}: {what}")]
    Protocol {
        /// The peer.
        end: String,
        /// What it did.
        what: String,
    },
    /// What an earlier copy left is not the beginning of the source.
    #[error("{path} has {have} bytes, and differs from {source_name} at byte {at}")]
    Differs {
        /// The file that was to be completed.
        path: String,
        /// The source.
        source_name: String,
        /// The first byte, or block, that differs.
        at: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// The server has another version now than when the copy was begun.
    #[error("{url} has changed since {path} was begun")]
    NewVersion {
        /// What is copied.
        url: String,
        /// The file that was to be completed.
        path: String,
    },
    /// A part with gaps, for a source that cannot fill them.
    #[error("several connections left gaps in {path}, and {source_name} cannot fill them")]
    Pieces {
        /// The file that was to be completed.
        path: String,
        /// The source.
        source_name: String,
    },
    /// The file is already longer than the source.
    #[error("{path} already has {have} bytes, and {source_name} only {len}")]
    Longer {
        /// The file that was to be completed.
        path: String,
        /// The source.
        source_name: String,
        /// Bytes that are there.
        have: u64,
        /// Bytes of the source.
        len: u64,
    },
    /// Entries of a folder failed; each was reported.
    #[error("{failed} of {entries} entries of {from} were not copied")]
    Entries {
        /// The folder.
        from: String,
        /// Entries that failed.
        failed: u64,
        /// Entries there are.
        entries: u64,
    },
    /// All of a folder arrived, but not everything that a flag asked for; each was reported.
    #[error("{incomplete} of {entries} entries of {from} lost owners or attributes")]
    Incomplete {
        /// The folder.
        from: String,
        /// Entries that lost something.
        incomplete: u64,
        /// Entries there are.
        entries: u64,
    },
}

/// Ends and flags that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Usage {
    /// Source and sink are one file.
    #[error("{0} and {1} are the same file; choose another sink")]
    SameFile(String, String),
    /// A directory without `-r`.
    #[error("{0} is a directory; copy it with -r")]
    IsDirectory(String),
    /// `-r` with something else than two paths, or without a directory.
    #[error("-r copies a directory to a path, and {0} is not one")]
    NotDirectory(String),
    /// A directory, for a path where something else is.
    #[error("{0} exists and is not a directory; name a directory, or a path that is free")]
    Taken(String),
    /// A path that ends in `/` and is not a directory.
    #[error("{0} is not a directory; make it first, or leave out the '/' at the end")]
    NoDirectory(String),
    /// A directory that would contain its own copy.
    #[error("{0} cannot be copied to {1}, which is inside it; choose another place")]
    IntoItself(String, String),
    /// A sink that is a directory, for a source without a name.
    #[error("{0} is a directory, and the source has no file name; add one to the path")]
    Nameless(String),
    /// A flag that does not work with one end.
    #[error("{flag} cannot be used with {end}: {why}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// The end.
        end: String,
        /// The reason, and what can be used.
        why: &'static str,
    },
    /// A method of the kernel, where TLS is in user space.
    #[error("{method} cannot be used with {end} ({why}); use --prefer, or no method")]
    Beneath {
        /// The method.
        method: &'static str,
        /// The end.
        end: String,
        /// Why TLS is in user space.
        why: String,
    },
    /// A range that the source does not have.
    #[error("the range {range} does not start within {end}, which has {len} bytes")]
    Range {
        /// As it was written.
        range: String,
        /// The source.
        end: String,
        /// Its length.
        len: u64,
    },
}

impl From<ClientError> for CopyError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Open { verb, end, source } => Self::Open { verb, end, source },
            ClientError::Status { url, status, reason, retry_after } => {
                Self::Status { url, status, reason, retry_after }
            }
            ClientError::Redirect { url, to } => Self::Redirect { url, to },
            ClientError::Protocol { end, what } => Self::Protocol { end, what },
            ClientError::Range { range, end, len } => Self::Usage(Usage::Range { range, end, len }),
            ClientError::Beneath { method, end, why } => {
                Self::Usage(Usage::Beneath { method, end, why })
            }
        }
    }
}

impl CopyError {
    pub(crate) fn open(
        verb: &'static str,
        end: impl ToString,
        error: impl Into<io::Error>,
    ) -> Self {
        Self::Open { verb, end: end.to_string(), source: error.into() }
    }

    pub(crate) fn stopped(
        stop: Stop,
        Names { from, to }: Names,
        moved: u64,
        wanted: Option<u64>,
    ) -> Self {
        match stop {
            Stop::Engine(mut source) => {
                // The last of several transfers counts only its own bytes, not all at the sink.
                (source.moved, source.wanted) = (moved, wanted.or(source.wanted));
                Self::Transfer { from, to, source }
            }
            Stop::Signal(signal) => Self::Interrupted { from, to, signal, moved },
            Stop::Call(doing, source) => Self::Call { from, to, doing, moved, source },
        }
    }

    /// The signal that ended it.
    #[must_use]
    pub const fn signal(&self) -> Option<i32> {
        match self {
            Self::Interrupted { signal, .. } => Some(*signal),
            Self::Open { .. }
            | Self::Transfer { .. }
            | Self::Call { .. }
            | Self::Usage(_)
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Protocol { .. }
            | Self::Differs { .. }
            | Self::Longer { .. }
            | Self::NewVersion { .. }
            | Self::Pieces { .. }
            | Self::Entries { .. }
            | Self::Incomplete { .. } => None,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Open { source, .. } | Self::Call { source, .. } if is_idle(source) => Some(
                "find out why the other end does nothing, or allow more time with --idle-timeout",
            ),
            Self::Open { verb: "finish", source, .. } if is_closed(source) => Some(CLOSED_EARLY),
            Self::Open { source, .. } => remedy_of_opening(source),
            Self::Transfer { source, .. } => remedy_of_transfer(source),
            Self::Status { status: 401 | 403, .. } => Some(
                "give a user and a password with --netrc or in the URL, or a token with --header",
            ),
            Self::Redirect { .. } => Some("a stream cannot be sent twice; give that URL"),
            Self::Status { status: 404, .. } => Some("check the path of the URL"),
            Self::Status { status: 405 | 501, .. } => {
                Some("the server does not accept PUT there; nginx needs dav_methods PUT")
            }
            Self::Status { status: 413, .. } => {
                Some("the server limits the size; nginx calls the limit client_max_body_size")
            }
            Self::Differs { .. }
            | Self::Longer { .. }
            | Self::NewVersion { .. }
            | Self::Pieces { .. } => Some("remove that file, or copy without --resume"),
            Self::Call { .. }
            | Self::Interrupted { .. }
            | Self::Usage(_)
            | Self::Status { .. }
            | Self::Protocol { .. }
            | Self::Entries { .. }
            | Self::Incomplete { .. } => None,
        }
    }
}

const CLOSED_EARLY: &str = "the other end closed before it had everything";

fn is_closed(error: &io::Error) -> bool {
    [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe].contains(&error.kind())
}

fn remedy_of_opening(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind;
    match Errno::from_io_error(error) {
        Some(Errno::BUSY) => {
            return Some("it is a mount point, which only --no-atomic can write to");
        }
        Some(Errno::BADF) => {
            return Some(
                "it is closed, or open in the other direction only; look at the redirections",
            );
        }
        Some(_) | None => {}
    }
    [
        (ErrorKind::ConnectionRefused, "nothing listens there; start the other end first"),
        (ErrorKind::TimedOut, "check the address, or allow more time with --connect-timeout"),
        (ErrorKind::AddrInUse, "choose another port or path, or port 0 for any free one"),
        (ErrorKind::NotADirectory, "check the path; something in it is a file and not a directory"),
        (ErrorKind::InvalidFilename, "choose a shorter name"),
        (ErrorKind::NotFound, "check the path; missing directories are not made"),
        (ErrorKind::AddrNotAvailable, "listen on an address of this machine, or on 0.0.0.0"),
        (
            ErrorKind::PermissionDenied,
            "check its permissions and its directory's; --no-atomic needs only the file's",
        ),
        (ErrorKind::ReadOnlyFilesystem, "choose a sink on a file system that is not read-only"),
        (ErrorKind::StorageFull, "free some space there"),
        (ErrorKind::ExecutableFileBusy, "it is running; replace it without --no-atomic"),
        (ErrorKind::QuotaExceeded, "free some space there"),
    ]
    .into_iter()
    .find_map(|(kind, remedy)| (error.kind() == kind).then_some(remedy))
}

fn remedy_of_transfer(error: &underpass::Error) -> Option<&'static str> {
    use underpass::ErrorKind;
    match error.kind {
        ErrorKind::Io(Errno::NOSPC | Errno::DQUOT) => Some(
            "free some space there; a file that is written over with --no-atomic needs no more",
        ),
        ErrorKind::Io(Errno::PIPE | Errno::CONNRESET) => Some(CLOSED_EARLY),
        ErrorKind::Truncated { .. } => {
            Some("the source is shorter than expected; copy again when it is complete")
        }
        ErrorKind::Changed => {
            Some("copy when nothing writes to the source, or use --stability none")
        }
        ErrorKind::Unsupported { .. } => {
            Some("use --prefer, which falls back to other methods, or name no method")
        }
        ErrorKind::Io(_) | ErrorKind::NoLease(_) | _ => None,
    }
}

const fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        15 => "SIGTERM",
        _ => "a signal",
    }
}
