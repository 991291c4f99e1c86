//! What can be wrong with an object.

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
}
