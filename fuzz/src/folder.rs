//! A folder of this process alone, in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const SHARED: &str = "/dev/shm";

/// Folders are named so, with the id of their process.
const PREFIX: &str = "underpass-fuzz-";

/// A path in the folder, which is made on first use.
pub fn place(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        sweep();
        let folder = Path::new(SHARED).join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    });
    folder.join(name)
}

/// Removes the folders of processes that have ended: a static is never dropped.
fn sweep() {
    for entry in fs::read_dir(SHARED).expect("a folder").flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let Some(process) = name.strip_prefix(PREFIX) else { continue };
        if !Path::new("/proc").join(process).exists() {
            // Another process may sweep too.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
