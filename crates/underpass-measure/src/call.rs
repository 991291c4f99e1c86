//! What system calls do with bytes: take them from a descriptor into memory, give them from
//! memory to a descriptor, or pass them from one descriptor to another.
//!
//! recvmmsg and sendmmsg return messages and not bytes, so what they moved is not known.
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

/// The calls that matter: number, name, role.
const TABLE: [(u32, &str, Role); 24] = [
    (sys::__NR_read, "read", Role::Take),
    (sys::__NR_pread64, "pread64", Role::Take),
    (sys::__NR_readv, "readv", Role::Take),
    (sys::__NR_preadv, "preadv", Role::Take),
    (sys::__NR_preadv2, "preadv2", Role::Take),
    (sys::__NR_recvfrom, "recvfrom", Role::Take),
    (sys::__NR_recvmsg, "recvmsg", Role::Take),
    (sys::__NR_recvmmsg, "recvmmsg", Role::Unmeasured),
    (sys::__NR_write, "write", Role::Give),
    (sys::__NR_pwrite64, "pwrite64", Role::Give),
    (sys::__NR_writev, "writev", Role::Give),
    (sys::__NR_pwritev, "pwritev", Role::Give),
    (sys::__NR_pwritev2, "pwritev2", Role::Give),
    (sys::__NR_sendto, "sendto", Role::Give),
    (sys::__NR_sendmsg, "sendmsg", Role::Give),
    (sys::__NR_sendmmsg, "sendmmsg", Role::Unmeasured),
    (sys::__NR_sendfile, "sendfile", Role::Pass),
    (sys::__NR_splice, "splice", Role::Pass),
    (sys::__NR_tee, "tee", Role::Pass),
    (sys::__NR_copy_file_range, "copy_file_range", Role::Pass),
    // vmsplice(2) lends memory to a pipe without copying it.
    (sys::__NR_vmsplice, "vmsplice", Role::Pass),
    (sys::__NR_io_uring_setup, "io_uring_setup", Role::Unmeasured),
    (sys::__NR_io_uring_enter, "io_uring_enter", Role::Unmeasured),
    (sys::__NR_io_uring_register, "io_uring_register", Role::Unmeasured),
];

/// What the call of a number does, if it matters here.
pub(crate) fn role(number: u32) -> Option<Role> {
    TABLE.iter().find(|(is, ..)| *is == number).map(|(_, _, role)| *role)
}

/// The name of a call, or its number.
pub(crate) fn name(number: u32) -> String {
    let known = TABLE.iter().find(|(is, ..)| *is == number);
    known.map_or_else(|| format!("call {number}"), |(_, name, _)| (*name).to_owned())
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
        let mut numbers: Vec<u32> = TABLE.iter().map(|(number, ..)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), TABLE.len());
    }
}
