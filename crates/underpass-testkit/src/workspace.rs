//! Where things of this workspace are.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The workspace's directory.
#[must_use]
pub fn root() -> &'static Path {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    crates.and_then(Path::parent).expect("this crate is in the workspace")
}

/// A cargo command run in the workspace, by the cargo that runs this, that keeps nothing for a
/// compilation of parts: that takes as much of the disk as what is compiled.
#[must_use]
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).env("CARGO_INCREMENTAL", "0");
    command
}

/// What `cargo metadata` says, for the workspace's own packages only.
///
/// # Errors
///
/// If it fails.
pub fn metadata() -> io::Result<Value> {
    let output = cargo().args(["metadata", "--format-version=1", "--no-deps"]).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let metadata = serde_json::from_slice(&output.stdout);
    metadata.map_err(|error| io::Error::other(format!("cargo metadata: {error}")))
}

/// Where cargo puts what it builds.
///
/// # Errors
///
/// Those of [`metadata`].
pub fn target_dir() -> io::Result<PathBuf> {
    let metadata = metadata()?;
    let dir = metadata.get("target_directory").and_then(Value::as_str);
    let none = || io::Error::other("cargo metadata has no target_directory");
    dir.map(PathBuf::from).ok_or_else(none)
}
