//! The pipes that splice(2) needs between two ends neither of which is one: one pool for all.
//!
//! Idle pipes stay with the thread that used them last: taking one needs no lock, and only making
//! and closing a pipe touches the count that the process shares. A pipe that still holds
//! bytes is never pooled: they would reach another peer. A pipe's capacity counts buffers, not
//! bytes, so what it holds may exceed what `F_GETPIPE_SZ` says.
//!
//! Source: pipe(7), "Pipe capacity" (`pipe-user-pages-soft`); fcntl(2), `F_SETPIPE_SZ`.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use crate::error::Error;
use crate::ledger::Ledger;
use crate::sink::Sink;
use crate::source::Source;

/// What is asked for first: the most that an unprivileged process may have by default.
pub(crate) const CAPACITY: usize = 1 << 20;

/// A smaller pipe costs more calls than a copy costs.
const CAPACITY_MIN: usize = 64 << 10;

/// Idle pipes of a thread; each has a ring of 256 buffers, 10 KiB.
const IDLE_MAX: usize = 32;

/// Pipes of the process at a time, see [`Pipe::set_limit`].
const OPEN_MAX: usize = 1024;

/// How many pipes a thread does without after a refusal: what the user's other processes hold,
/// they may give up.
const PAUSE: u32 = 1024;

static OPEN: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(OPEN_MAX);
static MADE: [AtomicU64; PipeSize::ALL.len()] = [const { AtomicU64::new(0) }; _];
static SHORTAGE: OnceLock<Shortage> = OnceLock::new();

thread_local! {
    static IDLE: RefCell<Vec<Arc<Ends>>> = const { RefCell::new(Vec::new()) };
    static PAUSED: Cell<u32> = const { Cell::new(0) };
}

/// What the kernel gave when it was asked for a pipe of 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PipeSize {
    /// One as large as was asked for.
    Full,
    /// A smaller one.
    Small,
    /// No pipe, or one of less than 64 KiB.
    Refused,
}

impl PipeSize {
    /// Every answer, in the order of the enum.
    pub const ALL: &'static [Self] = &[Self::Full, Self::Small, Self::Refused];

    /// The word for it in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Small => "small",
            Self::Refused => "refused",
        }
    }

    /// How many times the kernel has given this answer to this process.
    #[must_use]
    pub fn count(self) -> u64 {
        MADE[self as usize].load(Relaxed)
    }
}

/// The first time that the kernel did not give what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shortage {
    /// Bytes that were asked for.
    pub wanted: usize,
    /// Bytes that the pipe has; 0 where there is no pipe.
    pub got: usize,
    /// What the kernel answered.
    pub errno: Errno,
}

/// An empty pipe from the pool, non-blocking at both ends; dropping it gives it back.
///
/// [`Flow`](crate::Flow) and [`Transfer`](crate::Transfer) take theirs by themselves. This one is
/// for programs that do more with the bytes on their way, such as keeping a copy by tee(2).
///
/// A pipe that is dropped with bytes in it is closed, and they are lost.
#[derive(Debug)]
pub struct Pipe {
    ends: Arc<Ends>,
    /// Bytes in it.
    pub(crate) held: u64,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl Drop for Ends {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Relaxed);
    }
}

impl Pipe {
    /// A pipe of at least 64 KiB, or `None`: then bytes have to be copied.
    ///
    /// After the kernel has refused one, the calling thread does not ask it again for a while.
    #[must_use]
    pub fn take() -> Option<Self> {
        if let Some(ends) = IDLE.with_borrow_mut(Vec::pop) {
            return Some(Self { ends, held: 0 });
        }
        let paused = PAUSED.get();
        if paused > 0 {
            PAUSED.set(paused - 1);
            return None;
        }
        if OPEN.load(Relaxed) >= LIMIT.load(Relaxed) {
            return None;
        }
        let made = Self::make().ok().filter(|pipe| pipe.size() != PipeSize::Refused);
        if made.is_none() {
            PAUSED.set(PAUSE);
        }
        made
    }

    /// A pipe for one long transfer, of 1 MiB where the kernel gives one now, of any size
    /// otherwise.
    pub(crate) fn take_largest() -> Result<Self, Errno> {
        match IDLE.with_borrow_mut(|idle| idle.pop_if(|ends| ends.capacity >= CAPACITY)) {
            Some(ends) => Ok(Self { ends, held: 0 }),
            None if OPEN.load(Relaxed) < LIMIT.load(Relaxed) => Self::make(),
            None => Err(Errno::MFILE),
        }
    }

    /// As [`Self::take_largest`], with room for any TLS record.
    ///
    /// # Errors
    ///
    /// `EPERM` where the user's limit leaves only smaller ones.
    pub(crate) fn take_for_records() -> Result<Self, Errno> {
        const { assert!(CAPACITY_MIN >= underpass_sys::tls::PIPE_BYTES_MIN) };
        let pipe = Self::take_largest()?;
        if pipe.size() == PipeSize::Refused { Err(Errno::PERM) } else { Ok(pipe) }
    }

    fn make() -> Result<Self, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
            .inspect_err(|&errno| note(PipeSize::Refused, 0, errno))?;
        OPEN.fetch_add(1, Relaxed);
        let mut wanted = CAPACITY;
        // pipe(7): beyond pipe-user-pages-soft the kernel makes small pipes and grows none.
        while wanted >= CAPACITY_MIN && fcntl_setpipe_size(&write, wanted).is_err() {
            wanted /= 2;
        }
        let capacity = fcntl_getpipe_size(&write).unwrap_or_default();
        let pipe = Self { ends: Arc::new(Ends { read, write, capacity }), held: 0 };
        note(pipe.size(), capacity, Errno::PERM);
        Ok(pipe)
    }

    fn size(&self) -> PipeSize {
        match self.ends.capacity {
            CAPACITY.. => PipeSize::Full,
            CAPACITY_MIN.. => PipeSize::Small,
            _ => PipeSize::Refused,
        }
    }

    /// Limits the pipes that this process has open at a time, idle ones included; 1024 otherwise.
    /// Past the limit bytes are copied.
    pub fn set_limit(pipes: usize) {
        LIMIT.store(pipes, Relaxed);
    }

    /// The first time that this process got no pipe of full size, if it ever did.
    #[must_use]
    pub fn shortage() -> Option<Shortage> {
        SHORTAGE.get().copied()
    }

    /// Bytes in it.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held
    }

    pub(crate) fn read_end(&self) -> BorrowedFd<'_> {
        self.ends.read.as_fd()
    }

    pub(crate) fn write_end(&self) -> BorrowedFd<'_> {
        self.ends.write.as_fd()
    }

    /// Copies what it holds into an empty pipe, by tee(2): no byte is copied, and none is taken.
    ///
    /// Returns how many bytes `copy` has now; fewer than [`held`](Self::held) if it is smaller.
    ///
    /// # Errors
    ///
    /// Those of tee(2).
    pub fn tee(&self, copy: &mut Self) -> Result<u64, Errno> {
        let (len, flags) = (crate::methods::count(self.held), rustix::pipe::SpliceFlags::NONBLOCK);
        let n = rustix::pipe::tee(self.read_end(), copy.write_end(), len, flags)? as u64;
        copy.held += n;
        Ok(n)
    }

    /// Moves everything it holds to a sink, waiting for peers and disks.
    ///
    /// # Errors
    ///
    /// Those of [`Transfer::step`](crate::Transfer::step).
    pub fn empty_into(&mut self, sink: Sink<'_>) -> Result<Ledger, Error> {
        let moved = crate::transfer(Source::stream(&self.ends.read).take(self.held), sink);
        let left = moved.as_ref().err().map_or(0, |error| self.held - error.moved);
        self.held = left;
        moved
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if self.held > 0 || self.size() == PipeSize::Refused {
            return;
        }
        // A thread that is ending has no pool any more; the pipe is then closed.
        let pooled = IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if idle.len() < IDLE_MAX {
                idle.push(Arc::clone(&self.ends));
            }
        });
        pooled.unwrap_or_default();
    }
}

fn note(size: PipeSize, got: usize, errno: Errno) {
    MADE[size as usize].fetch_add(1, Relaxed);
    if size != PipeSize::Full {
        SHORTAGE.get_or_init(|| Shortage { wanted: CAPACITY, got, errno });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> usize {
        IDLE.with_borrow(Vec::len)
    }

    #[test]
    fn an_empty_pipe_is_lent_again_and_a_dirty_one_is_closed() {
        let mut dirty = Pipe::take().unwrap();
        dirty.held = rustix::io::write(dirty.write_end(), b"secret").unwrap() as u64;
        drop(dirty);
        assert_eq!(idle(), 0);
        let clean = Pipe::take().unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(clean.read_end(), &mut byte), Err(Errno::AGAIN));
        let fd = std::os::fd::AsRawFd::as_raw_fd(&clean.read_end());
        drop(clean);
        assert_eq!(idle(), 1);
        let again = Pipe::take().unwrap();
        assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&again.read_end()), fd);
    }

    #[test]
    fn a_pipe_of_less_than_64_kib_is_no_one_s_next() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        OPEN.fetch_add(1, Relaxed);
        drop(Pipe { ends: Arc::new(Ends { read, write, capacity: 4096 }), held: 0 });
        assert_eq!(idle(), 0);
    }

    #[test]
    fn a_small_pipe_serves_flows_and_is_not_a_transfer_s() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        OPEN.fetch_add(1, Relaxed);
        drop(Pipe { ends: Arc::new(Ends { read, write, capacity: CAPACITY_MIN }), held: 0 });
        assert_eq!(idle(), 1);
        assert!(Pipe::take_largest().unwrap().ends.capacity != CAPACITY_MIN);
        assert_eq!(Pipe::take().unwrap().ends.capacity, CAPACITY);
    }

    #[test]
    fn a_copy_by_tee_leaves_the_bytes_where_they_are() {
        let (mut pipe, mut copy) = (Pipe::take().unwrap(), Pipe::take().unwrap());
        pipe.held = rustix::io::write(pipe.write_end(), b"bytes").unwrap() as u64;
        assert_eq!((pipe.tee(&mut copy), copy.held(), pipe.held()), (Ok(5), 5, 5));
        let file = tempfile::tempfile().unwrap();
        for from in [&mut pipe, &mut copy] {
            from.empty_into(Sink::file(&file, file.metadata().unwrap().len())).unwrap();
            assert_eq!(from.held(), 0);
        }
        let mut got = [0; 10];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut got, 0).unwrap();
        assert_eq!(&got, b"bytesbytes");
    }
}
