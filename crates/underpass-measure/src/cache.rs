//! The page cache of one file, brought into a state and asked about it.
//!
//! Something else on the machine may take pages out at any time, and mapped or dirty pages do not
//! leave on advice: the state is checked with cachestat(2) wherever the kernel has it, and taken
//! on trust where it has not.
//!
//! Source: posix_fadvise(2), statfs(2); net/core/skbuff.c (`skb_attempt_defer_free`),
//! net/core/dev.c (`net_rx_action`); `Documentation/admin-guide/mm/damon/reclaim.rst`.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::fs::Advice;
use rustix::io::Errno;
use underpass_sys::cachestat::{self, Pages};

use crate::affinity::{own_processors, pin};
use crate::terms::Cache;

/// Smallest unit in which the page cache holds a file.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// Tries before filling is given up.
const TRIES: usize = 5;

/// How long pages may take to leave, and when they are asked again.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// File systems in memory (statfs(2)), which hold a file in the page cache alone.
pub(crate) const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

const BUFFER_BYTES: usize = 256 << 10;

/// What the page cache holds of the file's first `bytes`; `None` before Linux 6.5.
pub(crate) fn pages(file: &File, bytes: u64) -> io::Result<Option<Pages>> {
    match cachestat::pages(file.as_fd(), 0, bytes) {
        Ok(pages) => Ok(Some(pages)),
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Brings the first `bytes` of a file into a state; otherwise says why that is not possible.
pub(crate) fn bring(file: &File, bytes: u64, state: Cache) -> io::Result<Result<(), String>> {
    match state {
        Cache::Warm => fill(file, bytes),
        Cache::Cold => empty(file, bytes),
    }
}

/// Reads the first `bytes` until the cache holds all of them; otherwise says why it does not.
pub(crate) fn fill(file: &File, bytes: u64) -> io::Result<Result<(), String>> {
    let wanted = bytes.div_ceil(PAGE_BYTES);
    let mut held = 0;
    for _ in 0..TRIES {
        held = pages(file, bytes)?.map_or(0, |pages| pages.cached);
        if held == wanted {
            return Ok(Ok(()));
        }
        read_through(file, bytes)?;
        if pages(file, bytes)?.is_none() {
            return Ok(Ok(()));
        }
    }
    Ok(Err(format!("the page cache keeps {held} of the file's {wanted} pages")))
}

/// Takes the first `bytes` out of the cache; otherwise says why they stay.
pub(crate) fn empty(file: &File, bytes: u64) -> io::Result<Result<(), String>> {
    if let Some(name) = file_system_in_memory(file)? {
        return Ok(Err(format!("its pages stay in the page cache: it is on {name}, in memory")));
    }
    let until = Instant::now() + PATIENCE;
    loop {
        rustix::fs::fsync(file)?;
        rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?;
        let held = match pages(file, bytes)? {
            Some(Pages { cached: 0, .. }) | None => return Ok(Ok(())),
            Some(pages) => pages.cached,
        };
        if Instant::now() > until {
            return Ok(Err(format!(
                "{held} pages stay in the page cache: somebody has them mapped, or pinned, as a \
                 packet under way does"
            )));
        }
        for processor in own_processors() {
            // Without a network the pages stay, and that is said.
            std::thread::scope(|scope| scope.spawn(|| receive(processor)).join().is_ok());
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Receives a packet on a processor.
///
/// One that was read on another processor goes back to where it was made, and is freed there when
/// that receives the next, however late: until then it holds the pages that it lent, also when
/// both of its sockets and their processes are gone.
fn receive(processor: usize) -> io::Result<()> {
    pin(processor)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.send_to(&[0], socket.local_addr()?).map(drop)
}

/// The name of the file system that a file is on.
pub(crate) fn file_system(file: &File) -> io::Result<String> {
    let magic = rustix::fs::fstatfs(file)?.f_type;
    let known = [
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x8584_58f6, "ramfs"),
        (0x794c_7630, "overlayfs"),
        (0x2fc1_2fc1, "zfs"),
        (0xf2f5_2010, "f2fs"),
        (0x6969, "nfs"),
        (0x6573_5546, "fuse"),
    ];
    let name = known.iter().find(|(number, _)| *number == magic);
    Ok(name.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned()))
}

/// The same, if it is in memory.
pub(crate) fn file_system_in_memory(file: &File) -> io::Result<Option<String>> {
    Ok(Some(file_system(file)?).filter(|name| IN_MEMORY.contains(&name.as_str())))
}

fn read_through(file: &File, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    while at < bytes {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(()),
            n => at += n as u64,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_emptied_out_of_the_cache_and_filled_in_again() {
        let file = tempfile::tempfile_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
        file.write_all_at(&vec![7; 300_000], 0).unwrap();
        assert_eq!(empty(&file, 300_000).unwrap(), Ok(()));
        let cached = |file| pages(file, 300_000).unwrap().map(|pages| pages.cached);
        assert!(matches!(cached(&file), Some(0) | None));
        assert_eq!(fill(&file, 300_000).unwrap(), Ok(()));
        assert!(matches!(cached(&file), Some(74) | None), "{:?}", cached(&file));
    }
}
