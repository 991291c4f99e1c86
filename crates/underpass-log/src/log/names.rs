//! What the files of a log are called.

use std::path::{Path, PathBuf};

/// What a file of a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Record batches.
    Log,
    /// Where offsets are.
    Index,
    /// Where times are.
    TimeIndex,
    /// What producers had written before this segment.
    Producers,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Log, Self::Index, Self::TimeIndex, Self::Producers];

    const fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::TimeIndex => "timeindex",
            Self::Producers => "producers",
        }
    }

    /// The file of the segment that starts at offset `base`.
    pub(crate) fn path(self, dir: &Path, base: i64) -> PathBuf {
        dir.join(format!("{base:020}.{}", self.extension()))
    }

    /// What the file `name` is, and the offset at which its segment starts.
    pub(crate) fn parse(name: &str) -> Option<(Self, i64)> {
        let (digits, extension) = name.split_once('.')?;
        let kind = Self::ALL.into_iter().find(|kind| kind.extension() == extension)?;
        let is_base = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
        Some((kind, digits.parse().ok().filter(|_| is_base)?))
    }
}
