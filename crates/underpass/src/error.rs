//! How a transfer, or a write of file-backed bytes, ends before its last byte.
//!
//! Every error says how many bytes the sink already has, because the caller must not send them
//! again, and how many were taken from the source without having reached the sink. A write of
//! file-backed bytes that fails has moved nothing, and says at which byte of the file it stopped.

use std::{fmt, io};

use rustix::io::Errno;

use crate::kind::Kind;
use crate::ledger::Side;
use crate::method::Method;
use crate::tls::TlsError;

/// A transfer, or a write of file-backed bytes, that ended before its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// Bytes the sink accepted. Exact.
    pub moved: u64,
    /// Bytes taken from a stream or file that have not reached the sink. Those of a stream are
    /// lost with the transfer, unless it is stepped on.
    pub buffered: u64,
    /// Bytes asked for; `None` if some source was a stream without a length. Of a write: the
    /// length of the slice that was being sent.
    pub wanted: Option<u64>,
    /// Of a write of file-backed bytes: the offset in the file of the first byte that was not
    /// sent. `None` for a transfer.
    pub file_offset: Option<u64>,
    /// The method in use.
    pub method: Method,
    /// What went wrong.
    pub kind: ErrorKind,
}

/// Why a transfer or a write ended before its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The kernel refused a call. Peers cause `EPIPE` and `ECONNRESET`; a full disk `ENOSPC`.
    Io(Errno),
    /// The source ended early: a file shrank after its range was given, or a stream ended
    /// before the number of bytes asked for.
    Truncated {
        /// Bytes the source still owed.
        missing: u64,
    },
    /// The file changed while it was sent; its last bytes were held back. See
    /// [`Stability`](crate::Stability).
    Changed,
    /// `Policy::Only` named a method that cannot do this.
    Unsupported {
        /// The kind of the source.
        source: Kind,
        /// The kind of the sink.
        sink: Kind,
        /// The kernel's answer; `None` if it was not asked.
        errno: Option<Errno>,
    },
    /// `Stability::Lease`, and the kernel gives no read lease on the file: `EAGAIN` if it is
    /// open for writing, `EACCES` if it is another user's.
    NoLease(Errno),
    /// A socket or pipe was given to [`Transfer::drive`](crate::Transfer::drive) as a plain
    /// stream: give it by [`Source::tokio`](crate::Source) or [`Sink::tokio`](crate::Sink).
    NotWatched(Side),
    /// A TLS source ended in another way than by close_notify.
    Tls(TlsError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, kind, .. } = self;
        let place = Place(self);
        match kind {
            ErrorKind::Io(errno) => {
                write!(f, "{method} failed {place}: {}", NamedErrno(*errno))
            }
            ErrorKind::Truncated { missing } => {
                write!(f, "source ended {place}: {missing} bytes are missing")
            }
            ErrorKind::Changed => write!(f, "source changed while it was sent, {place}"),
            ErrorKind::Unsupported { source, sink, errno } => {
                write!(f, "{method} cannot move {source} to {sink}, {place}")?;
                errno.map_or(Ok(()), |errno| write!(f, ": {}", NamedErrno(errno)))
            }
            ErrorKind::NoLease(errno) => {
                write!(f, "no read lease on the source, {place}: {}", NamedErrno(*errno))
            }
            ErrorKind::NotWatched(Side::Source) => {
                f.write_str("tokio does not watch the source: pass the stream by Source::tokio")
            }
            ErrorKind::NotWatched(Side::Sink) => {
                f.write_str("tokio does not watch the sink: pass the stream by Sink::tokio")
            }
            ErrorKind::Tls(error) => write!(f, "{error}, {place}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// An error of a transfer of which nothing has moved yet; the fields are public.
    #[must_use]
    pub const fn new(method: Method, kind: ErrorKind) -> Self {
        Self { moved: 0, buffered: 0, wanted: None, file_offset: None, method, kind }
    }
}

impl From<Error> for io::Error {
    /// Keeps the error, for `get_ref` and `downcast_ref`. The kind is that of the errno,
    /// `UnexpectedEof` for a source that ended, `InvalidData` for one that changed, `Unsupported`.
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::Io(errno) | ErrorKind::NoLease(errno) => Self::from(errno).kind(),
            ErrorKind::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            ErrorKind::Changed => io::ErrorKind::InvalidData,
            ErrorKind::NotWatched(_) => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported { .. } => io::ErrorKind::Unsupported,
            ErrorKind::Tls(error) => error.io_kind(),
        };
        Self::new(kind, error)
    }
}

/// `after 4096 of 10000 bytes`, or `after 4096 bytes` of a stream; of a write, `at byte 4096 of
/// the file`.
struct Place<'e>(&'e Error);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            Error { file_offset: Some(at), .. } => write!(f, "at byte {at} of the file"),
            Error { moved, wanted: Some(wanted), .. } => {
                write!(f, "after {moved} of {wanted} bytes")
            }
            Error { moved, .. } => write!(f, "after {moved} bytes"),
        }
    }
}

/// An errno as `Broken pipe (EPIPE)`: the C library's text and the name manual pages use.
pub(crate) struct NamedErrno(pub(crate) Errno);

impl fmt::Display for NamedErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from(self.0).to_string();
        let Some(name) = name_of(self.0) else { return f.write_str(&text) };
        let text = text.split(" (os error").next().unwrap_or(&text);
        write!(f, "{text} ({name})")
    }
}

/// The names of those errnos that the calls of the engine document.
const NAMES: [(Errno, &str); 29] = [
    (Errno::ACCESS, "EACCES"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::BADF, "EBADF"),
    (Errno::BADMSG, "EBADMSG"),
    (Errno::CONNRESET, "ECONNRESET"),
    (Errno::FAULT, "EFAULT"),
    (Errno::FBIG, "EFBIG"),
    (Errno::INTR, "EINTR"),
    (Errno::INVAL, "EINVAL"),
    (Errno::IO, "EIO"),
    (Errno::ISDIR, "EISDIR"),
    (Errno::MFILE, "EMFILE"),
    (Errno::MSGSIZE, "EMSGSIZE"),
    (Errno::NFILE, "ENFILE"),
    (Errno::NOBUFS, "ENOBUFS"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::NOSYS, "ENOSYS"),
    (Errno::NOTCONN, "ENOTCONN"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::OVERFLOW, "EOVERFLOW"),
    (Errno::PERM, "EPERM"),
    (Errno::PIPE, "EPIPE"),
    (Errno::ROFS, "EROFS"),
    (Errno::SPIPE, "ESPIPE"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
    (Errno::TXTBSY, "ETXTBSY"),
    (Errno::XDEV, "EXDEV"),
];

fn name_of(errno: Errno) -> Option<&'static str> {
    NAMES.into_iter().find(|(known, _)| *known == errno).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(moved: u64, wanted: Option<u64>, kind: ErrorKind) -> Error {
        Error { moved, wanted, ..Error::new(Method::Sendfile, kind) }
    }

    #[test]
    fn the_message_names_the_method_the_numbers_and_the_errno() {
        let error = after(4096, Some(10_000), ErrorKind::Io(Errno::PIPE));
        let want = "sendfile failed after 4096 of 10000 bytes: Broken pipe (EPIPE)";
        assert_eq!(error.to_string(), want);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::BrokenPipe);
        let error = after(5, Some(100), ErrorKind::Truncated { missing: 95 });
        assert_eq!(error.to_string(), "source ended after 5 of 100 bytes: 95 bytes are missing");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::UnexpectedEof);
        let write = Error { file_offset: Some(7), ..error };
        let message = "source ended at byte 7 of the file: 95 bytes are missing";
        assert_eq!(write.to_string(), message);
        let unsupported =
            ErrorKind::Unsupported { source: Kind::Socket, sink: Kind::Pipe, errno: None };
        let error = after(0, None, unsupported);
        assert_eq!(error.to_string(), "sendfile cannot move socket to pipe, after 0 bytes");
    }

    #[test]
    fn an_errno_without_a_name_keeps_its_number() {
        let named = NamedErrno(Errno::from_raw_os_error(57)).to_string();
        assert!(named.ends_with("(os error 57)"), "{named}");
    }
}
