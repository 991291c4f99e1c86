//! Why a comparison ends without a report.

use std::io;

use crate::words::count;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// There is no such network.
    #[error("{0}")]
    Network(String),
    /// None of the methods moves bytes between any of the ends.
    #[error("none of these methods moves bytes between these ends")]
    Nothing,
    /// Somebody made the file shorter meanwhile.
    #[error(
        "the file had {} bytes that were to be moved and has {} now; compare one that stays as it \
         is",
        count(*wanted), count(*left)
    )]
    Shortened {
        /// Bytes that were to be moved.
        wanted: u64,
        /// Bytes there are.
        left: u64,
    },
    /// A run failed.
    #[error("{label} failed")]
    Run {
        /// Which.
        label: String,
        /// What went wrong.
        source: io::Error,
    },
}
