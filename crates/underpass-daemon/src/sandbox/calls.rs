//! The system calls of a server that runs: those of its files and sockets, of memory, threads and
//! time. It can start no program and no process, and has none of the calls that a kernel has for
//! its operator.
//!
//! What is not listed is answered as by a kernel that has no such call (ENOSYS): the C libraries
//! know how to do without, so a newer one does not fail for its newer calls. For the same reason
//! the list is longer than what one of them makes. A call whose arguments are not looked at costs
//! no program: the kernel keeps those in a bitmap (Linux 5.11).
//!
//! Source: seccomp(2); syscalls(2); clone(2); kernel/seccomp.c, `seccomp_cache_prepare`.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, apply_filter_all_threads,
};

/// The same number everywhere; libc has no name for it.
const SYS_CACHESTAT: c_long = 451;

/// prctl(2): names of threads and of memory, and what the kernel told the program at its start.
const PRCTL: &[i32] = &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, PR_GET_AUXV];

/// Linux 6.4; libc has no name for it.
const PR_GET_AUXV: i32 = 0x4155_5856;

const FILES: &[c_long] = &[
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_tee,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_write,
    libc::SYS_writev,
    SYS_CACHESTAT,
];

const SOCKETS_AND_EVENTS: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
];

const MEMORY_AND_THREADS: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_get_robust_list,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munmap,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_tkill,
];

const TIME_AND_SELF: &[c_long] = &[
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_nanosleep,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_uname,
];

/// Older calls that newer architectures lack.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_getpgrp,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];

#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Calls that are made with some arguments only: one of the rules has to hold.
fn with_arguments() -> Result<Vec<(c_long, Vec<SeccompRule>)>, BackendError> {
    let (write, execute) = (libc::PROT_WRITE, libc::PROT_EXEC);
    Ok(vec![
        // Threads, and no processes. The flags of clone3(2) are where no filter sees them.
        (libc::SYS_clone, vec![rule(0, all_of(libc::CLONE_THREAD))?]),
        // Neither put characters into a terminal nor paste them.
        (libc::SYS_ioctl, vec![and(&[is_not(1, libc::TIOCSTI)?, is_not(1, libc::TIOCLINUX)?])?]),
        // Memory is written or executed; what was written is never executed. A name service of
        // the C library may be a library to be loaded.
        (libc::SYS_mmap, vec![rule(2, none_of(write))?, rule(2, none_of(execute))?]),
        (libc::SYS_mprotect, vec![rule(2, none_of(execute))?]),
        (libc::SYS_prctl, any(0, PRCTL)?),
        // Of this process.
        (libc::SYS_prlimit64, any(0, &[0])?),
        (libc::SYS_socket, any(0, &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6])?),
        (libc::SYS_socketpair, any(0, &[libc::AF_UNIX])?),
    ])
}

/// A comparison of the low half of an argument with a number.
type Comparison = (SeccompCmpOp, u64);

fn bits(value: impl Into<i64>) -> u64 {
    value.into().cast_unsigned()
}

fn all_of(mask: i32) -> Comparison {
    (SeccompCmpOp::MaskedEq(bits(mask)), bits(mask))
}

fn none_of(mask: i32) -> Comparison {
    (SeccompCmpOp::MaskedEq(bits(mask)), 0)
}

fn condition(
    argument: u8,
    (operator, value): Comparison,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn is_not(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    condition(argument, (SeccompCmpOp::Ne, value))
}

fn and(conditions: &[SeccompCondition]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.to_vec())
}

fn rule(argument: u8, comparison: Comparison) -> Result<SeccompRule, BackendError> {
    and(&[condition(argument, comparison)?])
}

fn any(argument: u8, values: &[i32]) -> Result<Vec<SeccompRule>, BackendError> {
    values.iter().map(|&value| rule(argument, (SeccompCmpOp::Eq, bits(value)))).collect()
}

fn program() -> Result<BpfProgram, BackendError> {
    let groups = [FILES, SOCKETS_AND_EVENTS, MEMORY_AND_THREADS, TIME_AND_SELF, OLDER];
    let calls = groups.into_iter().flatten().map(|&call| (call, Vec::new()));
    let calls: BTreeMap<_, _> = calls.chain(with_arguments()?).collect();
    let no_such_call = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(calls, no_such_call, SeccompAction::Allow, architecture)?.try_into()
}

/// Restricts all threads of this process, and those to come.
pub(super) fn restrict() -> Result<(), Error> {
    apply_filter_all_threads(&program()?)
}

#[cfg(test)]
mod tests;
