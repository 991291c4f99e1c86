//! A directory to serve, and what else a test needs, next to it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::running::program;

/// A directory with `served` in it, which is gone when it is dropped.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("served")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `underpass serve` of it.
    pub(crate) fn command(&self, listen: &str) -> Command {
        let mut command = program();
        command.arg("serve").arg(self.path("served")).args(["--listen", listen]);
        command
    }
}
