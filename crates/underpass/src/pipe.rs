//! The pipes that splice(2) needs between two ends of which neither is one, and their pool.
//!
//! A pipe that still holds bytes is never handed on: they would reach somebody else's peer. A
//! pipe's capacity counts buffers, not bytes, so what it holds may exceed what F_GETPIPE_SZ says.
//!
//! Source: pipe(7), "Pipe capacity"; fcntl(2), `F_SETPIPE_SZ`.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use underpass_sys::tls::PIPE_BYTES_MIN;

/// Pipes kept for the next transfer, each with the ring of 256 buffers that it was sized to.
const POOL_MAX: usize = 16;

/// 1 MiB, the largest size an unprivileged process may ask for by default.
const CAPACITY: usize = 1 << 20;

static POOL: Mutex<Vec<Pipe>> = Mutex::new(Vec::new());

/// A pipe of ours, non-blocking at both ends.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
    /// Whether it is as large as was asked for.
    is_full_size: bool,
}

impl Pipe {
    /// An empty pipe, from the pool or new; 1 MiB large where the user's limit allows.
    pub(crate) fn take() -> Result<Self, Errno> {
        if let Some(pipe) = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(pipe);
        }
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        match rustix::pipe::fcntl_setpipe_size(&write, CAPACITY) {
            // pipe(7): beyond pipe-user-pages-soft only small pipes are to be had; they serve.
            Err(errno) if ![Errno::PERM, Errno::BUSY, Errno::NOMEM].contains(&errno) => Err(errno),
            sized => Ok(Self { read, write, is_full_size: sized.is_ok() }),
        }
    }

    /// As [`Self::take`], with room for any TLS record.
    ///
    /// # Errors
    ///
    /// `EPERM` where the user's limit leaves only smaller ones.
    pub(crate) fn take_for_records() -> Result<Self, Errno> {
        let pipe = Self::take()?;
        if rustix::pipe::fcntl_getpipe_size(&pipe.write)? < PIPE_BYTES_MIN {
            pipe.give_back();
            return Err(Errno::PERM);
        }
        Ok(pipe)
    }

    /// Puts the pipe back for others. The caller knows that it is empty.
    ///
    /// A small one is closed: the limit that made it so may have passed.
    pub(crate) fn give_back(self) {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_full_size && pool.len() < POOL_MAX {
            pool.push(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_came_out_small_is_no_one_s_next() {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        Pipe { read, write, is_full_size: false }.give_back();
        assert!(POOL.lock().unwrap().iter().all(|pipe| pipe.is_full_size));
    }
}
