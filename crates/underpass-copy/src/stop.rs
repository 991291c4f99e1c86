//! Why bytes stopped moving before their end.
//!
//! The error of a call is made where the call is, without asking whether a signal came: after one
//! the session names the signal, whatever failed.

use std::{fmt, io};

use rustix::io::Errno;
use underpass::{Error, ErrorKind, Method};

/// Why a transfer stopped before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The engine failed.
    Engine(Error),
    /// SIGHUP, SIGINT or SIGTERM.
    Signal(i32),
    /// A call outside the engine failed: what it was for, and its error.
    Call(&'static str, io::Error),
}

impl Stop {
    pub(crate) fn call(what: &'static str, error: impl Into<io::Error>) -> Self {
        Self::Call(what, error.into())
    }

    /// The same, for `map_err`.
    pub(crate) fn when<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Self + Copy {
        move |error| Self::call(what, error)
    }

    /// The sink refused bytes that were in memory.
    pub(crate) fn writing(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => Self::Engine(Error::new(Method::Copy, ErrorKind::Io(errno))),
            None => Self::Call("writing to the sink", error),
        }
    }

    /// A source that ended early.
    pub(crate) fn short(moved: u64, wanted: u64) -> Self {
        let mut error = Error::new(Method::Copy, ErrorKind::Truncated { missing: wanted - moved });
        (error.moved, error.wanted) = (moved, Some(wanted));
        Self::Engine(error)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Call(doing, error) => write!(f, "{doing}: {error}"),
        }
    }
}
