//! What can be wrong with a file of a block, and where.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A place in a file that is not as its format has it.
///
/// Displayed as one line: the file, the byte, the section and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: Arc<Path>,
    /// Offset in the file, in bytes, of the damaged part or of the first byte that makes no sense.
    pub offset: u64,
    /// The part of the file.
    pub section: Section,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, section, fault } = self;
        write!(f, "{}: byte {offset}: {section}: {fault}", file.display())
    }
}

impl std::error::Error for Damage {}

/// A part of a block's files, as Prometheus' format documents name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// A file as a whole: it cannot be opened, or is missing.
    File,
    /// The magic number and the version at a file's start.
    Header,
    /// The table of contents at the index' end.
    Toc,
    /// The symbol table.
    Symbols,
    /// A series entry.
    Series,
    /// A postings list.
    Postings,
    /// The postings offset table.
    PostingsTable,
    /// The obsolete label indices, which nothing reads.
    LabelIndices,
    /// The obsolete label offset table, which nothing reads.
    LabelOffsetTable,
    /// A chunk.
    Chunk,
    /// The tombstones.
    Tombstones,
    /// `meta.json`.
    Meta,
}

impl Section {
    /// Its name in messages and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Header => "header",
            Self::Toc => "TOC",
            Self::Symbols => "symbol table",
            Self::Series => "series",
            Self::Postings => "postings",
            Self::PostingsTable => "postings offset table",
            Self::LabelIndices => "label indices",
            Self::LabelOffsetTable => "label offset table",
            Self::Chunk => "chunk",
            Self::Tombstones => "tombstones",
            Self::Meta => "meta.json",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with some bytes, in a few words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The stored CRC32C is not that of the bytes.
    #[error("checksum {stored:08x} is not that of the content, {computed:08x}")]
    Checksum {
        /// As the file has it.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// The bytes end before what they say they hold.
    #[error("{wanted} bytes are needed and {left} are left")]
    Short {
        /// Bytes needed.
        wanted: u64,
        /// Bytes there.
        left: u64,
    },
    /// A variable-length integer of more than 64 bits.
    #[error("an integer is longer than 64 bits")]
    Integer,
    /// A number that must not be.
    #[error("{what} is {found}, {wanted}")]
    Value {
        /// Of what.
        what: &'static str,
        /// The number.
        found: i128,
        /// What it should be: "not one of 1, 2 and 3".
        wanted: &'static str,
    },
    /// What should be in order is not.
    #[error("{0} are not in order")]
    Order(&'static str),
    /// A reference leads to nothing.
    #[error("{what} {reference} does not exist")]
    Reference {
        /// To what.
        what: &'static str,
        /// The reference.
        reference: u64,
    },
    /// A chunk of an encoding that this version does not know. Its checksum is right.
    #[error("encoding {0} is unknown to this version")]
    Encoding(u8),
    /// The bits of a chunk end before its last sample does.
    #[error("it ends after {read} of {count} samples")]
    Samples {
        /// Samples that are whole.
        read: u16,
        /// Samples that it says it has.
        count: u16,
    },
    /// Text that is not what it must be.
    #[error("{0}")]
    Text(String),
    /// The kernel refused.
    #[error("{call}: {reason}")]
    Call {
        /// The system call.
        call: &'static str,
        /// Its answer, as text.
        reason: String,
    },
    /// The file lost bytes after it was opened: it was truncated, or its disk failed.
    #[error(
        "the file lost its bytes from here on while it was read: truncated, or its disk failed"
    )]
    Lost,
    /// Two parts that must agree do not.
    #[error("{0}")]
    Mismatch(String),
}

/// What is wrong with a slice, and at which of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {fault}")]
pub struct Malformed {
    /// Offset in the slice.
    pub at: usize,
    /// What is wrong.
    pub fault: Fault,
}

impl Malformed {
    /// Names the file and the part of it, whose slice began at byte `start`.
    #[must_use]
    pub fn within(self, file: &Arc<Path>, start: u64, section: Section) -> Damage {
        let offset = start.saturating_add(self.at as u64);
        Damage { file: Arc::clone(file), offset, section, fault: self.fault }
    }
}
