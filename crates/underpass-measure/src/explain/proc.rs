//! What /proc tells of a process: its parent, its program, its mappings, descriptors and mounts.
//!
//! Reading is pure here: text in, values out; a line that cannot be read is left out, since a
//! later kernel may add some.
//!
//! Source: proc_pid_stat(5), proc_pid_status(5), proc_pid_task(5), proc_pid_maps(5),
//! proc_pid_mountinfo(5), proc_pid_fd(5).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::PathBuf;
use std::str::FromStr;

use crate::evidence::FileId;
use crate::explain::context::Mapping;

/// Libraries that encrypt in user space.
const TLS_LIBRARIES: [&str; 5] =
    ["libssl.so", "libssl3.so", "libgnutls.so", "libmbedtls.so", "_rustls"];

/// linux/sched.h.
const PF_KTHREAD: u32 = 0x0020_0000;

/// A line of `maps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) is_executable: bool,
    /// The file it shows and its path, if it shows one.
    pub(crate) file: Option<(FileId, PathBuf)>,
}

/// A file of a process, if it can be read. A program's name, and a path, may be of any bytes.
pub(crate) fn text(process: u32, name: &str) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{process}/{name}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// This process's number as /proc shows it: that of the PID namespace in which it was mounted.
pub(crate) fn own_number() -> Option<u32> {
    std::fs::read_link("/proc/self").ok()?.to_str()?.parse().ok()
}

/// The numbers among the names in a directory; none if it cannot be read.
pub(crate) fn numbers<N: FromStr>(directory: &str) -> impl Iterator<Item = N> + use<N> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Where the descriptors of a process lead, and what is there if that is a path.
pub(crate) fn descriptors(process: u32) -> impl Iterator<Item = (PathBuf, Option<Metadata>)> {
    let entries = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_path = target.is_absolute();
        let metadata = is_path.then(|| std::fs::metadata(entry.path()).ok()).flatten();
        Some((target, metadata))
    })
}

/// What `stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) parent: u32,
    /// Whether it is of the kernel's own, without files.
    pub(crate) is_of_kernel: bool,
    /// When it began, in ticks since the machine did: with the number, it is that of one process.
    pub(crate) began: u64,
    /// Whether its first thread has ended.
    has_ended: bool,
}

/// Every process, by number.
pub(crate) fn all() -> BTreeMap<u32, Status> {
    let process = |process: u32| Some((process, status(process)?));
    numbers("/proc").filter_map(process).collect()
}

/// The status of a process.
pub(crate) fn status(process: u32) -> Option<Status> {
    status_in(&text(process, "stat")?)
}

/// Reads `stat` from behind the name, which may hold blanks and brackets.
fn status_in(stat: &str) -> Option<Status> {
    let (_, after) = stat.rsplit_once(") ")?;
    let mut fields = after.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(4)?.parse().ok()?;
    let began = fields.nth(12)?.parse().ok()?;
    let has_ended = matches!(state, "Z" | "X");
    Some(Status { parent, is_of_kernel: flags & PF_KTHREAD != 0, began, has_ended })
}

/// A process and all that descend from it.
pub(crate) fn family(process: u32, all: &BTreeMap<u32, Status>) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([process]);
    loop {
        let children = all.iter().filter(|(_, status)| family.contains(&status.parent));
        let more: Vec<u32> =
            children.map(|(child, _)| *child).filter(|child| !family.contains(child)).collect();
        if more.is_empty() {
            return family;
        }
        family.extend(more);
    }
}

/// Whether a process exists and is more than a status that its parent has not asked for.
pub(crate) fn is_running(process: u32) -> bool {
    status(process).is_some_and(|status| is_there(process, status))
}

/// The same of one whose status is known.
pub(crate) fn is_there(process: u32, status: Status) -> bool {
    // The others of its threads may outlive the first.
    !status.has_ended || threads(process).any(|thread| is_thread_running(process, thread))
}

/// The threads of a process; none if it is gone.
pub(crate) fn threads(process: u32) -> impl Iterator<Item = u32> {
    numbers(&format!("/proc/{process}/task"))
}

fn is_thread_running(process: u32, thread: u32) -> bool {
    let stat = text(process, &format!("task/{thread}/stat"));
    stat.as_deref().and_then(status_in).is_some_and(|status| !status.has_ended)
}

/// The process that a number is of: itself, or that of which it is a thread.
pub(crate) fn process_of(number: u32) -> Option<u32> {
    let status = text(number, "status")?;
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    process.trim().parse().ok()
}

/// Reads `maps`.
pub(crate) fn areas(maps: &str) -> Vec<Area> {
    maps.lines().filter_map(area).collect()
}

fn area(line: &str) -> Option<Area> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let _offset = fields.next()?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let inode = fields.next()?.parse().ok()?;
    let path = fields.next().unwrap_or("").trim_start();
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    let device = |text| u32::from_str_radix(text, 16).ok();
    let key = FileId::regular(device(major)?, device(minor)?, inode);
    Some(Area {
        start: hexadecimal(start)?,
        end: hexadecimal(end)?,
        is_executable: permissions.contains('x'),
        file: (inode != 0 && path.starts_with('/')).then(|| (key, path.into())),
    })
}

/// Mappings of files that are not part of the program: of none of them a page may be executed.
pub(crate) fn payload(areas: &[Area]) -> Vec<Mapping> {
    let program: BTreeSet<FileId> = areas
        .iter()
        .filter(|area| area.is_executable)
        .filter_map(|area| area.file.as_ref().map(|(file, _)| *file))
        .collect();
    let mapping = |area: &Area| {
        let (file, _) = area.file.as_ref()?;
        let mapping = Mapping { start: area.start, end: area.end, file: *file };
        (!program.contains(file)).then_some(mapping)
    };
    areas.iter().filter_map(mapping).collect()
}

/// The name of the first library that encrypts.
pub(crate) fn tls_library(areas: &[Area]) -> Option<String> {
    let names = areas.iter().filter_map(|area| {
        let (_, path) = area.file.as_ref()?;
        path.file_name()?.to_str()
    });
    let mut libraries =
        names.filter(|name| TLS_LIBRARIES.iter().any(|library| name.contains(library)));
    libraries.next().map(str::to_owned)
}

/// Types of file systems by device.
pub(crate) fn file_systems(mountinfo: &str) -> BTreeMap<(u32, u32), String> {
    let file_system = |line: &str| {
        let (mount, about) = line.split_once(" - ")?;
        let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
        let name = about.split(' ').next()?.to_owned();
        Some(((major.parse().ok()?, minor.parse().ok()?), name))
    };
    mountinfo.lines().filter_map(file_system).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c0a00000-55d0c0a28000 r--p 00000000 08:01 1234                       /usr/sbin/nginx
55d0c0a28000-55d0c0b00000 r-xp 00028000 08:01 1234                       /usr/sbin/nginx
55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0010000000 r--s 00000000 103:0a 99                        /srv/a file.bin
7f0020000000-7f0020001000 r-xp 00000000 08:01 77                         /lib/libssl.so.3
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn a_process_is_there_whatever_bytes_its_name_has() {
        use std::process::{Command, Stdio};
        let name = "printf '\\377) Z' > /proc/$$/comm; echo; read end";
        let mut child = Command::new("sh")
            .args(["-c", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        let process = child.id();
        assert!(is_running(process), "{:?}", text(process, "stat"));
        assert_eq!(all()[&process].parent, std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_running(process));
    }

    #[test]
    fn payload_is_what_is_mapped_and_not_executed() {
        let areas = areas(MAPS);
        assert_eq!(areas.len(), 6);
        let file = FileId::regular(0x103, 10, 99);
        let expected = Mapping { start: 0x7f00_0000_0000, end: 0x7f00_1000_0000, file };
        assert_eq!(payload(&areas), [expected]);
        assert_eq!(areas[3].file, Some((file, "/srv/a file.bin".into())));
        assert_eq!(tls_library(&areas).as_deref(), Some("libssl.so.3"));
        assert_eq!(areas[2].file, None);
    }

    #[test]
    fn a_status_is_read_behind_a_name_with_blanks_and_brackets() {
        let after = "34 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let status = Status { parent: 34, is_of_kernel: false, began: 98_765, has_ended: false };
        assert_eq!(status_in(&format!("12 (a) S 1 (b c) S {after}")), Some(status));
        let ended = Status { has_ended: true, ..status };
        assert_eq!(status_in(&format!("12 (x) Z {after}")), Some(ended));
        assert_eq!(status_in("12 (x) S 34"), None);
        assert_eq!(status_in("nonsense"), None);
    }

    #[test]
    fn a_family_is_all_generations_and_nobody_else() {
        let child = |parent| Status { parent, is_of_kernel: false, began: 0, has_ended: false };
        let all = [(2, 1), (3, 2), (4, 3), (9, 1), (10, 9)];
        let all = all.map(|(process, parent)| (process, child(parent))).into();
        assert_eq!(family(2, &all), [2, 3, 4].into());
        assert_eq!(family(77, &all), [77].into());
    }

    #[test]
    fn mounts_tell_the_type_of_a_device() {
        let text = "36 35 98:0 /mnt1 /mnt 2 rw,noatime master:1 - ext3 /dev/root rw\n\
                    25 1 0:23 / /proc rw - proc proc rw\nbroken\n";
        let expected = [((98, 0), "ext3".into()), ((0, 23), "proc".into())].into();
        assert_eq!(file_systems(text), expected);
    }
}
