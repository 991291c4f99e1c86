//! `TCP_CORK` around a large body.
//!
//! sendfile(2) hands TCP 16 pages at a time and pushes a partial segment at its end. Under a cork
//! segments are filled up, and the sender spends a quarter less CPU on 1 MiB. A segment that
//! stays partial waits up to 200 ms under a cork, so every way out of a body pulls it.
//!
//! Source: tcp(7), `TCP_CORK`.

use std::os::fd::BorrowedFd;

use rustix::net::sockopt::{set_tcp_cork, tcp_cork};

/// Whether a socket is corked, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cork {
    /// The engine has not corked it.
    #[default]
    Out,
    /// The engine has, and will uncork it.
    In,
    /// The user has corked it, or it is not TCP.
    NotOurs,
}

impl Cork {
    /// Corks the socket, unless its user did so before.
    pub(crate) fn insert(&mut self, socket: BorrowedFd<'_>) {
        if *self == Self::Out {
            // Unix sockets answer EOPNOTSUPP.
            let is_corked = tcp_cork(socket) == Ok(false) && set_tcp_cork(socket, true).is_ok();
            *self = if is_corked { Self::In } else { Self::NotOurs };
        }
    }

    /// Uncorks the socket if the engine has corked it: what is left of a segment goes out now.
    pub(crate) fn pull(&mut self, socket: BorrowedFd<'_>) {
        if std::mem::take(self) == Self::In {
            // Fails for a descriptor that is not a socket any more; then there is nothing to send.
            set_tcp_cork(socket, false).unwrap_or_default();
        }
    }
}
