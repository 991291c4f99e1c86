//! What /proc tells of a process: its parent, its program, its mappings, descriptors and mounts.
//!
//! A process is looked at through its directory, which is held: when it has ended nothing can be
//! read there, even if another has its number.
//!
//! Parsing is pure: text in, values out; a line that cannot be read is left out, since a later
//! kernel may add some.
//!
//! Source: proc_pid_stat(5), proc_pid_status(5), proc_pid_task(5), proc_pid_maps(5),
//! proc_pid_mountinfo(5), proc_pid_fd(5).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, statat};

use crate::evidence::{FileId, FileKind};

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
    /// Whether it is shared and may be written.
    pub(crate) is_written: bool,
    /// The file it shows and its path, if it shows one.
    pub(crate) file: Option<(FileId, PathBuf)>,
}

/// A process, for as long as it is there.
#[derive(Debug)]
pub(crate) struct Proc {
    directory: OwnedFd,
    number: u32,
}

impl Proc {
    /// The one that has a number now, a thread's too.
    pub(crate) fn open(number: u32) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(format!("/proc/{number}"), flags, Mode::empty()).ok()?;
        Some(Self { directory, number })
    }

    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// A file of it, if that can be opened.
    pub(crate) fn file(&self, name: &str) -> Option<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Some(rustix::fs::openat(&self.directory, name, flags, Mode::empty()).ok()?.into())
    }

    /// The same as text. A program's name, and a path, may be of any bytes.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let mut bytes = Vec::new();
        self.file(name)?.read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Where a link of it leads.
    pub(crate) fn link(&self, name: &str) -> Option<PathBuf> {
        let target = rustix::fs::readlinkat(&self.directory, name, Vec::new()).ok()?;
        Some(OsString::from_vec(target.into_bytes()).into())
    }

    /// Its program's name for itself, of 15 bytes at most.
    pub(crate) fn name(&self) -> String {
        self.text("comm").unwrap_or_default().trim_end().to_owned()
    }

    pub(crate) fn status(&self) -> Option<Status> {
        status_in(&self.text("stat")?)
    }

    /// Whether it is more than a status that its parent has not asked for.
    pub(crate) fn is_there(&self, status: Status) -> bool {
        let is_running = |thread: u32| {
            let stat = self.text(&format!("task/{thread}/stat"));
            stat.as_deref().and_then(status_in).is_some_and(|status| !status.has_ended)
        };
        // The others of its threads may outlive the first.
        !status.has_ended || self.numbers("task").any(is_running)
    }

    /// The number of the process: its own, or that of which it is a thread.
    pub(crate) fn process(&self) -> Option<u32> {
        let status = self.text("status")?;
        status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
    }

    /// What a path beneath its directory leads to, and how long that is.
    pub(crate) fn at(&self, name: &str) -> Option<(FileId, u64)> {
        let stat = statat(&self.directory, name, AtFlags::empty()).ok()?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => FileKind::Regular,
            FileType::Socket => FileKind::Socket,
            FileType::Fifo => FileKind::Pipe,
            FileType::Directory
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Symlink
            | FileType::Unknown => FileKind::Other,
        };
        let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        let len = stat.st_size.cast_unsigned();
        Some((FileId { kind, major, minor, inode: stat.st_ino }, len))
    }

    /// Where its descriptors lead: a path, or a name in place of one such as `socket:[7]`; what it
    /// is, and how long.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (PathBuf, FileId, u64)> {
        self.numbers("fd").filter_map(|number| {
            let name = format!("fd/{number}");
            let (file, len) = self.at(&name)?;
            Some((self.link(&name)?, file, len))
        })
    }

    /// The numbers among the names in a directory of it.
    pub(crate) fn numbers(&self, directory: &str) -> impl Iterator<Item = u32> + use<> {
        let entries = self.file(directory).and_then(|directory| Dir::new(directory).ok());
        let entries = entries.into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
    }
}

/// This process's number as /proc shows it: that of the PID namespace in which it was mounted.
pub(crate) fn own_number() -> Option<u32> {
    std::fs::read_link("/proc/self").ok()?.to_str()?.parse().ok()
}

/// Every process, by number.
pub(crate) fn all() -> BTreeMap<u32, Status> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let process = |number: u32| Some((number, Proc::open(number)?.status()?));
    numbers.filter_map(process).collect()
}

/// The process of a number, if it is the one that began then and has not ended.
pub(crate) fn running(number: u32, began: u64) -> Option<Proc> {
    let proc = Proc::open(number)?;
    let status = proc.status()?;
    (status.began == began && proc.is_there(status)).then_some(proc)
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
        is_written: permissions.contains('w') && permissions.contains('s'),
        file: (inode != 0 && path.starts_with('/')).then(|| (key, path.into())),
    })
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

/// A line of `mountinfo`: the device, what of it is mounted, where, and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) device: (u32, u32),
    pub(crate) root: PathBuf,
    pub(crate) at: PathBuf,
    pub(crate) kind: String,
}

/// Reads `mountinfo`.
pub(crate) fn mounts(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ').skip(2);
    let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let mut path = || Some(PathBuf::from(OsString::from_vec(unescaped(fields.next()?))));
    let (root, at) = (path()?, path()?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount { device, root, at, kind: String::from_utf8_lossy(kind).into_owned() })
}

/// Blanks and the like are three octal digits behind a backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(&byte) = field.get(at) {
        let digits = field.get(at + 1..at + 4).filter(|_| byte == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 4 } else { 1 };
    }
    bytes
}

/// Types of file systems by device.
pub(crate) fn file_systems(mountinfo: &str) -> BTreeMap<(u32, u32), String> {
    mounts(mountinfo.as_bytes()).into_iter().map(|mount| (mount.device, mount.kind)).collect()
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
        Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        let process = child.id();
        let proc = Proc::open(process).unwrap();
        let status = proc.status().unwrap();
        assert!(proc.is_there(status), "{:?}", proc.text("stat"));
        assert_eq!(all()[&process].parent, std::process::id());
        assert!(running(process, status.began).is_some());
        assert!(running(process, status.began + 1).is_none(), "it is another one");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(running(process, status.began).is_none());
        // Its number may be another's by now, and its directory is not.
        assert_eq!((proc.status(), proc.text("comm")), (None, None));
    }

    #[test]
    fn this_process_shows_where_its_descriptors_lead_and_whose_a_thread_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let proc = Proc::open(std::process::id()).unwrap();
        let path = file.path().to_owned();
        let (_, found, len) = proc.descriptors().find(|(target, ..)| *target == path).unwrap();
        assert_eq!(found.kind, FileKind::Regular);
        assert_eq!(Some((found, len)), proc.at(path.to_str().unwrap()));
        let thread = rustix::thread::gettid().as_raw_pid().cast_unsigned();
        let thread = Proc::open(thread).unwrap();
        assert_eq!((thread.process(), proc.process()), (Some(proc.number()), Some(proc.number())));
        assert_eq!(thread.link("cwd"), std::env::current_dir().ok());
        assert!(Proc::open(1 << 23).is_none());
    }

    #[test]
    fn mappings_are_read_with_their_files_whatever_these_are_called() {
        let areas = areas(MAPS);
        assert_eq!(areas.len(), 6);
        let file = FileId::regular(0x103, 10, 99);
        assert_eq!(areas[3].file, Some((file, "/srv/a file.bin".into())));
        assert_eq!((areas[3].start, areas[3].end), (0x7f00_0000_0000, 0x7f00_1000_0000));
        assert_eq!(areas.iter().filter(|area| area.is_executable).count(), 3);
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
    fn a_mount_has_a_device_a_root_a_place_with_blanks_and_a_type() {
        let text = "36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 - ext3 /dev/root rw\n\
                    25 1 0:23 / /proc rw - proc proc rw\nbroken\n";
        let read = mounts(text.as_bytes());
        assert_eq!((&read[0].root, &read[0].at), (&"/mnt1".into(), &"/mnt two".into()));
        let expected = [((98, 0), "ext3".into()), ((0, 23), "proc".into())].into();
        assert_eq!(file_systems(text), expected);
    }
}
