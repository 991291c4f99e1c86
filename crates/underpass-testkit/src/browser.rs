//! A browser that scripts drive: Chromium, by playwright, and axe to tell whether everyone can
//! use a page.
//!
//! The libraries come from npm, once for each target directory; Chromium is the system's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kept::keep;
use crate::skip::{Capability, Missing, Requirement};

/// Exact versions, so that a test means the same tomorrow.
const LIBRARIES: [&str; 2] = ["playwright-core@1.65.1", "axe-core@4.14.1"];

/// How long a script may take, in seconds.
const LIMIT: &str = "300";

/// A Node that has them, and a Chromium.
#[derive(Debug)]
pub struct Browser {
    modules: PathBuf,
}

impl Browser {
    /// Finds the libraries, or installs them.
    ///
    /// # Errors
    ///
    /// [`Missing`] if a program is missing, or npm's registry cannot be reached.
    pub fn ready() -> Result<Self, Missing> {
        for program in ["chromium", "node", "npm"] {
            Capability::Program(program).meet()?;
        }
        let kept = keep("browser", &LIBRARIES.join("-"), install);
        let kept = kept.map_err(|error| Missing::new(error.to_string()))?;
        Ok(Self { modules: kept.join("node_modules") })
    }

    /// Runs a script of CommonJS with these arguments and returns what it prints.
    ///
    /// # Panics
    ///
    /// If it fails; its message is shown.
    #[must_use]
    pub fn run(&self, script: &Path, arguments: &[&str]) -> String {
        let mut node = Command::new("timeout");
        node.args(["--kill-after=5", LIMIT, "node"]).arg(script).args(arguments);
        let output = node.env("NODE_PATH", &self.modules).output();
        let output = output.expect("timeout is of coreutils");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}: {said}", output.status);
        String::from_utf8(output.stdout).expect("scripts print UTF-8")
    }
}

fn install(into: &Path) -> io::Result<()> {
    fs::write(into.join("package.json"), "{}")?;
    let mut npm = Command::new("npm");
    npm.current_dir(into).args(["install", "--silent", "--no-audit", "--ignore-scripts"]);
    let output = npm.args(LIBRARIES).output()?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().last().unwrap_or("it said nothing");
    Err(io::Error::other(format!("npm cannot install {}: {last}", LIBRARIES.join(" and "))))
}
