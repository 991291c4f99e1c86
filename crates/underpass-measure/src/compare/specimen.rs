//! The file whose bytes are moved: the user's, or one without a name that is made for the run.
//!
//! A file in memory has no disk to be cold on, so the one that is made is on a disk where
//! there is one. It has no name: when the process ends, however it does, it is gone.
//!
//! Source: open(2), `O_TMPFILE`; statfs(2).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{cache, words};

/// The file whose bytes are moved.
#[derive(Debug)]
pub struct Specimen {
    pub(crate) file: File,
    /// Its path, or what it was made as.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) inode: u64,
    pub(super) file_system: String,
    directory: PathBuf,
}

impl Specimen {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// Those of open(2); `InvalidInput` if it is empty or no regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        // To open a FIFO is to wait for its writer, and to open a device may do something.
        let is_file = std::fs::metadata(path)?.is_file();
        let file = if is_file { File::open(path)? } else { return Err(not_regular()) };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(not_regular());
        }
        if metadata.len() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is empty"));
        }
        let real = path.canonicalize()?;
        let directory = real.parent().unwrap_or_else(|| Path::new("/")).to_path_buf();
        Self::over(file, path.display().to_string(), directory)
    }

    /// Makes a file of `bytes` bytes on a disk, or in memory where no disk can be written to: in
    /// the directory for temporary files, in `/var/tmp` or in the current one.
    ///
    /// # Errors
    ///
    /// Those of making and of writing it: `StorageFull`, for one.
    pub fn make(bytes: u64) -> io::Result<Self> {
        let mut places = vec![std::env::temp_dir(), PathBuf::from("/var/tmp")];
        places.extend(std::env::current_dir());
        let is_on_disk = |place: &PathBuf| {
            File::open(place)
                .and_then(|directory| cache::file_system_in_memory(&directory))
                .is_ok_and(|name| name.is_none())
        };
        places.sort_by_key(|place| !is_on_disk(place));
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for place in places {
            match Self::make_in(&place, bytes) {
                Ok(made) => return Ok(made),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Makes a file of `bytes` bytes in a directory.
    pub(crate) fn make_in(place: &Path, bytes: u64) -> io::Result<Self> {
        let made = tempfile::tempfile_in(place).and_then(|file| fill(&file, bytes).map(|()| file));
        let file = made.map_err(|error| {
            let (size, place) = (words::size(bytes), place.display());
            io::Error::new(error.kind(), format!("{size} cannot be written in {place}: {error}"))
        })?;
        Self::over(file, format!("a temporary file in {}", place.display()), place.to_owned())
    }

    /// A path by which this process, and others of its user, can open it while it is held.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Where files of the same file system can be made.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn over(file: File, name: String, directory: PathBuf) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let file_system = cache::file_system(&file)?;
        let (bytes, inode) = (metadata.len(), metadata.ino());
        Ok(Self { file, name, bytes, inode, file_system, directory })
    }

    /// A new file without a name on the same file system.
    pub(super) fn sibling(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.directory).map_err(|error| {
            let why = format!("no file can be made in {}: {error}", self.directory.display());
            io::Error::new(error.kind(), why)
        })
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

/// With bytes that no file system can compress away, and of which none are where others are.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    io::copy(&mut File::open("/dev/urandom")?.take(bytes), &mut file)?;
    // Dirty pages cannot be evicted, and are written out in the middle of a measurement.
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_made_file_has_its_size_and_no_two_pieces_that_are_the_same() {
        let made = Specimen::make(2_000_000).unwrap();
        let mut bytes = vec![0; 2_000_000];
        made.file.read_exact_at(&mut bytes, 0).unwrap();
        let pieces: HashSet<&[u8]> = bytes.chunks(16).collect();
        assert_eq!((made.bytes, pieces.len()), (2_000_000, 125_000));
        assert_eq!(
            made.sibling().unwrap().metadata().unwrap().dev(),
            made.file.metadata().unwrap().dev()
        );
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_why() {
        let why = |path: &Path| Specimen::open(path).unwrap_err().to_string();
        assert_eq!(why(Path::new("/")), "it is not a regular file");
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        // It has no writer that an open could wait for.
        assert_eq!(why(&fifo), "it is not a regular file");
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(why(empty.path()), "it is empty");
    }
}
