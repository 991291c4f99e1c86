//! What [`Stream`](crate::Stream) and [`BlockingStream`](crate::BlockingStream) have in common: a
//! socket, the policy for its file-backed slices, and its cork.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use underpass_sys::region::Region;

use crate::cork::Cork;
use crate::limits::{COPY_MAX_BYTES, CORK_MIN_BYTES};
use crate::method::Method;
use crate::outgoing::{self, Attempt, Gate};
use crate::policy::Policy;
use crate::sent::Sent;

/// A socket that is written to. Uncorked when it is dropped or given back.
#[derive(Debug)]
pub(crate) struct Sender<S: AsFd> {
    /// `None` once it was given back.
    socket: Option<S>,
    pub(crate) writes: Writes,
}

/// How the writes to a socket are made.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) policy: Policy,
    /// The address of the rest of a piece of which a part went by reference: the rest goes by
    /// reference too, however little of it is left.
    rest_at: usize,
    cork: Cork,
    /// What they did since someone asked last.
    pub(crate) sent: Sent,
}

impl<S: AsFd> Sender<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket: Some(socket), writes: Writes::default() }
    }

    pub(crate) fn socket(&self) -> &S {
        self.socket.as_ref().expect("a sender without its socket is gone")
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn socket_mut(&mut self) -> &mut S {
        self.socket.as_mut().expect("a sender without its socket is gone")
    }

    pub(crate) fn split(&mut self) -> (&S, &mut Writes) {
        (self.socket.as_ref().expect("a sender without its socket is gone"), &mut self.writes)
    }

    /// Sends what a cork holds back.
    pub(crate) fn uncork(&mut self) {
        if let Some(socket) = &self.socket {
            self.writes.cork.pull(socket.as_fd());
        }
    }

    pub(crate) fn into_inner(mut self) -> S {
        self.uncork();
        self.socket.take().expect("a sender without its socket is gone")
    }
}

impl<S: AsFd> Drop for Sender<S> {
    fn drop(&mut self) {
        self.uncork();
    }
}

impl Writes {
    /// Makes one attempt to write `slices`.
    ///
    /// A large file-backed slice is corked from here on, until all of `slices` has been taken.
    ///
    /// # Errors
    ///
    /// See [`outgoing::attempt`].
    pub(crate) fn attempt(
        &mut self,
        socket: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
        gate: &Gate,
    ) -> io::Result<Attempt> {
        if slices.iter().any(|slice| is_large_file(slice)) {
            self.cork.insert(socket);
        }
        let policy = self.policy_of(slices);
        let answer = outgoing::attempt(socket, slices, policy, gate);
        match &answer {
            Ok(Attempt::Wrote(wrote)) => {
                self.sent.note(wrote);
                self.note(policy, slices, wrote.bytes);
                if wrote.bytes == slices.iter().map(|slice| slice.len()).sum::<usize>() {
                    self.cork.pull(socket);
                }
            }
            Ok(Attempt::Cold(_)) => {}
            Err(error) if will_pass(error) => {}
            Err(_) => self.cork.pull(socket),
        }
        answer
    }

    fn policy_of(&self, slices: &[IoSlice<'_>]) -> Policy {
        let is_rest = slices.first().is_some_and(|slice| slice.as_ptr().addr() == self.rest_at);
        let is_referred = is_rest && self.policy == Policy::Auto;
        if is_referred { Policy::Prefer(Method::Sendfile) } else { self.policy }
    }

    fn note(&mut self, policy: Policy, slices: &[IoSlice<'_>], mut written: usize) {
        self.rest_at = 0;
        for slice in slices {
            if written < slice.len() {
                let is_referred =
                    slice.len() > COPY_MAX_BYTES || policy == Policy::Prefer(Method::Sendfile);
                if written > 0 && is_referred {
                    self.rest_at = slice.as_ptr().addr() + written;
                }
                return;
            }
            written -= slice.len();
        }
    }
}

/// Whether a slice is file-backed and worth a cork.
fn is_large_file(slice: &[u8]) -> bool {
    slice.len() as u64 >= CORK_MIN_BYTES && Region::find(slice).is_some()
}

/// Whether the same write is made again.
fn will_pass(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
