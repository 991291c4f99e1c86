//! What the kernel was seen to do, as plain data: no judgement, and nothing that was not seen.
//!
//! Calls are counted by process and by the files they join. Bytes that left are counted by
//! socket and by where their page came from, at the first device; a retransmission is not
//! counted twice. Bytes that a receiver copied are counted by the first page of their packet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

/// What an inode is (`S_IFMT` of inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A socket of any family.
    Socket,
    /// A pipe or FIFO.
    Pipe,
    /// A device, a directory, or an anonymous inode such as that of epoll.
    Other,
}

/// A file, socket or pipe as the kernel names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct FileId {
    /// What it is.
    pub kind: FileKind,
    /// The device's major number; that of the file system, which stat(2) may disguise (btrfs,
    /// overlayfs).
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
    /// The inode's number.
    pub inode: u64,
}

impl FileId {
    /// Files that were opened, and closed before anybody could look what they are.
    pub const NOT_SEEN: Self = Self::regular(0, 0, 0);

    /// A regular file.
    #[must_use]
    pub const fn regular(major: u32, minor: u32, inode: u64) -> Self {
        Self { kind: FileKind::Regular, major, minor, inode }
    }
}

/// What the memory is that a call gave. One that gives memory of several kinds is in several rows,
/// and counted in the first of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Memory {
    /// The call gives none.
    #[default]
    None,
    /// The process's own.
    Own,
    /// A mapping of a file.
    File(FileId),
    /// It could not be looked at: it may be a mapping.
    NotSeen,
}

/// All calls of one kind that one process made from one file to another, with memory of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// The process (thread group) that called.
    pub process: u32,
    /// The system call's number.
    pub number: u32,
    /// What the call takes bytes from, if it takes them from a descriptor.
    pub source: Option<FileId>,
    /// What the call gives bytes to, if it gives them to a descriptor.
    pub target: Option<FileId>,
    /// What the memory is that they gave.
    pub memory: Memory,
    /// Whether they returned before the process's first byte went to a TCP socket: it read its
    /// configuration, its libraries, its code.
    pub before_sending: bool,
    /// Whether `MSG_ZEROCOPY` was among the flags.
    pub is_zero_copy: bool,
    /// Whether a descriptor involved was opened with `O_DIRECT`.
    pub is_direct: bool,
    /// How many returned.
    pub calls: u64,
    /// How many of them failed.
    pub failures: u64,
    /// Sum of what they returned, of calls that return a number of bytes.
    pub bytes: u64,
    /// The first bytes that were given last, as they were when the call returned.
    pub head: [u8; 8],
}

/// Where the bytes of a packet were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Origin {
    /// Next to the headers: copied there.
    Linear,
    /// A page that the kernel allocated: copied there, unless the socket buffer says otherwise.
    Kernel,
    /// A page of a file.
    PageCache {
        /// Major number of its file system.
        major: u32,
        /// Minor number.
        minor: u32,
        /// The file's inode.
        inode: u64,
    },
    /// A page of a process.
    Anonymous,
}

impl Origin {
    /// The file whose page it is.
    #[must_use]
    pub const fn file(self) -> Option<FileId> {
        match self {
            Self::PageCache { major, minor, inode } => Some(FileId::regular(major, minor, inode)),
            Self::Linear | Self::Kernel | Self::Anonymous => None,
        }
    }
}

impl Pages {
    /// Whether these bytes are references to pages that somebody else has.
    ///
    /// Pages of a file or of a process are never copies: the kernel copies into its own pages. (A
    /// Unix socket does not mark them as lent.) `passes_kernel_pages` says that the sender's own
    /// input was in pages of the kernel, as a socket's may be: then a lent one is that input, and
    /// otherwise a copy next to lent pages.
    pub(crate) fn is_reference(&self, passes_kernel_pages: bool) -> bool {
        match (self.origin, self.lent) {
            (Origin::PageCache { .. } | Origin::Anonymous, _) => true,
            (Origin::Kernel, Lent::Shared | Lent::ZeroCopy) => passes_kernel_pages,
            (Origin::Kernel, Lent::No) | (Origin::Linear, _) => false,
        }
    }
}

/// What the socket buffer says of its pages (`skb_shared_info.flags`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Lent {
    /// They are its own.
    No,
    /// Others may hold them: sendfile and splice.
    Shared,
    /// A process lent them: `MSG_ZEROCOPY`.
    ZeroCopy,
}

/// Bytes of one socket that left, or were taken in, by where they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pages {
    /// Index, in the socket's network, of the interface by which they left; 0 for bytes received.
    pub interface: u32,
    /// Where they were.
    pub origin: Origin,
    /// What the socket buffer said.
    pub lent: Lent,
    /// How many, TCP payload only.
    pub bytes: u64,
}

/// A TCP socket that a followed process used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Socket {
    /// The socket's inode, as in [`FileId::inode`].
    pub inode: u64,
    /// The first followed process that used it.
    pub process: u32,
    /// The inode of the network namespace it is in; 0 if that was not seen.
    pub network: u64,
    /// Its own address.
    pub local: Option<SocketAddr>,
    /// The address of the other end.
    pub peer: Option<SocketAddr>,
    /// The upper layer protocol on it, such as `tls`.
    pub upper_layer: Option<String>,
    /// Payload that left, each byte once.
    pub sent: Vec<Pages>,
    /// Payload that left again.
    pub retransmitted_bytes: u64,
}

/// Bytes that a followed process had copied out of socket buffers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// The process.
    pub process: u32,
    /// Where they were before.
    pub pages: Pages,
}

/// A followed process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number.
    pub process: u32,
    /// The name of the program it executed last; empty if that was not seen.
    pub program: String,
    /// Whether it has ended.
    pub has_ended: bool,
    /// Whether it calls the kernel as a 32-bit process, whose calls are not known.
    pub is_32_bit: bool,
    /// Page faults taken in user mode.
    pub user_faults: u64,
}

impl Calls {
    /// How many returned a number of bytes.
    pub(crate) const fn succeeded(&self) -> u64 {
        self.calls.saturating_sub(self.failures)
    }
}

/// A file that a process mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mapped {
    /// The process; 0 for a program's file, which is told once for all.
    pub process: u32,
    /// The file.
    pub file: FileId,
    /// Bytes that were mapped of it.
    pub bytes: u64,
    /// Whether some of it may be executed: it is the program or a library.
    pub is_program: bool,
    /// Whether it is shared and may be written: memory that processes have in common.
    pub is_written: bool,
}

/// What a file was called when it was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its path, as the process sees it that used it.
    pub path: PathBuf,
    /// How long it was when the name was found.
    pub bytes: u64,
}

/// All that was seen since the watch began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Calls, by process, kind and files.
    pub calls: Vec<Calls>,
    /// Calls that had not returned, one a thread: their counts are not known, and zero here.
    pub under_way: Vec<Calls>,
    /// TCP sockets.
    pub sockets: Vec<Socket>,
    /// Bytes copied out of socket buffers, TCP and Unix.
    pub received: Vec<Received>,
    /// The processes that were seen to run, or to be born.
    pub processes: Vec<Process>,
    /// Where files are, as far as the kernel was asked when they were used.
    #[serde(skip)]
    pub names: Arc<BTreeMap<FileId, Named>>,
    /// Files that processes mapped.
    pub mapped: Vec<Mapped>,
    /// Events that found a table full: if not zero, the counts are lower bounds.
    pub lost: u64,
    /// Whether nothing was seen for parts of the time. What left may then lack the call that
    /// gave it, and the other way round.
    pub has_gaps: bool,
}
