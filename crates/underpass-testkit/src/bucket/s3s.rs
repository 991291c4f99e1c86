//! s3s-fs, an S3 server whose conditional writes do not hold when several are made at a time.
//!
//! Built by cargo from its crate, once for each target directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{BUCKET, KEY_ID, SECRET};
use crate::kept::keep;
use crate::server::{Server, free_address};
use crate::skip::Missing;

/// The one that was seen to let several writers win.
const VERSION: &str = "0.14.1";

/// The program.
#[derive(Debug, Clone)]
pub struct S3sFs(PathBuf);

/// A running server with one bucket, [`BUCKET`].
#[derive(Debug)]
pub struct S3sServer {
    server: Server,
    _directory: TempDir,
}

impl S3sFs {
    /// Finds it, or builds it, which takes minutes of a core.
    ///
    /// # Errors
    ///
    /// [`Missing`] if the crate cannot be fetched or built.
    pub fn ready() -> Result<Self, Missing> {
        let kept = keep("bucket", &format!("s3s-fs-{VERSION}"), build);
        let program = kept.map(|dir| Self(dir.join("bin/s3s-fs")));
        program.map_err(|error| Missing::new(error.to_string()))
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// Those of [`Server::start`] and of the file system.
    pub fn start(&self) -> io::Result<S3sServer> {
        let directory = TempDir::new()?;
        fs::create_dir(directory.path().join(BUCKET))?;
        let address = free_address()?;
        let mut command = Command::new(&self.0);
        command.args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.args(["--access-key", KEY_ID, "--secret-key", SECRET]).arg(directory.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(S3sServer { server: Server::start(&mut command, address)?, _directory: directory })
    }
}

impl S3sServer {
    /// The URL of the server.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }
}

fn build(into: &Path) -> io::Result<()> {
    let target = TempDir::new()?;
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "s3s-fs", "--version", VERSION, "--features", "binary", "--debug"]);
    cargo.arg("--root").arg(into).arg("--target-dir").arg(target.path());
    let output = cargo.env("CARGO_INCREMENTAL", "0").output()?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().last().unwrap_or("it said nothing");
    Err(io::Error::other(format!("cargo cannot build s3s-fs: {last}")))
}
