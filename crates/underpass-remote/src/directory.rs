//! The files of a store.
//!
//! ```text
//! underpass-cache.json    the format
//! lock                    held by the process whose store it is
//! objects/ab/HASH-GENERATION.data   the bytes of an object, at their places
//! objects/ab/HASH-GENERATION.meta   what is known of them
//! ```
//!
//! Source: flock(2); rename(2); openat2(2), `RESOLVE_CACHED` (5.12); fsync(2), NOTES, on
//! directories.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, ResolveFlags, flock, openat2};
use rustix::io::Errno;

use crate::error::StoreError;
use crate::key::Key;
use crate::meta::{About, Meta};

const FORMAT_FILE: &str = "underpass-cache.json";
const FORMAT: &str = "{\"format\":1}\n";
const LOCK_FILE: &str = "lock";
const OBJECTS: &str = "objects";

/// No meta file is longer: 16,384 cells, each with few pieces.
const META_BYTES_MAX: u64 = 64 << 20;

/// A directory that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Open as long as the lock is held.
    _lock: File,
}

/// An object that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) about: About,
    /// Bytes of the disk that its file has.
    pub(crate) disk: u64,
}

/// The name of an object's files, without what stands after the dot.
#[derive(Debug, Clone)]
pub(crate) struct Name(PathBuf);

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { action, path, source }
        };
        fs::create_dir_all(path).map_err(failed("make", path))?;
        let path = fs::canonicalize(path).map_err(failed("find", path))?;
        let lock = path.join(LOCK_FILE);
        let is_new = !lock.exists();
        if is_new && !path.join(FORMAT_FILE).exists() && !is_empty(&path) {
            return Err(StoreError::NotOurs { path });
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(failed("open", &lock))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StoreError::InUse { path }),
            Err(errno) => return Err(failed("lock", &lock)(errno.into())),
        }
        let format = path.join(FORMAT_FILE);
        match fs::read_to_string(&format) {
            Ok(text) if text.trim_end() == FORMAT.trim_end() => {}
            Ok(_) => return Err(StoreError::Format { path: format }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                replace(&format, FORMAT.as_bytes(), true).map_err(failed("write", &format))?;
            }
            Err(error) => return Err(failed("read", &format)(error)),
        }
        let objects = path.join(OBJECTS);
        fs::create_dir_all(&objects).map_err(failed("make", &objects))?;
        Ok(Self { path, _lock: file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn name(&self, key: &Key, generation: u64) -> Name {
        let hash = key.hash();
        Name(self.path.join(OBJECTS).join(&hash[..2]).join(format!("{hash}-{generation}")))
    }

    /// All objects that earlier processes left whole or in part; what cannot be one is removed.
    pub(crate) fn objects(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for directory in fs::read_dir(self.path.join(OBJECTS))? {
            let directory = directory?.path();
            if !directory.is_dir() {
                continue;
            }
            for file in fs::read_dir(&directory)? {
                let path = file?.path();
                match path.extension().and_then(OsStr::to_str) {
                    Some("meta") => match self.found(&path) {
                        Some(one) => found.push(one),
                        None => remove(&Name(path.with_extension(""))),
                    },
                    Some("data") if path.with_extension("meta").exists() => {}
                    _ => drop(fs::remove_file(&path)),
                }
            }
        }
        Ok(found)
    }

    fn found(&self, path: &Path) -> Option<Found> {
        let meta = read_meta(path).ok().flatten()?;
        let key = Key::new(meta.about.url.clone()).ok()?;
        let name = self.name(&key, meta.about.generation);
        let data = fs::metadata(name.data()).ok()?;
        let is_its = data.is_file() && name.meta() == path && data.len() == meta.about.head.len;
        let disk = data.blocks() * 512;
        // Its pieces are read again when it is.
        is_its.then_some(Found { about: meta.about, disk })
    }
}

impl Name {
    pub(crate) fn data(&self) -> PathBuf {
        self.with("data")
    }

    pub(crate) fn meta(&self) -> PathBuf {
        self.with("meta")
    }

    fn with(&self, extension: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(".");
        name.push(extension);
        name.into()
    }

    /// A new file of this length, which has no byte yet.
    pub(crate) fn create(&self, len: u64) -> io::Result<File> {
        let path = self.data();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        file.set_len(len)?;
        Ok(file)
    }

    pub(crate) fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.data())
    }

    /// The same, if the kernel knows where it is without reading the disk.
    pub(crate) fn open_cached(&self) -> Option<OwnedFd> {
        let (flags, cached) = (OFlags::RDWR | OFlags::CLOEXEC, ResolveFlags::CACHED);
        openat2(CWD, self.data(), flags, Mode::empty(), cached).ok()
    }

    /// What was written of it; `None` if nothing was, or not in one piece.
    pub(crate) fn read(&self) -> io::Result<Option<Meta>> {
        read_meta(&self.meta())
    }

    /// Writes what is known of it; to the disk, if that is to be believed after a crash.
    pub(crate) fn write(&self, meta: &Meta, is_synced: bool) -> io::Result<()> {
        let bytes = meta.write().ok_or_else(|| io::Error::other("its head is too long"))?;
        replace(&self.meta(), &bytes, is_synced)
    }
}

/// Removes the files of an object; their bytes stay for those who have them open. The meta goes
/// first: bytes without it are nothing.
pub(crate) fn remove(name: &Name) {
    for path in [name.meta(), name.data()] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn read_meta(path: &Path) -> io::Result<Option<Meta>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(META_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Meta::read(&bytes))
}

fn is_empty(path: &Path) -> bool {
    // A file system has this one from the start.
    let is_other = |name: &OsStr| name != "lost+found";
    fs::read_dir(path).is_ok_and(|mut files| {
        !files.any(|file| file.is_ok_and(|file| is_other(&file.file_name())))
    })
}

fn replace(path: &Path, bytes: &[u8], is_synced: bool) -> io::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            if is_synced { file.sync_all() } else { Ok(()) }
        })
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        drop(fs::remove_file(&new));
        return Err(error);
    }
    match path.parent().filter(|_| is_synced) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
