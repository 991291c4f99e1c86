//! What uploads have left that were cut by the end of a process: removed when another one starts.
//!
//! Source: flock(2).

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock};

use super::partial::AGE_MAX;
use super::{KEPT_PREFIX, PREFIX};
use crate::current_root::CurrentRoot;
use crate::root::{Root, Wait};

/// One that was made just now may not have its lock yet.
const AGE_MIN: Duration = Duration::from_secs(60);

/// How many names are looked at.
const NAMES_MAX: usize = 1_000_000;

/// How many directories may be on the way to one.
const DEPTH_MAX: usize = 128;

/// Removes what uploads have left beneath a root. May take a while.
pub(crate) fn tidy_up(root: &CurrentRoot) {
    if let Ok(root) = root.get(Wait::Allowed) {
        sweep(&root);
    }
}

/// Removes hidden files beneath the root that no one writes to. May take a while.
fn sweep(root: &Root) {
    let (mut names, mut removed) = (0, 0);
    let mut directories = vec![Vec::new()];
    while let Some(path) = directories.pop() {
        // What cannot be opened, or was removed meanwhile, has nothing to be tidied up.
        let Ok(directory) = root.open_directory(&path) else { continue };
        let Ok(entries) = Dir::read_from(&directory) else { continue };
        for entry in entries.map_while(Result::ok) {
            let name = entry.file_name().to_bytes();
            names += 1;
            if name.starts_with(PREFIX) {
                removed += usize::from(remove(&directory, name));
            }
            let is_directory = entry.file_type() == FileType::Directory;
            let depth = path.iter().filter(|&&byte| byte == b'/').count();
            if is_directory && depth < DEPTH_MAX && !matches!(name, b"." | b"..") {
                directories.push([&path, name, b"/"].concat());
            }
        }
        if names > NAMES_MAX {
            tracing::warn!("parts of uploads were looked for among {names} names and no more");
            break;
        }
    }
    if removed > 0 {
        tracing::warn!("{removed} parts of uploads that were cut short are removed");
    }
}

fn remove(directory: &OwnedFd, name: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(directory, name, flags, Mode::empty()) else { return false };
    let is_old = rustix::fs::fstat(&file).is_ok_and(|stat| {
        let written = UNIX_EPOCH + Duration::from_secs(stat.st_mtime.try_into().unwrap_or(0));
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        // Another server may know of one that waits for its client.
        let age_min = if name.starts_with(KEPT_PREFIX) { AGE_MAX } else { AGE_MIN };
        FileType::from_raw_mode(stat.st_mode).is_file() && age > age_min
    });
    // Who writes to it has the lock.
    let is_left = is_old && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    is_left && rustix::fs::unlinkat(directory, name, AtFlags::empty()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::root::Root;

    #[test]
    fn what_no_one_writes_to_goes_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        let old = SystemTime::now() - 2 * AGE_MIN;
        let make = |path: &str, modified: SystemTime| {
            let file = File::create(dir.path().join(path)).unwrap();
            file.set_modified(modified).unwrap();
            file
        };
        make(".underpass-upload-1", old);
        make("a/b/.underpass-upload-2", old);
        make(".underpass-upload-kept-1", SystemTime::now() - 2 * AGE_MAX);
        make("a/.underpass-upload-kept-2", SystemTime::now() - AGE_MAX / 2);
        make("a/.underpass-upload-new", SystemTime::now());
        let _held = {
            let held = make("a/.underpass-upload-held", old);
            flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
            held
        };
        make("a/.underpass-uploads", old);
        make("a/b/file", old);
        fs::create_dir(dir.path().join("a/.underpass-upload-dir")).unwrap();
        std::os::unix::fs::symlink("b/file", dir.path().join("a/.underpass-upload-link")).unwrap();
        sweep(&Root::open(dir.path()).unwrap());
        let names = |path: &str| {
            let entries = fs::read_dir(dir.path().join(path)).unwrap();
            let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names("."), "a");
        assert_eq!(
            names("a"),
            ".underpass-upload-dir .underpass-upload-held .underpass-upload-kept-2 \
             .underpass-upload-link .underpass-upload-new .underpass-uploads b"
        );
        assert_eq!(names("a/b"), "file");
    }
}
