//! A file that gets its name when it is whole.
//!
//! Until then it has a hidden name next to its own, and it is removed on errors and signals. What
//! it replaces is there until it is replaced, and gives it its mode.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file that is being written.
#[derive(Debug)]
pub(crate) enum Target {
    Hidden(NamedTempFile, PathBuf),
    /// A device or a pipe, which nothing can take the place of.
    InPlace(File),
}

impl Target {
    /// Opens it for writing.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // What a link means is replaced, not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let replaced = path.metadata().ok();
        if replaced.as_ref().is_some_and(|stat| !stat.is_file()) {
            return File::options().write(true).open(&path).map(Self::InPlace);
        }
        let mode = replaced.map_or(0o666, |stat| stat.permissions().mode() & 0o777);
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let hidden = tempfile::Builder::new()
            .prefix(".underpass-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory.unwrap_or_else(|| Path::new(".")))?;
        Ok(Self::Hidden(hidden, path))
    }

    pub(crate) fn file(&mut self) -> &mut File {
        match self {
            Self::Hidden(hidden, _) => hidden.as_file_mut(),
            Self::InPlace(file) => file,
        }
    }

    /// Gives it its name.
    ///
    /// # Errors
    ///
    /// Those of rename(2).
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Hidden(hidden, path) => Ok(hidden.persist(path).map(drop)?),
            Self::InPlace(_) => Ok(()),
        }
    }
}
