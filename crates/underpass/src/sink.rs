//! Where bytes go.

use std::os::fd::AsFd;

use crate::descriptor::Descriptor;
use crate::kind::Kind;
use crate::tls::Records;

/// A sink for the bytes of a [`Transfer`](crate::Transfer).
#[derive(Debug, Clone)]
pub struct Sink<'a> {
    pub(crate) end: Descriptor<'a>,
    pub(crate) outlet: Outlet,
}

/// A sink without its descriptor.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    pub(crate) kind: Kind,
    /// Where the next byte goes; of meaning for files alone.
    pub(crate) at: u64,
    /// Of a TLS connection whose records are made here.
    pub(crate) records: Option<Records>,
}

impl<'a> Sink<'a> {
    /// A socket, pipe or other descriptor that is written in order.
    ///
    /// A regular file is written at its descriptor's own offset, as standard output is when a
    /// shell redirects it. Costs one fstat(2).
    #[must_use]
    pub fn stream(stream: &'a impl AsFd) -> Self {
        Self::of(stream.as_fd().into(), Kind::of_stream(stream.as_fd()))
    }

    /// A stream that tokio watches: for [`Transfer::drive`](crate::Transfer::drive).
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn tokio(stream: &'a impl crate::Readiness) -> Self {
        let stream: &dyn crate::Readiness = stream;
        Self::of(stream.into(), stream.kind())
    }

    fn of(end: Descriptor<'a>, kind: Kind) -> Self {
        Self { end, outlet: Outlet { kind, at: 0, records: None } }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn over(end: Descriptor<'a>, records: &Records) -> Self {
        let (kind, records) = if records.is_in_kernel() {
            (Kind::Socket, None)
        } else {
            (Kind::Tls, Some(records.clone()))
        };
        Self { end, outlet: Outlet { kind, at: 0, records } }
    }

    /// A regular file, from byte `at` on. The descriptor's own offset is neither used nor moved.
    ///
    /// On a descriptor opened with `O_APPEND` every write goes to the end of the file whatever
    /// `at` says (pwrite(2), BUGS), by the methods that then remain.
    #[must_use]
    pub fn file(file: &'a impl AsFd, at: u64) -> Self {
        Self { end: file.as_fd().into(), outlet: Outlet { kind: Kind::File, at, records: None } }
    }
}
