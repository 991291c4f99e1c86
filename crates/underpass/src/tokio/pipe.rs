//! Filling and draining a pooled pipe by streams that tokio watches.
//!
//! Source: splice(2).

use rustix::io::Errno;

use crate::ledger::Side;
use crate::method::Method;
use crate::methods::splice::{End, splice, unless_urgent};
use crate::pipe::{CAPACITY, Pipe};
use crate::progress::is_refusal;
use crate::tokio::readiness::{Readiness, attempt};

impl Pipe {
    /// Takes what a stream has now into the pipe, which is empty. Returns how many bytes; 0 at
    /// the end of the stream.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the stream has nothing now, and those of splice(2). `EINVAL`, as where splice(2)
    /// is not possible, in front of an urgent byte of TCP: a read steps over it.
    pub fn try_fill(&mut self, from: &dyn Readiness) -> Result<u64, Errno> {
        let n = attempt(from, Side::Source, |fd| {
            let into = End(self.write_end(), None);
            unless_urgent(fd, splice(End(fd, None), into, CAPACITY as u64, false))
        })?;
        self.held += n;
        Ok(n)
    }

    /// Gives a stream what it takes now, at most `max` bytes. Returns how many.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the stream has no room now, and those of splice(2).
    pub fn try_drain(&mut self, to: &dyn Readiness, max: u64) -> Result<u64, Errno> {
        let n = attempt(to, Side::Sink, |fd| {
            splice(End(self.read_end(), None), End(fd, None), self.held.min(max), false)
        })?;
        self.held -= n;
        Ok(n)
    }

    /// Whether an error of [`Self::try_fill`] or [`Self::try_drain`] says that splice(2) is not
    /// possible here, so that bytes have to be copied.
    #[must_use]
    pub fn is_refusal(errno: Errno) -> bool {
        is_refusal(Method::Splice, errno, false)
    }

    /// Takes out what it holds, for a sink that does not take it by splice(2).
    pub(super) fn empty(&mut self) -> Result<Box<[u8]>, Errno> {
        let mut bytes = vec![0; crate::methods::count(self.held)].into_boxed_slice();
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            let n = rustix::io::read(self.read_end(), &mut *rest)?;
            if n == 0 {
                return Err(Errno::IO);
            }
            rest = &mut rest[n..];
        }
        self.held = 0;
        Ok(bytes)
    }
}
