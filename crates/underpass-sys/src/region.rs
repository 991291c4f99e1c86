//! A mapped range of a file, and what may be done with its bytes.
//!
//! Making a mapping is safe, and so is letting the kernel read from it. Only a Rust slice of it
//! relies on the bytes not changing, so making one is the `unsafe` step: [`RegionSlice::new`]. The
//! safe way, [`RegionSlice::by_kernel`], asks the kernel about that very region.
//!
//! Source: mmap(2), msync(2).

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{AtFlags, SealFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mm::Advice;

use crate::arena::{self, PAGE_LEN, Slot, Space};
use crate::last_errno;

const PAGE: u64 = PAGE_LEN as u64;

/// How a region's pages may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Loads only; needs a descriptor open for reading.
    Read,
    /// Loads and stores that reach the file; needs a descriptor open for both.
    ReadWrite,
}

/// In which order a region's pages are going to be touched: what the kernel reads ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In no order: a fault reads the pages around it that are cached, and from disk only its own.
    Random,
    /// From the start on: the kernel reads far ahead, and lets go of what was read.
    Sequential,
}

/// A mapped range of a file. Unmapped when the last reference goes.
pub struct Region {
    file: OwnedFd,
    file_offset: u64,
    /// Where byte `file_offset` is; the mapping itself starts at this page's start.
    address: usize,
    len: usize,
    access: Access,
    slot: Slot,
    broken_at: AtomicU64,
    note: Box<dyn Any + Send + Sync>,
}

/// No byte of the region has faulted.
const WHOLE: u64 = u64::MAX;

static LIVE: AtomicUsize = AtomicUsize::new(0);

impl Region {
    /// Maps `len` bytes of `file` from byte `file_offset` on, which need not be page-aligned.
    ///
    /// `note` is what the owner of the mapping wants to find with it. Bytes past the end of
    /// the file are mapped too, and fault when touched.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the arena has no slot of that size, the process may have no more mappings
    /// (`vm.max_map_count`) or no address space could be reserved; `EACCES`, `ENODEV` and
    /// `EOVERFLOW` from mmap(2).
    pub fn map(
        file: OwnedFd,
        file_offset: u64,
        len: usize,
        access: Access,
        note: Box<dyn Any + Send + Sync>,
    ) -> Result<Arc<Self>, Errno> {
        let space = Space::get()?;
        let into_page = usize::try_from(file_offset % PAGE).map_err(|_| Errno::OVERFLOW)?;
        let mapped = NonZeroUsize::new(len.max(1))
            .and_then(|len| len.checked_add(into_page))
            .ok_or(Errno::NOMEM)?;
        let page_offset =
            libc::off_t::try_from(file_offset - file_offset % PAGE).map_err(|_| Errno::OVERFLOW)?;
        let slot = space.take(mapped)?;
        let start = space.address(slot);
        let pages = ptr::with_exposed_provenance_mut(start);
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        let fd = file.as_raw_fd();
        // SAFETY: mmap(2), MAP_FIXED: replaces what is mapped at exactly this range, which is
        // the free slot just taken, reserved by this arena and referred to by nothing.
        let at = unsafe { libc::mmap(pages, mapped.get(), protection, flags, fd, page_offset) };
        if at == libc::MAP_FAILED {
            let errno = last_errno();
            space.give_back(slot);
            return Err(errno);
        }
        let address = start + into_page;
        let broken_at = AtomicU64::new(WHOLE);
        let region = Self { file, file_offset, address, len, access, slot, broken_at, note };
        let region = Arc::new(region);
        space.set_holder(slot, Arc::as_ptr(&region));
        LIVE.fetch_add(1, Ordering::Relaxed);
        Ok(region)
    }

    /// Regions mapped in this process now.
    #[must_use]
    pub fn live() -> usize {
        LIVE.load(Ordering::Relaxed)
    }

    /// The region that `bytes` is in, and the offset in its file of the first of them.
    ///
    /// Only the address and the length are used; no byte is read. An empty slice is in no region:
    /// it may have no owner, as that of `Bytes::slice(n..n)`, and its region may be gone.
    #[must_use]
    pub fn find(bytes: &[u8]) -> Option<(&Self, u64)> {
        if bytes.is_empty() {
            return None;
        }
        let region = Space::made()?.region_at(bytes.as_ptr().addr())?;
        // SAFETY: std::ptr "validity": the entry points to a live `Region`, since a slice of at
        // least one byte in its slot borrows, directly or not, from a `RegionSlice` that keeps it.
        let region = unsafe { region.as_ref() }?;
        let into = bytes.as_ptr().addr().checked_sub(region.address)?;
        let inside = bytes.len() <= region.len.checked_sub(into)?;
        inside.then(|| (region, region.file_offset + into as u64))
    }

    /// Whether the kernel guarantees that no byte of the mapped file can change.
    fn is_immutable(&self) -> bool {
        let sealed = SealFlags::WRITE | SealFlags::SHRINK;
        let is_sealed =
            rustix::fs::fcntl_get_seals(self.file()).is_ok_and(|seals| seals.contains(sealed));
        let is_verity = || {
            let (none, flags) = (StatxFlags::empty(), AtFlags::EMPTY_PATH);
            rustix::fs::statx(self.file(), c"", flags, none)
                .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::VERITY))
        };
        is_sealed || is_verity()
    }

    /// Another reference to the region.
    #[must_use]
    pub fn to_shared(&self) -> Arc<Self> {
        let this: *const Self = self;
        // SAFETY: Arc::increment_strong_count, "ptr must have been obtained through
        // Arc::into_raw": regions exist only inside the `Arc` that `map` returns.
        unsafe { Arc::increment_strong_count(this) };
        // SAFETY: Arc::from_raw: takes over the reference counted one line above.
        unsafe { Arc::from_raw(this) }
    }

    /// The file that is mapped.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Where in the file the region starts, in bytes.
    #[must_use]
    pub const fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// Where byte [`file_offset`](Self::file_offset) is.
    pub(crate) const fn address(&self) -> usize {
        self.address
    }

    /// Bytes in the region.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the region has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the owner of the mapping left with it.
    #[must_use]
    pub fn note(&self) -> &(dyn Any + Send + Sync) {
        &*self.note
    }

    /// The offset in the file of the first page found missing by a load or store, if any.
    ///
    /// From that page to the region's end, memory reads as zeros that are not in the file.
    #[must_use]
    pub fn broken_at(&self) -> Option<u64> {
        let at = self.broken_at.load(Ordering::Acquire);
        (at != WHOLE).then_some(at)
    }

    /// Copies bytes from `at`, counted from the region's start, into `into`.
    ///
    /// No reference to the mapped bytes is made, so a file that changes at the same time yields a
    /// mixture of old and new bytes and nothing worse. Returns how many were copied: fewer than
    /// asked for at the region's end. Look at [`broken_at`](Self::broken_at) afterwards.
    pub fn copy_out(&self, at: usize, into: &mut [u8]) -> usize {
        let n = into.len().min(self.len.saturating_sub(at));
        if n > 0 {
            let from = ptr::with_exposed_provenance::<u8>(self.address + at);
            // SAFETY: mmap(2): `n` bytes from `from` are mapped for reading while `self` lives;
            // `into` is the caller's own memory, which is never in the arena.
            unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), n) };
        }
        n
    }

    /// Copies `bytes` over the mapped ones from `at`, counted from the region's start.
    ///
    /// Returns how many were copied: fewer than given at the region's end, and none unless the
    /// region was mapped with [`Access::ReadWrite`].
    pub fn copy_in(&self, at: usize, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.len.saturating_sub(at));
        if n == 0 || self.access != Access::ReadWrite {
            return 0;
        }
        let to = ptr::with_exposed_provenance_mut::<u8>(self.address + at);
        // SAFETY: mmap(2), PROT_WRITE: `n` bytes from `to` are mapped for writing while `self`
        // lives; ptr::copy allows `bytes` itself to be in this or another region.
        unsafe { ptr::copy(bytes.as_ptr(), to, n) };
        n
    }

    /// Writes the stores made so far through to the file's storage: msync(2), `MS_SYNC`.
    ///
    /// # Errors
    ///
    /// `EIO` if a page could not be written.
    pub fn sync(&self) -> Result<(), Errno> {
        let start = self.address - self.address % PAGE_LEN;
        let len = self.address - start + self.len;
        let pages = ptr::with_exposed_provenance_mut(start);
        // SAFETY: msync(2): the range is mapped while `self` lives; nothing of it is changed.
        let answer = unsafe { libc::msync(pages, len, libc::MS_SYNC) };
        if answer < 0 { Err(last_errno()) } else { Ok(()) }
    }

    /// Tells the kernel in which order the pages are going to be touched: madvise(2).
    ///
    /// # Errors
    ///
    /// `EINVAL` from a kernel without advice for files.
    pub fn advise(&self, order: Order) -> Result<(), Errno> {
        let start = self.address - self.address % PAGE_LEN;
        let len = self.address - start + self.len;
        let pages = ptr::with_exposed_provenance_mut(start);
        let advice = match order {
            Order::Random => Advice::Random,
            Order::Sequential => Advice::Sequential,
        };
        // SAFETY: madvise(2): "does not influence the semantics of the application" for these two;
        // the range is mapped while `self` lives.
        unsafe { rustix::mm::madvise(pages, len, advice) }
    }

    /// For the guard: puts readable zeros from the page at `address` to the region's end.
    ///
    /// Async-signal-safe: one system call, one atomic store, no allocation, no lock.
    pub(crate) fn patch(&self, address: usize) -> bool {
        let page = address - address % PAGE_LEN;
        let end = (self.address + self.len.max(1)).next_multiple_of(PAGE_LEN);
        if page >= end {
            return false;
        }
        let zeros = ptr::with_exposed_provenance_mut(page);
        let protection = match self.access {
            Access::Read => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let in_file = self.file_offset.saturating_add(page.saturating_sub(self.address) as u64);
        // First: another thread that reads the zeros and asks afterwards must hear of them.
        self.broken_at.fetch_min(in_file, Ordering::AcqRel);
        // SAFETY: mmap(2), MAP_FIXED: replaces pages of this live region only; the access that
        // faulted there is retried on the zeros.
        let at = unsafe { libc::mmap(zeros, end - page, protection, flags, -1, 0) };
        at != libc::MAP_FAILED
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("file", &self.file)
            .field("file_offset", &self.file_offset)
            .field("len", &self.len)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let space = Space::made().expect("a region exists only in a space");
        space.set_holder(self.slot, ptr::null());
        let len = (self.address % PAGE_LEN + self.len.max(1)).next_multiple_of(PAGE_LEN);
        // Only a slot that is a reservation again may be used again; if the kernel has no room
        // for the change, the slot is given up with what is mapped there.
        if arena::reserve(Some(space.address(self.slot)), len).is_ok() {
            space.give_back(self.slot);
        }
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Part of a region as an owner of bytes, for `bytes::Bytes::from_owner` and its like.
#[derive(Debug, Clone)]
pub struct RegionSlice {
    region: Arc<Region>,
    range: Range<usize>,
}

impl RegionSlice {
    /// Bytes `range` of the region, counted from its start; cut at its end.
    ///
    /// # Safety
    ///
    /// One of these must hold for as long as the slice lives, and every copy of it, those made by
    /// [`RegionSlice::of`] included: no one writes to or truncates that part of the file; or no
    /// one reads the slice, and only its address and length are used.
    #[must_use]
    pub unsafe fn new(region: Arc<Region>, range: Range<usize>) -> Self {
        Self::cut(region, range)
    }

    /// The same, safely, if the kernel itself guarantees that the file behind this region cannot
    /// change: a memfd sealed against writing and shrinking (`F_GET_SEALS`, 3.17), or a file
    /// under fs-verity (`STATX_ATTR_VERITY`, 5.5). Neither can be undone. It covers bytes up to the
    /// file's end: a file that is not sealed against growing can still change what is behind that.
    ///
    /// A disk or swap device that fails is not covered, as it is not for a program's own code.
    ///
    /// # Errors
    ///
    /// The region, if the kernel does not guarantee that these bytes stay what they are.
    pub fn by_kernel(region: Arc<Region>, range: Range<usize>) -> Result<Self, Arc<Region>> {
        let slice = Self::cut(region, range);
        let is_immutable = slice.region.is_immutable() && slice.is_in_file();
        if is_immutable { Ok(slice) } else { Err(slice.region) }
    }

    /// An owner of the same bytes as `bytes`, if they are in a region. No copy is made. What was
    /// promised when the slice behind `bytes` was made holds for this one too.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (region, file_offset) = Region::find(bytes)?;
        let start = usize::try_from(file_offset - region.file_offset).ok()?;
        Some(Self { region: region.to_shared(), range: start..start + bytes.len() })
    }

    /// Whether the file has a byte for each of these.
    fn is_in_file(&self) -> bool {
        let end = self.region.file_offset.saturating_add(self.range.end as u64);
        rustix::fs::fstat(self.region.file())
            .is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|size| end <= size))
    }

    fn cut(region: Arc<Region>, range: Range<usize>) -> Self {
        let end = range.end.min(region.len);
        Self { range: range.start.min(end)..end, region }
    }
}

impl AsRef<[u8]> for RegionSlice {
    fn as_ref(&self) -> &[u8] {
        let start = ptr::with_exposed_provenance(self.region.address + self.range.start);
        // SAFETY: mmap(2): the range is mapped for reading while `region` lives, page past the
        // file's end included; the constructors' promise is that it stays the same or unread.
        unsafe { std::slice::from_raw_parts(start, self.range.len()) }
    }
}

#[cfg(test)]
mod tests;
