//! Pipes for splice(2), lent to a connection only while it has bytes under way.
//!
//! A pipe that still holds bytes is never handed on: they would reach somebody else's peer. What
//! a pipe holds is counted in bytes here, its capacity by the kernel in buffers, so neither says
//! how much more goes in.
//!
//! Source: pipe(7), "Pipe capacity" (`pipe-user-pages-soft`); fcntl(2), `F_SETPIPE_SZ`.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Once;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size};

use crate::tally::{Got, Tally};

/// What is asked for first: the most an unprivileged process may have by default.
pub(crate) const CAPACITY: usize = 1 << 20;

/// A smaller pipe than this costs more calls than a copy costs.
const CAPACITY_MIN: usize = 64 << 10;

/// Empty pipes kept; each has a ring of 256 buffers, 10 KiB.
const IDLE_MAX: usize = 32;

/// How often bytes are copied without asking, once the kernel has refused a pipe of use: what
/// the user's other processes hold, they may give up.
const PAUSE: u32 = 1024;

/// Said once for all workers: it is the user that has a limit.
static TOLD: Once = Once::new();

/// A pipe, non-blocking at both ends.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
    /// Bytes in it.
    pub(crate) held: usize,
    open: Rc<Cell<usize>>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

/// The pipes of one worker.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<Vec<Pipe>>,
    /// Pipes there are, lent ones included.
    open: Rc<Cell<usize>>,
    open_max: usize,
    /// How often to do without, since the kernel refused one.
    pause: Cell<u32>,
    tally: Tally,
}

impl Pool {
    /// A pool that has at most `open_max` pipes, lent ones included.
    pub(crate) fn new(open_max: usize, tally: Tally) -> Self {
        let (idle, open) = Default::default();
        Self { idle, open, open_max, pause: Cell::new(0), tally }
    }

    /// An empty pipe; `None` if there is none of use to be had, and bytes have to be copied.
    pub(crate) fn take(&self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.borrow_mut().pop() {
            return Some(pipe);
        }
        if self.open.get() >= self.open_max {
            return None;
        }
        let pause = self.pause.get();
        if pause > 0 {
            self.pause.set(pause - 1);
            return None;
        }
        match self.make() {
            Ok(pipe) => Some(pipe),
            Err(errno) => {
                self.tally.add_pipe(Got::Refused);
                tell(0, errno);
                self.pause.set(PAUSE);
                None
            }
        }
    }

    fn make(&self) -> Result<Pipe, Errno> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let mut wanted = CAPACITY;
        while wanted >= CAPACITY_MIN && fcntl_setpipe_size(&write, wanted).is_err() {
            wanted /= 2;
        }
        let capacity = fcntl_getpipe_size(&write)?;
        if capacity < CAPACITY_MIN {
            return Err(Errno::PERM);
        }
        let got = if capacity < CAPACITY { Got::Small } else { Got::Full };
        self.tally.add_pipe(got);
        if got == Got::Small {
            tell(capacity, Errno::PERM);
        }
        self.open.set(self.open.get() + 1);
        Ok(Pipe { read, write, held: 0, open: Rc::clone(&self.open) })
    }

    /// Takes a pipe back: to lend it again if it is empty, to close it otherwise.
    pub(crate) fn give_back(&self, pipe: Pipe) {
        let mut idle = self.idle.borrow_mut();
        if pipe.held == 0 && idle.len() < IDLE_MAX {
            idle.push(pipe);
        }
    }
}

/// Warns, the first time, that pipes are smaller than asked for, or are none.
fn tell(capacity: usize, errno: Errno) {
    let remedy = match errno {
        Errno::MFILE => "raise the limit on open files",
        Errno::NFILE => "raise fs.file-max or fs.pipe-user-pages-hard",
        _ => "raise fs.pipe-user-pages-soft, or give CAP_SYS_RESOURCE",
    };
    let (wanted, got, error) = (CAPACITY >> 10, capacity >> 10, io::Error::from(errno));
    TOLD.call_once(|| {
        tracing::warn!(
            "pipes of {wanted} KiB come out with {got} KiB ({error}): bytes are copied where there \
             is none of use; {remedy}"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pipe_is_lent_again_and_a_dirty_one_is_closed() {
        let pool = Pool::new(2, Tally::default());
        let mut dirty = pool.take().unwrap();
        dirty.held = rustix::io::write(&dirty.write, b"secret").unwrap();
        pool.give_back(dirty);
        assert_eq!(pool.open.get(), 0);
        let clean = pool.take().unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(&clean.read, &mut byte), Err(Errno::AGAIN));
        pool.give_back(clean);
        assert_eq!((pool.open.get(), pool.idle.borrow().len()), (1, 1));
    }

    #[test]
    fn no_more_pipes_are_made_than_allowed() {
        let pool = Pool::new(2, Tally::default());
        let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        drop(second);
        assert!(pool.take().is_some());
        drop(first);
    }
}
