//! Debian's packages of Prometheus, one a suite, unpacked.
//!
//! apt reads a list of sources made for this alone, with the repository that the machine uses
//! anyway, and checks the packages against the signed index. Nothing is installed.
//!
//! Source: apt-get(8), indextargets; apt.conf(5); sources.list(5); dpkg-deb(1).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::keep;
use crate::skip::{Capability, Missing, Requirement};

/// What signs the archive: package debian-archive-keyring, which every Debian has.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A suite of Debian, which stands for the release of Prometheus in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Prometheus 2.42; its dump leaves native histograms out.
    Bookworm,
    /// Prometheus 2.53, the last of version 2.
    Trixie,
    /// Prometheus 3.5 or newer.
    Sid,
}

/// The two programs of one release.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Which release.
    pub suite: Suite,
    /// The tool.
    pub promtool: PathBuf,
    /// The server.
    pub prometheus: PathBuf,
}

impl Suite {
    /// Every suite, oldest first.
    pub const ALL: [Self; 3] = [Self::Bookworm, Self::Trixie, Self::Sid];

    /// Its programs, fetched at the first use on this machine.
    ///
    /// # Errors
    ///
    /// [`Missing`] if the machine is not a Debian, or its archive cannot be reached.
    pub fn tools(self) -> Result<Tools, Missing> {
        Capability::Program("apt-get").meet()?;
        let dir = keep(self.name(), |dir| self.fetch(dir)).map_err(|error: io::Error| {
            Missing::new(format!("Prometheus of Debian {}: {error}", self.name()))
        })?;
        let bin = dir.join("usr/bin");
        let [promtool, prometheus] = ["promtool", "prometheus"].map(|name| bin.join(name));
        Ok(Tools { suite: self, promtool, prometheus })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// Since 2.53 the tool has its own package.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Bookworm => &["prometheus"],
            Self::Trixie | Self::Sid => &["prometheus", "promtool"],
        }
    }

    fn fetch(self, into: &Path) -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let apt = Apt::new(scratch.path(), self.name())?;
        run(apt.command().arg("update"))?;
        run(apt.command().arg("download").args(self.packages()))?;
        for entry in fs::read_dir(scratch.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                run(Command::new("dpkg-deb").arg("--extract").arg(path).arg(into))?;
            }
        }
        Ok(())
    }
}

/// An apt that knows one suite and leaves the machine's own lists alone.
struct Apt<'a> {
    dir: &'a Path,
}

impl<'a> Apt<'a> {
    fn new(dir: &'a Path, suite: &str) -> io::Result<Self> {
        for name in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(name))?;
        }
        let line = format!("deb [signed-by={KEYRING}] {} {suite} main\n", archive()?);
        fs::write(dir.join("sources.list"), line)?;
        Ok(Self { dir })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        let dir = self.dir.display();
        for option in [
            format!("Dir::Etc::SourceList={dir}/sources.list"),
            "Dir::Etc::SourceParts=/nonexistent".to_owned(),
            format!("Dir::State::Lists={dir}/lists"),
            format!("Dir::Cache={dir}/cache"),
            // The user _apt may not write below a private directory.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.arg("-q").current_dir(self.dir);
        command
    }
}

/// The repository of Debian's packages that this machine is set up with.
fn archive() -> io::Result<String> {
    if let Some(uri) = archive_in_lists()? {
        return Ok(uri);
    }
    // A new machine has no lists yet.
    run(Command::new("apt-get").args(["-q", "update"]))?;
    archive_in_lists()?.ok_or_else(|| io::Error::other("apt has no source labelled Debian"))
}

fn archive_in_lists() -> io::Result<Option<String>> {
    let format = "$(CREATED_BY) $(LABEL) $(COMPONENT) $(REPO_URI)";
    let lines = run(Command::new("apt-get").args(["indextargets", "--format", format]))?;
    Ok(lines.lines().find_map(|line| line.strip_prefix("Packages Debian main ")).map(str::to_owned))
}

/// The output of a command that succeeds.
pub(super) fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let program = command.get_program().to_string_lossy();
    let message = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}: {}", output.status, message.trim_end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_the_release_that_it_stands_for() {
        for (suite, release) in [
            (Suite::Bookworm, "version 2.42."),
            (Suite::Trixie, "version 2.53."),
            (Suite::Sid, "version 3."),
        ] {
            let tools = crate::require!(suite.tools());
            for program in [tools.promtool, tools.prometheus] {
                let version = run(Command::new(&program).arg("--version")).unwrap();
                assert!(version.contains(release), "{}: {version}", program.display());
            }
        }
    }
}
