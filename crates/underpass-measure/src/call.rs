//! What system calls do with bytes: take them from a descriptor into memory, give them from
//! memory to a descriptor, or pass them from one descriptor to another; and by which arguments.
//!
//! The one table of them: the programs in the kernel are given it, too.
//!
//! Source: the calls' pages in section 2 of the manual.

use linux_raw_sys::general as sys;

/// What a call does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// From a descriptor into the process's memory.
    Take,
    /// From the process's memory to a descriptor.
    Give,
    /// From one descriptor to another.
    Pass,
    /// Bytes move, but neither their number nor their descriptors are seen.
    Unmeasured,
}

/// An argument of a call, or what it returned; as in probe.bpf.c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    First,
    Second,
    Third,
    Fourth,
    Returned = 7,
}

/// Where the bytes are that a call gives to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Buffer {
    None,
    /// At the second argument.
    Plain,
    /// In the array of iovec(3type) at the second argument, as many as the third says.
    Vector,
    /// In the msghdr(3type) at the second argument.
    Message,
}

struct Call {
    number: u32,
    name: &'static str,
    /// None for those that only tell of a socket or a mapping.
    role: Option<Role>,
    source: Argument,
    target: Argument,
    flags: Argument,
    buffer: Buffer,
    /// Whether it returns a number of bytes.
    is_counted: bool,
    kind: Kind,
}

/// Calls that are more than they seem; as in probe.bpf.c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ordinary,
    /// It also asks, of a page, whether it is there.
    Probing,
    /// It maps the file of its fifth argument.
    Mapping,
    /// It takes away what is at its first argument.
    Unmapping,
    /// It may send, and does not say how much.
    Unmeasured,
}

const fn call(number: u32, name: &'static str, role: Role) -> Call {
    let (source, target, flags) = (Argument::None, Argument::None, Argument::None);
    let is_counted = !matches!(role, Role::Unmeasured);
    let role = Some(role);
    let buffer = Buffer::None;
    let kind = if is_counted { Kind::Ordinary } else { Kind::Unmeasured };
    Call { number, name, role, source, target, flags, buffer, is_counted, kind }
}

const fn naming(number: u32, name: &'static str) -> Call {
    Call { role: None, kind: Kind::Ordinary, ..call(number, name, Role::Unmeasured) }
}

impl Call {
    const fn from(mut self, source: Argument) -> Self {
        self.source = source;
        self
    }

    const fn to(mut self, target: Argument) -> Self {
        self.target = target;
        self
    }

    const fn of(mut self, buffer: Buffer) -> Self {
        self.buffer = buffer;
        self
    }

    const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    const fn flagged(mut self, flags: Argument) -> Self {
        self.flags = flags;
        self
    }
}

use Argument::{First, Fourth, Returned, Second, Third};
use Buffer::{Message, Plain, Vector};

/// The calls that matter. What is neither read from nor written to is only counted.
#[rustfmt::skip]
const TABLE: [Call; 29] = [
    call(sys::__NR_read, "read", Role::Take).from(First),
    call(sys::__NR_pread64, "pread64", Role::Take).from(First),
    call(sys::__NR_readv, "readv", Role::Take).from(First),
    call(sys::__NR_preadv, "preadv", Role::Take).from(First),
    call(sys::__NR_preadv2, "preadv2", Role::Take).from(First).kind(Kind::Probing),
    call(sys::__NR_recvfrom, "recvfrom", Role::Take).from(First),
    call(sys::__NR_recvmsg, "recvmsg", Role::Take).from(First),
    // They return a number of messages.
    call(sys::__NR_recvmmsg, "recvmmsg", Role::Unmeasured).from(First),
    call(sys::__NR_sendmmsg, "sendmmsg", Role::Unmeasured).to(First),
    call(sys::__NR_write, "write", Role::Give).to(First).of(Plain),
    call(sys::__NR_pwrite64, "pwrite64", Role::Give).to(First).of(Plain),
    call(sys::__NR_writev, "writev", Role::Give).to(First).of(Vector),
    call(sys::__NR_pwritev, "pwritev", Role::Give).to(First).of(Vector),
    call(sys::__NR_pwritev2, "pwritev2", Role::Give).to(First).of(Vector),
    call(sys::__NR_sendto, "sendto", Role::Give).to(First).of(Plain).flagged(Fourth),
    call(sys::__NR_sendmsg, "sendmsg", Role::Give).to(First).of(Message).flagged(Third),
    call(sys::__NR_sendfile, "sendfile", Role::Pass).from(Second).to(First),
    call(sys::__NR_splice, "splice", Role::Pass).from(First).to(Third),
    call(sys::__NR_tee, "tee", Role::Pass).from(First).to(Second),
    call(sys::__NR_copy_file_range, "copy_file_range", Role::Pass).from(First).to(Third),
    // vmsplice(2) lends memory to a pipe without copying it.
    call(sys::__NR_vmsplice, "vmsplice", Role::Pass).to(First).of(Vector),
    call(sys::__NR_io_uring_setup, "io_uring_setup", Role::Unmeasured),
    call(sys::__NR_io_uring_enter, "io_uring_enter", Role::Unmeasured),
    call(sys::__NR_io_uring_register, "io_uring_register", Role::Unmeasured),
    naming(sys::__NR_mmap, "mmap").kind(Kind::Mapping),
    naming(sys::__NR_munmap, "munmap").kind(Kind::Unmapping),
    naming(sys::__NR_connect, "connect").to(First),
    // What they return is the descriptor.
    naming(sys::__NR_accept, "accept").from(Returned),
    naming(sys::__NR_accept4, "accept4").from(Returned),
];

/// Numbers that the programs in the kernel have room for, and bytes for each.
pub(crate) const SHAPES: usize = 512;
const SHAPE: usize = 8;

/// The table as the programs in the kernel have it: `struct shape` of probe.bpf.c, by number.
pub(crate) fn shapes() -> [u8; SHAPES * SHAPE] {
    let mut bytes = [0; SHAPES * SHAPE];
    for call in &TABLE {
        let at = call.number as usize * SHAPE;
        let shape = [
            call.source as u8,
            call.target as u8,
            call.flags as u8,
            call.buffer as u8,
            call.is_counted.into(),
            call.kind as u8,
        ];
        bytes[at..at + shape.len()].copy_from_slice(&shape);
    }
    bytes
}

fn known(number: u32) -> Option<&'static Call> {
    TABLE.iter().find(|call| call.number == number)
}

/// What the call of a number does, if it matters here.
pub(crate) fn role(number: u32) -> Option<Role> {
    known(number).and_then(|call| call.role)
}

/// The descriptors that a call joins, and the address of what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: Option<u64>,
    pub(crate) target: Option<u64>,
    pub(crate) buffer: Option<u64>,
}

/// Those of a call that moves bytes, which has not returned.
pub(crate) fn ends(number: u32, arguments: &[u64]) -> Option<Ends> {
    let call = known(number).filter(|call| call.role.is_some())?;
    let argument = |which: Argument| arguments.get((which as usize).checked_sub(1)?).copied();
    Some(Ends {
        source: argument(call.source),
        target: argument(call.target),
        buffer: if call.buffer == Plain { argument(Second) } else { None },
    })
}

/// The name of a call, or its number.
pub(crate) fn name(number: u32) -> String {
    known(number).map_or_else(|| format!("call {number}"), |call| call.name.to_owned())
}

/// Whether a call is one of io_uring's.
pub(crate) fn is_uring(number: u32) -> bool {
    [sys::__NR_io_uring_setup, sys::__NR_io_uring_enter, sys::__NR_io_uring_register]
        .contains(&number)
}

/// Whether a call never shares extents: sendfile and splice fill the page cache of the target.
pub(crate) fn always_copies_to_files(number: u32) -> bool {
    [sys::__NR_sendfile, sys::__NR_splice].contains(&number)
}

/// Whether a call is copy_file_range.
pub(crate) fn is_copy_file_range(number: u32) -> bool {
    number == sys::__NR_copy_file_range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_a_name_and_a_role_or_its_number() {
        assert_eq!(
            (name(sys::__NR_sendfile).as_str(), role(sys::__NR_sendfile)),
            ("sendfile", Some(Role::Pass))
        );
        assert_eq!((name(9_999).as_str(), role(9_999)), ("call 9999", None));
        assert_eq!(role(sys::__NR_sendmmsg), Some(Role::Unmeasured));
    }

    #[test]
    fn no_call_stands_twice_in_the_table() {
        let mut numbers: Vec<u32> = TABLE.iter().map(|call| call.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), TABLE.len());
        assert!(numbers.iter().all(|&number| (number as usize) < SHAPES));
    }
}
