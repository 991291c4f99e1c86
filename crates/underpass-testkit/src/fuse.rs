//! A FUSE file system of a few files whose sizes need not be those of their contents.
//!
//! Its server is a thread that answers what reading files takes, and refuses the rest.
//!
//! Source: fuse(4); linux/fuse.h, protocol 7.31 (5.4 and later).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::skip::Missing;

/// A file of the root directory.
#[derive(Debug, Clone)]
pub struct FuseFile {
    /// Its name.
    pub name: &'static str,
    /// What stat(2) says of its size.
    pub size: u64,
    /// What read(2) gives.
    pub content: Vec<u8>,
    /// Whether reads pass by the page cache, so that the kernel does not mind the size, and
    /// refuses shared mappings.
    pub is_direct: bool,
}

/// The file system, mounted until it is dropped.
#[derive(Debug)]
pub struct Fuse {
    mounted_at: tempfile::TempDir,
}

const OPEN_DIRECT_IO: u32 = 1;

/// The inode of the root; those of the files follow it.
const ROOT: u64 = 1;

/// The largest request: a write, which no test makes.
const REQUEST_BYTES_MAX: usize = 64 * 1024 + 4096;

impl Fuse {
    /// Mounts the files.
    ///
    /// # Errors
    ///
    /// [`Missing`] without root or FUSE.
    pub fn mount(files: Vec<FuseFile>) -> Result<Self, Missing> {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|error| Missing::new(format!("no /dev/fuse: {error}")))?;
        let mounted_at = tempfile::tempdir().map_err(|error| Missing::new(error.to_string()))?;
        let fd = device.as_raw_fd();
        let options = format!("fd={fd},rootmode=40755,user_id=0,group_id=0,allow_other\0");
        let options = std::ffi::CString::from_vec_with_nul(options.into_bytes())
            .map_err(|error| Missing::new(error.to_string()))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("underpass-testkit", mounted_at.path(), "fuse", flags, options.as_c_str())
            .map_err(|errno| Missing::new(format!("no FUSE mount: {errno}")))?;
        thread::spawn(move || serve(device, &files));
        Ok(Self { mounted_at })
    }

    /// Its root directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.mounted_at.path().into()
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        detach(self.mounted_at.path());
    }
}

/// Fails what is under way, which files that are still open would wait for, and ends the server.
fn detach(path: &Path) {
    let detached = unmount(path, UnmountFlags::FORCE | UnmountFlags::DETACH);
    debug_assert!(detached.is_ok(), "{}: {detached:?}", path.display());
}

fn serve(mut device: File, files: &[FuseFile]) {
    let mut request = vec![0; REQUEST_BYTES_MAX];
    loop {
        let len = match device.read(&mut request) {
            Ok(len) => len,
            // The request was interrupted before it was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => return,
        };
        let request = Request(&request[..len]);
        if let Some(answer) = request.answer(files) {
            let unique = request.number(8).to_le_bytes();
            let (errno, content) = match answer {
                Ok(content) => (0, content),
                Err(errno) => (-errno.raw_os_error(), vec![]),
            };
            let len = u32::try_from(16 + content.len()).unwrap_or(u32::MAX).to_le_bytes();
            let head = [&len[..], &errno.to_le_bytes(), &unique].concat();
            // ENOENT: the caller was interrupted meanwhile.
            let _answered = device.write(&[head, content].concat());
        }
    }
}

/// `fuse_in_header` and what follows it.
struct Request<'b>(&'b [u8]);

impl Request<'_> {
    fn number(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("a slice of 8 bytes"))
    }

    fn short(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("a slice of 4 bytes"))
    }

    /// `None` where none is waited for.
    fn answer(&self, files: &[FuseFile]) -> Option<Result<Vec<u8>, Errno>> {
        let (opcode, inode, body) = (self.short(4), self.number(16), 40);
        let file = usize::try_from(inode).ok().and_then(|it| files.get(it.checked_sub(2)?));
        Some(match (opcode, file) {
            // FORGET, BATCH_FORGET
            (2 | 42, _) => return None,
            // LOOKUP
            (1, _) => {
                let name = self.0[body..].strip_suffix(b"\0").unwrap_or_default();
                let found = files.iter().position(|file| file.name.as_bytes() == name);
                let Some(found) = found else { return Some(Err(Errno::NOENT)) };
                let inode = found as u64 + 2;
                Ok([
                    &[inode, 0, 0, 0, 0].map(u64::to_le_bytes).concat()[..],
                    &attributes(inode, Some(&files[found])),
                ]
                .concat())
            }
            // GETATTR
            (3, _) => Ok([&[0; 16][..], &attributes(inode, file)].concat()),
            // OPEN, OPENDIR
            (14 | 27, _) => {
                let is_direct = file.is_some_and(|file| file.is_direct);
                let flags = if is_direct { OPEN_DIRECT_IO } else { 0 };
                Ok([&[0; 8][..], &flags.to_le_bytes(), &[0; 4]].concat())
            }
            // READ
            (15, Some(file)) => {
                let at = |n| usize::try_from(n).unwrap_or(usize::MAX);
                let from = at(self.number(body + 8)).min(file.content.len());
                let many = at(u64::from(self.short(body + 16))).min(file.content.len() - from);
                Ok(file.content[from..from + many].to_vec())
            }
            // RELEASE, RELEASEDIR. The kernel asks once whether there is FLUSH: a process that ends
            // would wait for it, also when it was the server.
            (18 | 29, _) => Ok(vec![]),
            // READDIR
            (28, _) => Ok(vec![]),
            // INIT: the version, no readahead, no flags.
            (26, _) => Ok([&[7, 31, 0, 0].map(u32::to_le_bytes).concat()[..], &[0; 48]].concat()),
            _ => Err(Errno::NOSYS),
        })
    }
}

/// `fuse_attr`, without the times.
fn attributes(inode: u64, file: Option<&FuseFile>) -> Vec<u8> {
    let size = file.map_or(0, |file| file.size);
    let mode: u32 = if inode == ROOT { 0o040_755 } else { 0o100_644 };
    let numbers = [inode, size, size.div_ceil(512), 0, 0, 0].map(u64::to_le_bytes);
    let shorts = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_le_bytes);
    [numbers.concat(), shorts.concat()].concat()
}
