//! Programs in C that tests run as peers: compiled here, or beforehand for machines without cc.
//!
//! Source: gcc(1).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip::{Capability, Missing, Requirement};

/// Names a directory with the programs compiled beforehand, each named for its source without
/// the extension: for machines that have no cc.
pub const COMPILED_DIR_VARIABLE: &str = "UNDERPASS_COMPILED_DIR";

/// A program, compiled; deleted on drop if it was compiled here.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    _dir: Option<tempfile::TempDir>,
}

impl Program {
    /// Finds it in the directory that [`COMPILED_DIR_VARIABLE`] names, or compiles the
    /// source with cc.
    ///
    /// # Errors
    ///
    /// [`Missing`] if there is no cc.
    ///
    /// # Panics
    ///
    /// If the source does not compile without a warning: that is a fault of the tests and not of
    /// the machine.
    pub fn compile(source: &Path) -> Result<Self, Missing> {
        if let (Some(dir), Some(name)) =
            (std::env::var_os(COMPILED_DIR_VARIABLE), source.file_stem())
        {
            return Self::compiled(&Path::new(&dir).join(name));
        }
        Capability::Program("cc").meet()?;
        let dir = tempfile::tempdir().map_err(|error| Missing::new(error.to_string()))?;
        let path = dir.path().join("peer");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&path).arg(source);
        let output = cc.output().map_err(|error| Missing::new(format!("cc: {error}")))?;
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {message}", source.display());
        Ok(Self { path, _dir: Some(dir) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn compiled(path: &Path) -> Result<Self, Missing> {
        if path.is_file() {
            return Ok(Self { path: path.to_owned(), _dir: None });
        }
        let name = path.display();
        Err(Missing::new(format!("{name}, named by {COMPILED_DIR_VARIABLE}, is not there")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_to_be_compiled_beforehand_and_was_not_is_missing_by_name() {
        let missing = Program::compiled(Path::new("/no/such/sender")).unwrap_err();
        let why = "/no/such/sender, named by UNDERPASS_COMPILED_DIR, is not there";
        assert_eq!(missing.why(), why);
    }

    #[test]
    fn a_program_compiled_beforehand_is_left_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sender");
        std::fs::write(&path, "").unwrap();
        drop(Program::compiled(&path).unwrap());
        assert!(path.exists());
    }
}
