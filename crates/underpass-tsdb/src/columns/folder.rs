//! A folder of tables that gets its name when all of them are whole.
//!
//! Until then it has a hidden name next to it, and is removed on errors.
//!
//! Source: rename(2): a directory may take the place of an empty one, and of no other.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Format, Table};

/// A folder that is being written.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    unfinished: TempDir,
}

/// A folder that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is something of that name.
    #[error("{0} exists and is not an empty directory: remove it, or name another")]
    Exists(PathBuf),
    /// The kernel refused.
    #[error("{path} cannot be made")]
    Make {
        /// What was being made.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Folder {
    /// Makes it, under a hidden name.
    ///
    /// # Errors
    ///
    /// If there is something else than an empty folder of that name, or its parent refuses.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        if !is_free(path) {
            return Err(FolderError::Exists(path.to_owned()));
        }
        let refused = |source| FolderError::Make { path: path.to_owned(), source };
        let absolute = std::path::absolute(path).map_err(refused)?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(FolderError::Exists(path.to_owned()));
        };
        let prefix = format!(".{}.", name.to_string_lossy());
        let unfinished = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .tempdir_in(parent)
            .map_err(refused)?;
        Ok(Self { path: path.to_owned(), unfinished })
    }

    /// Makes the file of a table.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn file(&self, table: Table, format: Format) -> Result<File, FolderError> {
        let name = format!("{}.{}", table.name(), format.extension());
        let path = self.unfinished.path().join(name);
        File::create_new(&path).map_err(|source| FolderError::Make { path, source })
    }

    /// Gives it its name.
    ///
    /// # Errors
    ///
    /// If something else took the name meanwhile.
    pub fn finish(self) -> Result<(), FolderError> {
        match fs::rename(self.unfinished.path(), &self.path) {
            Ok(()) => {
                // Nothing is left to remove under the hidden name.
                let _hidden = self.unfinished.keep();
                Ok(())
            }
            Err(_) if !is_free(&self.path) => Err(FolderError::Exists(self.path)),
            Err(source) => Err(FolderError::Make { path: self.path, source }),
        }
    }
}

/// Whether a folder can take this name.
fn is_free(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
