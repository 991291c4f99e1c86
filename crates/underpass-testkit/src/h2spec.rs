//! h2spec, which sends a server frames that break the rules of HTTP/2, and looks at the answers.
//!
//! Built by Go from its module, once for each target directory.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kept::keep;
use crate::skip::{Capability, Missing, Requirement};

/// Exact versions, so that a test means the same tomorrow.
const MODULE: &str = "module tools

require (
	github.com/fatih/color v1.19.0
	github.com/spf13/cobra v1.10.2
	github.com/summerwind/h2spec v2.2.1+incompatible
	golang.org/x/net v0.62.0
)
";

/// The program.
#[derive(Debug)]
pub struct H2spec(PathBuf);

/// What came of its cases.
#[derive(Debug)]
pub struct Cases {
    /// How many there were.
    pub all: u32,
    /// Those that failed, as they are printed: `3: Sends a HEADERS frame ...`.
    pub failed: Vec<String>,
    /// All that was printed.
    pub said: String,
}

impl H2spec {
    /// Finds it, or builds it.
    ///
    /// # Errors
    ///
    /// [`Missing`] if there is no Go, or the module cannot be fetched.
    pub fn ready() -> Result<Self, Missing> {
        Capability::Program("go").meet()?;
        let kept = keep("h2spec", "2.2.1", build);
        kept.map(|dir| Self(dir.join("h2spec"))).map_err(|error| Missing::new(error.to_string()))
    }

    /// Runs all cases, those too that are only recommended.
    ///
    /// # Errors
    ///
    /// Those of starting it.
    ///
    /// # Panics
    ///
    /// If it does not come to its end.
    pub fn run(&self, server: SocketAddr, is_secured: bool) -> io::Result<Cases> {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "300"]).arg(&self.0).args(["--strict", "--timeout", "5"]);
        command.args(["--host", &server.ip().to_string(), "--port", &server.port().to_string()]);
        command.args(is_secured.then_some(["--tls", "--insecure"]).into_iter().flatten());
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = said.lines().last().unwrap_or_default();
        let all = last.split_once(" tests, ").and_then(|(all, _)| all.parse().ok());
        let all = all.unwrap_or_else(|| panic!("h2spec: {}: {said}", output.status));
        let failures = said.split_once("Failures:").map_or("", |(_, failures)| failures);
        let failed = failures.lines().filter_map(|line| line.trim().strip_prefix("× "));
        Ok(Cases { all, failed: failed.map(str::to_owned).collect(), said })
    }
}

fn build(into: &Path) -> io::Result<()> {
    fs::write(into.join("go.mod"), MODULE)?;
    let mut go = Command::new("go");
    go.current_dir(into).env("GOFLAGS", "-mod=mod");
    go.args(["build", "-o", "h2spec", "github.com/summerwind/h2spec/cmd/h2spec"]);
    let output = go.output()?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().last().unwrap_or("it said nothing");
    Err(io::Error::other(format!("go cannot build h2spec: {last}")))
}
