//! Whether the size of a file says how much can be read of it.
//!
//! On file systems whose files are made up as they are read it does not: procfs says 0, sysfs 4096,
//! a message queue 80. FUSE says what its server says, and with direct I/O reads whatever the
//! server sends.
//!
//! Source: statfs(2); mq_overview(7); the kernel's Documentation/filesystems/fuse-io.rst.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// procfs, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, mqueue, configfs, bpf, selinux,
/// smack, binfmt_misc, resctrl, xenfs.
const SIZELESS: [i64; 15] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x1980_0202,
    0x6265_6570,
    0xcafe_4a11,
    0xf97c_ff8c,
    0x4341_5d53,
    0x4249_4e4d,
    0x0765_5821,
    0xabba_1974,
];

/// statfs(2), `FUSE_SUPER_MAGIC`.
const FUSE: i64 = 0x6573_5546;

/// Whether a regular file has `len` bytes to read, as stat(2) says.
pub(crate) fn is_true_size(file: &File, len: u64) -> bool {
    if len == 0 {
        return false;
    }
    let Ok(system) = rustix::fs::fstatfs(file) else { return true };
    #[expect(clippy::useless_conversion, reason = "its type is the architecture's")]
    let system = i64::from(system.f_type);
    !SIZELESS.contains(&system) && (system != FUSE || ends_at(file, len))
}

/// Whether there is a last byte, and none after it. What cannot be read is another's to report.
fn ends_at(file: &File, len: u64) -> bool {
    let bytes = |at| file.read_at(&mut [0], at).ok();
    bytes(len - 1).is_none_or(|n| n == 1) && bytes(len).is_none_or(|n| n == 0)
}
