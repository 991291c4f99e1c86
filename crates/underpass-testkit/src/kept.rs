//! What is made or fetched once and kept in the target directory between runs.

use std::path::{Path, PathBuf};

/// Makes the directory `name` of a family unless it is kept already; of concurrent tests and
/// processes one makes it and the others wait.
///
/// What is made appears whole: in a temporary directory first, then renamed.
///
/// # Errors
///
/// Those of making it, and of the file system.
pub fn keep<E>(
    family: &str,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E>
where
    E: From<std::io::Error>,
{
    let dir = family_dir(family);
    let path = dir.join(name);
    std::fs::create_dir_all(&dir)?;
    let lock = std::fs::File::create(dir.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !path.is_dir() {
        let new = tempfile::Builder::new().prefix("new-").tempdir_in(&dir)?;
        make(new.path())?;
        std::fs::rename(new.keep(), &path)?;
    }
    Ok(path)
}

/// Where those of a family are.
pub(crate) fn family_dir(family: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join(family)
}
