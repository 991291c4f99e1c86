//! What can be wrong with an object.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

/// Why bytes of an object will not come. The caller that shows it names the object.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The origin has another one under this name by now.
    #[error("it was replaced at the origin while it was read")]
    Replaced,
    /// The origin refused to give it.
    #[error("the origin answered {status}")]
    Refused {
        /// The status of its answer.
        status: u16,
    },
    /// The origin ended its answers early, more than once.
    #[error("{promised} bytes were promised and {came} came, {tries} times")]
    Short {
        /// The end of what was asked for.
        promised: u64,
        /// The end of what came.
        came: u64,
        /// How often it was asked.
        tries: u32,
    },
    /// Nothing came for that long.
    #[error("nothing came for {} s", .0.as_secs())]
    Late(Duration),
    /// The file cannot take what comes.
    #[error("its file cannot be written: {0}")]
    Disk(Errno),
    /// All came, and is not what the origin said that it is.
    #[error("its checksum is {found}, and the origin said {promised}")]
    Checksum {
        /// What the origin said.
        promised: String,
        /// What was found.
        found: String,
    },
    /// The connection failed.
    #[error("{0}")]
    Origin(String),
    /// It had no reader for a while, or the program ends, and the rest cannot be asked for alone.
    #[error("its request was left")]
    Left,
    /// As many requests wait as may, or the program ends.
    #[error("too many requests wait for their origin")]
    Busy,
}

impl ObjectError {
    /// Whether it is this machine that cannot keep the object, so that another request
    /// would be answered.
    #[must_use]
    pub const fn is_of_store(&self) -> bool {
        matches!(self, Self::Disk(_))
    }
}

/// Why a store cannot be opened, or does not take an object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or the directory refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by another process: give each its own directory", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It has files, and none that says that they are a store's.
    #[error("{} is not empty and is not a cache: name another directory", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// It was made by another version.
    #[error(
        "{} has a format that this version does not know: remove the directory, or name another",
        path.display()
    )]
    Format {
        /// The file that says so.
        path: PathBuf,
    },
    /// The object would take too much of the cache.
    #[error("an object of {len} bytes is not kept: at most {max} are")]
    TooLarge {
        /// Its length.
        len: u64,
        /// A quarter of the cache.
        max: u64,
    },
    /// The disk has no room.
    #[error("{} has no room for {len} bytes: answers are relayed until there is", path.display())]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// The length of the object.
        len: u64,
    },
    /// The key is not of the origin.
    #[error("{0} is not an object of this origin")]
    OtherOrigin(String),
}
