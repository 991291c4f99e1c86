//! An HTML page as a file: whether it can be written is tried before anything is measured, and it
//! appears under its name when it is whole.

use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;

/// Tries whether a page can be written at `path`, which must not be the file `read`.
///
/// # Errors
///
/// If it cannot.
pub(crate) fn require_writable(path: &Path, read: Option<&Path>) -> anyhow::Result<()> {
    let refused = || format!("{} cannot be written", path.display());
    if let Ok(there) = path.metadata() {
        anyhow::ensure!(!there.is_dir(), "{}: it is a directory", refused());
        anyhow::ensure!(there.is_file(), "{}: it is not a regular file", refused());
        let read = read.and_then(|file| file.metadata().ok());
        let is_read = read.is_some_and(|it| (it.dev(), it.ino()) == (there.dev(), there.ino()));
        anyhow::ensure!(!is_read, "{}: it is the file to compare", refused());
    }
    tempfile::tempfile_in(directory(path)).with_context(refused)?;
    Ok(())
}

/// Writes the page.
///
/// # Errors
///
/// Those of writing.
pub(crate) fn write(path: &Path, page: &str) -> anyhow::Result<()> {
    persist(path, page).with_context(|| format!("{} cannot be written", path.display()))
}

fn persist(path: &Path, page: &str) -> io::Result<()> {
    let readable = std::fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(directory(path))?;
    file.write_all(page.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// Where the file is made.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
