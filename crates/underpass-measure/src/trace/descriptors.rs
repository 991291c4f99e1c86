//! Which file is behind a descriptor at which time, from the calls that open and close them.
//!
//! A descriptor's number says little by itself: it is given anew as soon as it is closed. So
//! each opening has a serial of its own, which stands for it until /proc was seen to name it.
//! What was opened before the watch, or by a call that is not known here, is found there, too.
//!
//! Source: open(2), socket(2), accept(2), dup(2), fcntl(2), close_range(2), fork(2).

use std::collections::{BTreeMap, HashMap, HashSet};

use linux_raw_sys::general as sys;

use super::record::Call;
use crate::evidence::FileId;

const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const SOCK_STREAM: u64 = 1;
const SOCK_TYPE_MASK: u64 = 0xf;
const IPPROTO_TCP: u64 = 6;
/// linux/tcp.h: attach an upper layer protocol.
const TCP_ULP: u64 = 31;
const F_DUPFD: u64 = 0;
const F_DUPFD_CLOEXEC: u64 = 1030;
const CLOSE_RANGE_CLOEXEC: u64 = 4;
const O_DIRECT: u64 = 0o40_000;

/// asm/unistd_64.h; newer architectures have none of these.
const NR_OPEN: u32 = 2;
const NR_DUP2: u32 = 33;
const NR_CREAT: u32 = 85;

/// Calls that change what descriptors are; those that only make some of no interest here are
/// left out, since every other end of a descriptor is seen.
pub(crate) const CALLS: [u32; 15] = [
    NR_OPEN,
    sys::__NR_openat,
    sys::__NR_openat2,
    NR_CREAT,
    sys::__NR_socket,
    sys::__NR_connect,
    sys::__NR_setsockopt,
    sys::__NR_accept,
    sys::__NR_accept4,
    sys::__NR_dup,
    NR_DUP2,
    sys::__NR_dup3,
    sys::__NR_fcntl,
    sys::__NR_close,
    sys::__NR_close_range,
];

/// What is behind a descriptor, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum End {
    /// Nothing is known.
    Unknown(u64),
    /// A path was opened.
    Opened(u64),
    /// /proc named it.
    File(FileId),
    /// A TCP socket.
    Tcp(Connection),
    /// A TCP socket that was given an upper layer protocol, which is TLS.
    Tls(Connection),
    /// Another socket, by its inode; 0 if that was not seen.
    Socket(u64),
    /// A pipe, by its inode; 0 if that was not seen.
    Pipe(u64),
}

/// Which connection a TCP socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Connection {
    /// /proc has not named it; 0 stands for all that it will never name.
    New(u64),
    /// By the socket's inode.
    Inode(u64),
}

impl End {
    /// Whether /proc could tell more.
    pub(crate) const fn is_open_question(self) -> bool {
        matches!(
            self,
            Self::Unknown(_)
                | Self::Opened(_)
                | Self::Tcp(Connection::New(_))
                | Self::Tls(Connection::New(_))
        )
    }
}

/// An open descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) end: End,
    /// Whether it was opened with `O_DIRECT`.
    pub(crate) is_direct: bool,
}

/// A process and a number of its.
pub(crate) type Descriptor = (u32, u64);

/// The descriptors of every followed process.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    tables: HashMap<u32, BTreeMap<u64, Opening>>,
    serials: u64,
}

impl Descriptors {
    /// What a descriptor is; learned as unknown if nothing was known of it.
    pub(crate) fn at(&mut self, (process, number): Descriptor) -> Opening {
        self.serials += 1;
        let unknown = Opening { end: End::Unknown(self.serials), is_direct: false };
        *self.tables.entry(process).or_default().entry(number).or_insert(unknown)
    }

    /// What is known of a descriptor.
    pub(crate) fn known(&self, (process, number): Descriptor) -> Option<End> {
        self.tables.get(&process)?.get(&number).map(|opening| opening.end)
    }

    /// States what is behind a descriptor.
    pub(crate) fn set(&mut self, (process, number): Descriptor, opening: Opening) {
        self.tables.entry(process).or_default().insert(number, opening);
    }

    /// Every descriptor of which /proc could tell more.
    pub(crate) fn open_questions(&self) -> Vec<(Descriptor, End)> {
        let of_table = |(process, table): (&u32, &BTreeMap<u64, Opening>)| {
            let open = table.iter().filter(|(_, opening)| opening.end.is_open_question());
            open.map(|(number, opening)| ((*process, *number), opening.end)).collect::<Vec<_>>()
        };
        self.tables.iter().flat_map(of_table).collect()
    }

    /// What is behind every open descriptor.
    pub(crate) fn open_ends(&self) -> HashSet<End> {
        self.tables.values().flat_map(BTreeMap::values).map(|opening| opening.end).collect()
    }

    /// A process began as a copy of another.
    pub(crate) fn fork(&mut self, parent: u32, process: u32) {
        let table = self.tables.get(&parent).cloned().unwrap_or_default();
        self.tables.insert(process, table);
    }

    /// A process ended, or became another program: which of its descriptors it kept is looked up.
    pub(crate) fn forget(&mut self, process: u32) {
        self.tables.remove(&process);
    }

    /// Follows a call of a process; true if a TCP connection was accepted.
    pub(crate) fn follow(&mut self, process: u32, call: &Call) -> bool {
        let [first, second, third, _] = call.arguments;
        // The kernel reads 32 bits of a descriptor.
        let number = |argument: u64| argument & u64::from(u32::MAX);
        let is_done = call.returned >= 0;
        let returned = (process, call.returned.cast_unsigned());
        match call.number {
            // close(2): the descriptor is released even where it fails.
            sys::__NR_close => self.close(process, number(first), number(first)),
            sys::__NR_close_range if is_done && third & CLOSE_RANGE_CLOEXEC == 0 => {
                self.close(process, number(first), number(second));
            }
            NR_OPEN if is_done => self.open(returned, second & O_DIRECT != 0),
            sys::__NR_openat if is_done => self.open(returned, third & O_DIRECT != 0),
            sys::__NR_openat2 | NR_CREAT if is_done => self.open(returned, false),
            sys::__NR_socket if is_done => {
                let is_stream = second & SOCK_TYPE_MASK == SOCK_STREAM;
                let is_tcp = is_stream && matches!(third, 0 | IPPROTO_TCP);
                let end = match first {
                    AF_INET | AF_INET6 if is_tcp => self.new_connection(),
                    _ => End::Socket(0),
                };
                self.set(returned, Opening { end, is_direct: false });
            }
            sys::__NR_accept | sys::__NR_accept4 if is_done => {
                let accepted = match self.known((process, number(first))) {
                    Some(End::Tcp(_)) => Some(self.new_connection()),
                    Some(End::Socket(_)) => Some(End::Socket(0)),
                    Some(_) | None => None,
                };
                match accepted {
                    Some(end) => self.set(returned, Opening { end, is_direct: false }),
                    None => self.close(process, returned.1, returned.1),
                }
                return matches!(accepted, Some(End::Tcp(_)));
            }
            sys::__NR_dup | NR_DUP2 | sys::__NR_dup3 if is_done => {
                self.duplicate((process, number(first)), returned);
            }
            sys::__NR_fcntl if is_done && matches!(second, F_DUPFD | F_DUPFD_CLOEXEC) => {
                self.duplicate((process, number(first)), returned);
            }
            sys::__NR_setsockopt if is_done && (second, third) == (IPPROTO_TCP, TCP_ULP) => {
                let descriptor = (process, number(first));
                let Opening { end, is_direct } = self.at(descriptor);
                let end = match end {
                    End::Tcp(connection) | End::Tls(connection) => End::Tls(connection),
                    End::Unknown(_)
                    | End::Opened(_)
                    | End::File(_)
                    | End::Socket(_)
                    | End::Pipe(_) => End::Tls(self.serial()),
                };
                self.set(descriptor, Opening { end, is_direct });
            }
            // /proc does not tell a TCP socket that is not connected yet.
            sys::__NR_connect => {
                if let Some(End::Socket(_)) = self.known((process, number(first))) {
                    self.close(process, number(first), number(first));
                }
            }
            _ => {}
        }
        false
    }

    fn open(&mut self, descriptor: Descriptor, is_direct: bool) {
        self.serials += 1;
        self.set(descriptor, Opening { end: End::Opened(self.serials), is_direct });
    }

    fn new_connection(&mut self) -> End {
        End::Tcp(self.serial())
    }

    fn serial(&mut self) -> Connection {
        self.serials += 1;
        Connection::New(self.serials)
    }

    fn duplicate(&mut self, from: Descriptor, to: Descriptor) {
        let opening = self.at(from);
        self.set(to, opening);
    }

    fn close(&mut self, process: u32, first: u64, last: u64) {
        if let Some(table) = self.tables.get_mut(&process) {
            table.retain(|number, _| !(first..=last).contains(number));
        }
    }
}
