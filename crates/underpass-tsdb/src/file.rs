//! A file of a block, read through a map or by pread(2).
//!
//! Nothing keeps a foreign hand from writing into a file of a block while it is read, and a Rust
//! slice of a map relies on that not happening. So no slice of a map is made: the bytes asked for
//! are copied into a [`Window`], and what a checksum was computed of is what is decoded, bit for
//! bit. A window that reads ahead is small enough to stay in the processor's cache.
//!
//! Source: mmap(2), pread(2), posix_fadvise(2).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, OFlags};
use rustix::io::Errno;
use underpass::{FileBytes, Order, Stability};

use crate::damage::{Damage, Fault, Section};

/// How the bytes of a file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// Through a map of the whole file: a page that is touched is brought in by the kernel.
    #[default]
    Map,
    /// By pread(2), a system call for each window.
    Pread,
}

/// In which order a file is going to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Here and there: the kernel reads no more than what is asked for.
    Random,
    /// From one end to the other: the kernel reads ahead.
    Sequential,
}

/// A file of a block, open for reading.
#[derive(Debug)]
pub struct BlockFile {
    path: Arc<Path>,
    len: u64,
    bytes: Bytes,
    id: u64,
}

#[derive(Debug)]
enum Bytes {
    Map(FileBytes),
    Pread(File),
}

/// Where a reader has the bytes that it asked for last. Several files may share one.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    filled: usize,
    start: u64,
    file: u64,
    ahead: usize,
}

impl Window {
    /// Bytes that a window for sequential reading holds: half of the smallest L2 caches.
    pub const AHEAD: usize = 128 << 10;

    /// A window that holds just what was asked for.
    #[must_use]
    pub fn exact() -> Self {
        Self::default()
    }

    /// A window that reads up to `ahead` bytes at a time, which those asked for next are likely to
    /// be among.
    #[must_use]
    pub fn ahead(ahead: usize) -> Self {
        Self { ahead, ..Self::default() }
    }

    fn place(&self, file: u64, range: &Range<u64>) -> Option<Range<usize>> {
        let start = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let end = start.checked_add(usize::try_from(range.end - range.start).ok()?)?;
        (self.file == file && end <= self.filled).then_some(start..end)
    }
}

/// No file has this number.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// What [`taken_bytes`] tells.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Bytes that this process has copied into windows.
pub(crate) fn taken_bytes() -> u64 {
    TAKEN.load(Ordering::Relaxed)
}

impl BlockFile {
    /// Opens a file for reading. Nothing of it is read.
    ///
    /// # Errors
    ///
    /// Of the section [`Section::File`], with the kernel's answer.
    pub fn open(path: &Path, backend: Backend) -> Result<Self, Damage> {
        let path: Arc<Path> = path.into();
        let refused = |call, reason| {
            let fault = Fault::Call { call, reason };
            Damage { file: Arc::clone(&path), offset: 0, section: Section::File, fault }
        };
        let file = open_regular(&path).map_err(|error| refused("open", error.to_string()))?;
        let stat = file.metadata().map_err(|error| refused("fstat", error.to_string()))?;
        let bytes = match backend {
            Backend::Map => FileBytes::map(file, ..stat.len(), Stability::None)
                .map(Bytes::Map)
                .map_err(|error| refused("mmap", error.to_string()))?,
            Backend::Pread => Bytes::Pread(file),
        };
        let id = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { len: stat.len(), bytes, id, path })
    }

    /// The file's path.
    #[must_use]
    pub const fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Its bytes when it was opened.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it had no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A damage at byte `offset` of this file.
    #[must_use]
    pub fn damage(&self, offset: u64, section: Section, fault: Fault) -> Damage {
        Damage { file: Arc::clone(&self.path), offset, section, fault }
    }

    /// The bytes of `range`, all of them.
    ///
    /// # Errors
    ///
    /// If the file does not have them, does not have them any more, or the kernel cannot read
    /// them. The damage is of `section`.
    pub fn read<'w>(
        &self,
        range: Range<u64>,
        section: Section,
        window: &'w mut Window,
    ) -> Result<&'w [u8], Damage> {
        if let Some(place) = window.place(self.id, &range) {
            return Ok(&window.bytes[place]);
        }
        if range.start > range.end || range.end > self.len {
            let wanted = range.end.saturating_sub(range.start);
            let left = self.len.saturating_sub(range.start);
            return Err(self.damage(range.start, section, Fault::Short { wanted, left }));
        }
        self.fill(&range, section, window)?;
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        Ok(&window.bytes[..wanted])
    }

    /// As many bytes as there are from `start` on, up to `most`; what a window has may do.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_up_to<'w>(
        &self,
        start: u64,
        most: usize,
        section: Section,
        window: &'w mut Window,
    ) -> Result<&'w [u8], Damage> {
        let end = start.saturating_add(most as u64).min(self.len);
        self.read(start.min(end)..end, section, window)
    }

    fn fill(
        &self,
        range: &Range<u64>,
        section: Section,
        window: &mut Window,
    ) -> Result<(), Damage> {
        let too_large = |_| {
            let (wanted, left) = (range.end - range.start, self.len - range.start);
            self.damage(range.start, section, Fault::Short { wanted, left })
        };
        let wanted = usize::try_from(range.end - range.start).map_err(too_large)?;
        let left = usize::try_from(self.len - range.start).unwrap_or(usize::MAX);
        let count = wanted.max(window.ahead.min(left));
        window.filled = 0;
        if window.bytes.len() < count {
            window.bytes.resize(count, 0);
        }
        self.copy(range.start, &mut window.bytes[..count])
            .map_err(|(offset, fault)| self.damage(offset, section, fault))?;
        TAKEN.fetch_add(count as u64, Ordering::Relaxed);
        (window.file, window.start, window.filled) = (self.id, range.start, count);
        Ok(())
    }

    fn copy(&self, start: u64, into: &mut [u8]) -> Result<(), (u64, Fault)> {
        match &self.bytes {
            Bytes::Map(map) => {
                let at = usize::try_from(start).unwrap_or(usize::MAX);
                map.copy_at(at, into).map(drop).map_err(|broken| (broken.offset, Fault::Lost))
            }
            Bytes::Pread(file) => pread_all(file, start, into),
        }
    }

    /// What is really wrong with bytes whose checksum or form was found wrong: if the file has
    /// become shorter than `end` since it was opened, that is it.
    #[must_use]
    pub fn or_lost(&self, damage: Damage, end: u64) -> Damage {
        let file = match &self.bytes {
            Bytes::Map(map) => map.file(),
            Bytes::Pread(file) => std::os::fd::AsFd::as_fd(file),
        };
        let size = rustix::fs::fstat(file).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
        match size {
            Some(size) if size < end => self.damage(size, damage.section, Fault::Lost),
            Some(_) | None => damage,
        }
    }

    /// Tells the kernel in which order the file is going to be read.
    pub fn advise(&self, pattern: Pattern) {
        match (&self.bytes, pattern) {
            (Bytes::Map(map), Pattern::Random) => map.advise(Order::Random),
            (Bytes::Map(map), Pattern::Sequential) => map.advise(Order::Sequential),
            (Bytes::Pread(file), Pattern::Random) => advise_by_call(file, Advice::Random),
            (Bytes::Pread(file), Pattern::Sequential) => advise_by_call(file, Advice::Sequential),
        }
    }
}

/// Opens a file for reading. A FIFO in its place would be waited for without O_NONBLOCK.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it is not a regular file"))
}

/// It is advice: where it is refused, the kernel reads ahead as it always does.
fn advise_by_call(file: &File, advice: Advice) {
    rustix::fs::fadvise(file, 0, None, advice).unwrap_or_default();
}

fn pread_all(file: &File, start: u64, into: &mut [u8]) -> Result<(), (u64, Fault)> {
    let mut done = 0;
    while done < into.len() {
        let offset = start + done as u64;
        match rustix::io::pread(file, &mut into[done..], offset) {
            Err(Errno::INTR) => {}
            Err(errno) => {
                return Err((offset, Fault::Call { call: "pread", reason: errno.to_string() }));
            }
            Ok(0) => {
                let size = file.metadata().map_or(offset, |stat| stat.len());
                return Err((offset.min(size), Fault::Lost));
            }
            Ok(count) => done += count,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const BACKENDS: [Backend; 2] = [Backend::Map, Backend::Pread];

    fn file(len: usize) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn a_window_holds_what_was_asked_for_wherever_it_was_before() {
        for backend in BACKENDS {
            let (one, other) = (file(10_000), file(20));
            let first = BlockFile::open(one.path(), backend).unwrap();
            let second = BlockFile::open(other.path(), backend).unwrap();
            let mut window = Window::ahead(64);
            let mut read = |file: &BlockFile, range| {
                file.read(range, Section::Chunk, &mut window).unwrap().to_vec()
            };
            assert_eq!(read(&first, 250..253), [250, 0, 1]);
            assert_eq!(read(&first, 252..254), [1, 2]);
            assert_eq!(read(&second, 2..4), [2, 3], "not those of the first file");
            assert_eq!(read(&first, 9_998..10_000), [209, 210]);
            assert_eq!(read(&first, 0..300).len(), 300);
            assert!(read(&first, 5..5).is_empty());
        }
    }

    #[test]
    fn what_a_file_never_had_and_what_it_lost_are_told_apart() {
        for backend in BACKENDS {
            let file = file(10_000);
            let block = BlockFile::open(file.path(), backend).unwrap();
            let mut window = Window::exact();
            let damage = block.read(9_000..10_001, Section::Chunk, &mut window).unwrap_err();
            let fault = Fault::Short { wanted: 1_001, left: 1_000 };
            assert_eq!((damage.offset, damage.fault), (9_000, fault));
            file.as_file().set_len(4_096).unwrap();
            assert_eq!(block.read(0..4, Section::Chunk, &mut window).unwrap(), [0, 1, 2, 3]);
            let damage = block.read(8_000..8_010, Section::Chunk, &mut window).unwrap_err();
            assert_eq!(damage.fault, Fault::Lost, "{backend:?}");
        }
    }

    #[test]
    fn zeros_behind_a_cut_within_a_page_are_told_as_lost() {
        let file = file(4_000);
        let block = BlockFile::open(file.path(), Backend::Map).unwrap();
        file.as_file().set_len(100).unwrap();
        let wrong = block.damage(90, Section::Chunk, Fault::Checksum { stored: 1, computed: 2 });
        let found = block.or_lost(wrong.clone(), 200);
        assert_eq!((found.offset, found.fault), (100, Fault::Lost));
        assert_eq!(block.or_lost(wrong.clone(), 100), wrong);
    }

    #[test]
    fn a_fifo_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let damage = BlockFile::open(&path, Backend::Map).unwrap_err().to_string();
        assert!(
            damage.ends_with("index: byte 0: file: open: it is not a regular file"),
            "{damage}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let damage = BlockFile::open(Path::new("/nowhere/index"), Backend::Map).unwrap_err();
        assert_eq!(
            damage.to_string(),
            "/nowhere/index: byte 0: file: open: No such file or directory (os error 2)"
        );
    }
}
