//! The engine's use of a ring: zero-copy sends and splices, and lingering for notifications.
//!
//! A ring is made for the transfer that needs one. Without the feature `uring` there is
//! none, and the methods are refused as they are where the kernel forbids io_uring.

#[cfg(not(feature = "uring"))]
pub(crate) use absent::Ring;
#[cfg(feature = "uring")]
pub(crate) use present::Ring;

#[cfg(feature = "uring")]
mod present {
    use std::ops::Range;
    use std::os::fd::BorrowedFd;
    use std::sync::Arc;

    use bytes::Bytes;
    use rustix::io::Errno;
    use underpass_sys::map::Map;
    use underpass_sys::uring::{self, Memory};

    use crate::methods::splice::End;
    use crate::zero_copy::{COPIED_MAX, Place, Reaped, linger};

    #[derive(Debug)]
    pub(crate) struct Ring {
        ring: uring::Ring,
        copied_in_a_row: u32,
        _place: Place,
    }

    impl Ring {
        /// # Errors
        ///
        /// `ENOBUFS` if too many transfers hold memory for the kernel; those of making a ring.
        pub(crate) fn open() -> Result<Self, Errno> {
            let place = Place::take()?;
            Ok(Self { ring: uring::Ring::new()?, copied_in_a_row: 0, _place: place })
        }

        /// Whether the kernel has copied too often for another attempt.
        pub(crate) fn is_futile(&self) -> bool {
            self.copied_in_a_row >= COPIED_MAX
        }

        pub(crate) fn send_memory(
            &mut self,
            memory: Bytes,
            sink: BorrowedFd<'_>,
            more: bool,
        ) -> Result<u64, Errno> {
            self.ring.send_zc(sink, Memory::Bytes(memory), more)
        }

        pub(crate) fn send_map(
            &mut self,
            (map, part): (&Arc<Map>, Range<usize>),
            sink: BorrowedFd<'_>,
            more: bool,
        ) -> Result<u64, Errno> {
            self.ring.send_zc(sink, Memory::Map(Arc::clone(map), part), more)
        }

        pub(crate) fn splice(
            &mut self,
            End(from, from_at): End<'_>,
            End(to, to_at): End<'_>,
            max: u64,
            more: bool,
        ) -> Result<u64, Errno> {
            let len = u32::try_from(max).unwrap_or(u32::MAX);
            self.ring.splice((from, from_at), (to, to_at), len, more)
        }

        /// Books notifications that are there.
        pub(crate) fn reap(&mut self) -> Reaped {
            let mut total = Reaped::default();
            while let Some(released) = self.ring.released() {
                total.done += released.bytes;
                total.copied += if released.copied { released.bytes } else { 0 };
                self.copied_in_a_row =
                    if released.copied { self.copied_in_a_row.saturating_add(1) } else { 0 };
            }
            total
        }

        /// Lets go, leaving to a thread what the kernel still reads.
        pub(crate) fn close(mut self) {
            self.reap();
            if self.ring.holds_memory() {
                linger(self, |mut this| {
                    while this.ring.holds_memory() {
                        match this.ring.wait() {
                            Ok(()) | Err(Errno::INTR) => drop(this.reap()),
                            // A broken ring keeps its memory for ever.
                            Err(_) => return,
                        }
                    }
                });
            }
        }
    }
}

#[cfg(not(feature = "uring"))]
mod absent {
    use std::ops::Range;
    use std::os::fd::BorrowedFd;
    use std::sync::Arc;

    use bytes::Bytes;
    use rustix::io::Errno;
    use underpass_sys::map::Map;

    use crate::methods::splice::End;
    use crate::zero_copy::Reaped;

    /// No value of it exists.
    #[derive(Debug)]
    pub(crate) enum Ring {}

    impl Ring {
        pub(crate) fn open() -> Result<Self, Errno> {
            Err(Errno::NOSYS)
        }

        pub(crate) fn is_futile(&self) -> bool {
            match *self {}
        }

        pub(crate) fn send_memory(
            &mut self,
            _: Bytes,
            _: BorrowedFd<'_>,
            _: bool,
        ) -> Result<u64, Errno> {
            match *self {}
        }

        pub(crate) fn send_map(
            &mut self,
            _: (&Arc<Map>, Range<usize>),
            _: BorrowedFd<'_>,
            _: bool,
        ) -> Result<u64, Errno> {
            match *self {}
        }

        pub(crate) fn splice(
            &mut self,
            _: End<'_>,
            _: End<'_>,
            _: u64,
            _: bool,
        ) -> Result<u64, Errno> {
            match *self {}
        }

        pub(crate) fn reap(&mut self) -> Reaped {
            match *self {}
        }

        pub(crate) fn close(self) {
            match self {}
        }
    }
}
