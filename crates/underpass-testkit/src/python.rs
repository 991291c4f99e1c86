//! Python with the libraries that analysts read tables with: DuckDB and pyarrow.
//!
//! Both come from PyPI, once for each folder of build products, and are installed nowhere else.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip::{Capability, Missing, Requirement};

/// Exact versions, so that a test means the same tomorrow.
const LIBRARIES: [&str; 2] = ["duckdb==2.0.1", "pyarrow==26.0.1"];

/// A Python that has them.
#[derive(Debug)]
pub struct Python {
    libraries: PathBuf,
}

impl Python {
    /// Finds the libraries, or installs them in `cache`, which is a test's `CARGO_TARGET_TMPDIR`.
    ///
    /// # Errors
    ///
    /// [`Missing`] if there is no Python with pip, or PyPI cannot be reached.
    pub fn with_table_readers(cache: &Path) -> Result<Self, Missing> {
        Capability::Program("python3").meet()?;
        let libraries = cache.join("python").join(LIBRARIES.join("-"));
        if !libraries.is_dir() {
            install(&libraries)?;
        }
        Ok(Self { libraries })
    }

    /// Runs a script and returns what it prints.
    ///
    /// # Panics
    ///
    /// If it fails; its message is shown.
    #[must_use]
    pub fn run(&self, script: &str, arguments: &[&OsStr]) -> String {
        let mut python = Command::new("python3");
        python.env("PYTHONPATH", &self.libraries).args(["-c", script]).args(arguments);
        let output = python.output().expect("python3 was there a moment ago");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {message}", output.status);
        String::from_utf8(output.stdout).expect("scripts print UTF-8")
    }
}

/// Installs under another name first: tests of several programs may do it at the same time, and the
/// first to be ready wins.
fn install(libraries: &Path) -> Result<(), Missing> {
    let missing = |error: std::io::Error| Missing::new(error.to_string());
    let parent = libraries.parent().expect("it was joined to a folder");
    fs::create_dir_all(parent).map_err(missing)?;
    let unfinished = tempfile::tempdir_in(parent).map_err(missing)?;
    pip(unfinished.path(), &LIBRARIES)?;
    match fs::rename(unfinished.path(), libraries) {
        Err(_) if libraries.is_dir() => Ok(()),
        moved => moved.map_err(missing),
    }
}

/// Installs these in a directory and nowhere else; nothing is compiled.
pub(crate) fn pip(into: &Path, libraries: &[&str]) -> Result<(), Missing> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--only-binary", ":all:", "--target"])
        .arg(into)
        .args(libraries);
    let output = pip.output().map_err(|error| Missing::new(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().last().unwrap_or("pip said nothing");
    Err(Missing::new(format!("{}: {last}", libraries.join(" and "))))
}
