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

/// Where the bytes are that a call gives to its target; as in probe.bpf.c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Buffer {
    Nowhere,
    /// At the second argument.
    Plain,
    /// In the array of iovec(3type) at the second argument, as many as the third says.
    Vector,
    /// In the msghdr(3type) at the second argument.
    Message,
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
    /// It returns how many operations it began, which may send.
    Submitting,
}

/// A call: number, name; role, unless it only tells of a socket or a mapping; the arguments, from
/// 1, that are its source, its target and its flags, with 0 for none and [`RETURNED`] for what it
/// returns; its buffer; its kind.
struct Call(u32, &'static str, Option<Role>, [u8; 3], Buffer, Kind);

/// In place of an argument.
const RETURNED: u8 = 7;

use Buffer::{Message, Nowhere, Plain, Vector};
use Kind::{Mapping, Ordinary, Probing, Submitting, Unmapping};
use Role::{Give, Pass, Take, Unmeasured};

/// The calls that matter. What is neither read from nor written to is only counted.
#[rustfmt::skip]
const TABLE: [Call; 29] = [
    Call(sys::__NR_read, "read", Some(Take), [1, 0, 0], Nowhere, Ordinary),
    Call(sys::__NR_pread64, "pread64", Some(Take), [1, 0, 0], Nowhere, Ordinary),
    Call(sys::__NR_readv, "readv", Some(Take), [1, 0, 0], Nowhere, Ordinary),
    Call(sys::__NR_preadv, "preadv", Some(Take), [1, 0, 0], Nowhere, Ordinary),
    Call(sys::__NR_preadv2, "preadv2", Some(Take), [1, 0, 0], Nowhere, Probing),
    Call(sys::__NR_recvfrom, "recvfrom", Some(Take), [1, 0, 0], Nowhere, Ordinary),
    Call(sys::__NR_recvmsg, "recvmsg", Some(Take), [1, 0, 0], Nowhere, Ordinary),
    // They return a number of messages.
    Call(sys::__NR_recvmmsg, "recvmmsg", Some(Unmeasured), [1, 0, 0], Nowhere, Ordinary),
    Call(sys::__NR_sendmmsg, "sendmmsg", Some(Unmeasured), [0, 1, 0], Nowhere, Ordinary),
    Call(sys::__NR_write, "write", Some(Give), [0, 1, 0], Plain, Ordinary),
    Call(sys::__NR_pwrite64, "pwrite64", Some(Give), [0, 1, 0], Plain, Ordinary),
    Call(sys::__NR_writev, "writev", Some(Give), [0, 1, 0], Vector, Ordinary),
    Call(sys::__NR_pwritev, "pwritev", Some(Give), [0, 1, 0], Vector, Ordinary),
    Call(sys::__NR_pwritev2, "pwritev2", Some(Give), [0, 1, 0], Vector, Ordinary),
    Call(sys::__NR_sendto, "sendto", Some(Give), [0, 1, 4], Plain, Ordinary),
    Call(sys::__NR_sendmsg, "sendmsg", Some(Give), [0, 1, 3], Message, Ordinary),
    Call(sys::__NR_sendfile, "sendfile", Some(Pass), [2, 1, 0], Nowhere, Ordinary),
    Call(sys::__NR_splice, "splice", Some(Pass), [1, 3, 0], Nowhere, Ordinary),
    Call(sys::__NR_tee, "tee", Some(Pass), [1, 2, 0], Nowhere, Ordinary),
    Call(sys::__NR_copy_file_range, "copy_file_range", Some(Pass), [1, 3, 0], Nowhere, Ordinary),
    // vmsplice(2) lends memory to a pipe without copying it.
    Call(sys::__NR_vmsplice, "vmsplice", Some(Pass), [0, 1, 0], Vector, Ordinary),
    Call(sys::__NR_io_uring_setup, "io_uring_setup", Some(Unmeasured), [0; 3], Nowhere, Ordinary),
    Call(sys::__NR_io_uring_enter, "io_uring_enter", Some(Unmeasured), [0; 3], Nowhere, Submitting),
    Call(sys::__NR_io_uring_register, "io_uring_register", Some(Unmeasured), [0; 3], Nowhere,
        Ordinary),
    Call(sys::__NR_mmap, "mmap", None, [0; 3], Nowhere, Mapping),
    Call(sys::__NR_munmap, "munmap", None, [0; 3], Nowhere, Unmapping),
    Call(sys::__NR_connect, "connect", None, [0, 1, 0], Nowhere, Ordinary),
    // What they return is the descriptor.
    Call(sys::__NR_accept, "accept", None, [RETURNED, 0, 0], Nowhere, Ordinary),
    Call(sys::__NR_accept4, "accept4", None, [RETURNED, 0, 0], Nowhere, Ordinary),
];

/// Numbers that the programs in the kernel have room for, and bytes for each.
pub(crate) const SHAPES: usize = 512;
const SHAPE: usize = 8;

/// The table as the programs in the kernel have it: `struct shape` of probe.bpf.c, by number.
pub(crate) fn shapes() -> [u8; SHAPES * SHAPE] {
    let mut bytes = [0; SHAPES * SHAPE];
    for Call(number, _, role, [source, target, flags], buffer, kind) in &TABLE {
        // Whether it returns a number of bytes.
        let is_counted = matches!(role, Some(Take | Give | Pass));
        let at = *number as usize * SHAPE;
        let shape = [*source, *target, *flags, *buffer as u8, is_counted.into(), *kind as u8];
        bytes[at..at + shape.len()].copy_from_slice(&shape);
    }
    bytes
}

fn known(number: u32) -> Option<&'static Call> {
    TABLE.iter().find(|call| call.0 == number)
}

/// What the call of a number does, if it matters here.
pub(crate) fn role(number: u32) -> Option<Role> {
    known(number)?.2
}

/// Of a call that moves bytes, and has not returned: the descriptors of its source and its target,
/// and the address of what it gives.
pub(crate) fn ends(number: u32, arguments: &[u64]) -> Option<[Option<u64>; 3]> {
    let Call(_, _, role, [source, target, _], buffer, _) = known(number)?;
    let argument = |which: u8| arguments.get(usize::from(which).checked_sub(1)?).copied();
    let buffer = if *buffer == Plain { argument(2) } else { None };
    role.map(|_| [argument(*source), argument(*target), buffer])
}

/// The name of a call, or its number.
pub(crate) fn name(number: u32) -> String {
    known(number).map_or_else(|| format!("call {number}"), |call| call.1.to_owned())
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
            ("sendfile", Some(Pass))
        );
        assert_eq!((name(9_999).as_str(), role(9_999)), ("call 9999", None));
        assert_eq!(role(sys::__NR_sendmmsg), Some(Unmeasured));
    }

    #[test]
    fn no_call_stands_twice_in_the_table() {
        let mut numbers: Vec<u32> = TABLE.iter().map(|call| call.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), TABLE.len());
        assert!(numbers.iter().all(|&number| (number as usize) < SHAPES));
    }
}
