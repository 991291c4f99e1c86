//! All unsafe code of the engine, under its one exception: a promise that callers make, and a
//! promise that this crate makes.

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes};
use underpass_sys::region::RegionSlice;

use crate::file_bytes::FileBytes;
use crate::frames::Frames;
use crate::rope::Rope;

impl FileBytes {
    /// The piece as [`Bytes`], for hyper, axum, tonic and everything else that takes them.
    ///
    /// Written to a [`Stream`](crate::Stream) they leave by reference, unread. Read, they are the
    /// memory of a mapping.
    ///
    /// A `Bytes` cannot fail. If the file is truncated, or its disk fails, a reader gets zeros
    /// that are not in the file, and learns of it only by asking [`FileBytes::check`] afterwards.
    /// Where something on the way has to read the bytes, use [`Frames`] as the body, and a
    /// [`CopyStream`](crate::CopyStream) under TLS in user space.
    ///
    /// # Safety
    ///
    /// One of these must hold for as long as the `Bytes` lives, and every clone and slice of it,
    /// and every piece of a [`Rope`] that they were written to:
    ///
    /// - no one writes to that part of the file or truncates it: no process, with or without a
    ///   mapping;
    /// - or no one reads the bytes, and only their address and length are used. [`Stream`] and
    ///   [`BlockingStream`](crate::BlockingStream) do no more than that, nor does hyper's HTTP/1
    ///   between a body and a stream. Readers are: compression (gzip, brotli, zstd), hashing and
    ///   checksums, TLS in user space (rustls, OpenSSL), HTTP/2, which copies the start of a frame,
    ///   encoders that copy fields, comparisons, and `Debug`.
    ///
    /// [`Stream`]: crate::Stream
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use underpass::{FileBytes, Stability};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = std::fs::File::open("large.bin")?;
    /// let mapped = FileBytes::map(file, .., Stability::Guard)?;
    /// // The file belongs to this program, which never writes to it.
    /// let body = unsafe { mapped.into_bytes() };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Safe code cannot make that promise:
    ///
    /// ```compile_fail,E0133
    /// # use underpass::{FileBytes, Stability};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = std::fs::File::open("large.bin")?;
    /// let mapped = FileBytes::map(file, .., Stability::Guard)?;
    /// let body = mapped.into_bytes();
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub unsafe fn into_bytes(self) -> Bytes {
        let (region, range) = self.into_parts();
        // SAFETY: `RegionSlice::new`: the caller promises the same of this function.
        Bytes::from_owner(unsafe { RegionSlice::new(region, range) })
    }

    /// The piece as an iterator of references of up to 2 MiB each, between which the file is
    /// checked: for bodies that something may read on their way out. With [`Stability::Copy`] the
    /// pieces are copies, as of [`into_copied_frames`](Self::into_copied_frames), which is safe.
    ///
    /// [`Stability::Copy`]: crate::Stability::Copy
    ///
    /// # Safety
    ///
    /// As for [`into_bytes`](Self::into_bytes), of each piece. If the file is truncated while a
    /// piece is read, the reader gets zeros, and then an error instead of the next piece or the
    /// end.
    #[must_use]
    pub unsafe fn into_frames(self) -> Frames {
        let file = self.clone();
        // SAFETY: `FileBytes::into_bytes`: the caller promises the same of this function.
        Frames::of_mapped(file, unsafe { self.into_bytes() })
    }
}

// SAFETY: `BufMut`, "implementations of this trait must uphold": `chunk_mut` and `advance_mut`
// are those of the `BytesMut` at the rope's end, which upholds it.
unsafe impl BufMut for Rope {
    fn remaining_mut(&self) -> usize {
        usize::MAX - self.len()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: `BufMut::advance_mut`: the caller promises that the next `count` bytes of
        // `chunk_mut` are written.
        unsafe { self.tail_mut().advance_mut(count) };
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.tail_mut().chunk_mut()
    }

    fn put<T: Buf>(&mut self, source: T)
    where
        Self: Sized,
    {
        self.refer_or_copy_all(source);
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        self.refer_or_copy(bytes);
    }
}
