//! The programs that read blocks, and how each is told what to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow, ensure};
use underpass_testkit::prometheus::Suite;

use super::super::cpu;
use super::super::peers::Build;

/// A program that reads blocks.
#[derive(Debug)]
pub(super) enum Reader {
    Promtool(Suite),
    /// The one of this workspace, by pread(2) instead of through maps.
    Pread(Build),
    Underpass(Build),
}

/// It, with all arguments.
#[derive(Debug)]
pub(super) struct Ready {
    reader: Reader,
    program: PathBuf,
    arguments: Vec<std::ffi::OsString>,
    /// Where promtool reads and writes.
    _view: Option<tempfile::TempDir>,
}

impl Reader {
    /// Of this workspace, by the other way to read.
    pub(super) fn by_pread() -> Result<Vec<Self>> {
        Ok(Build::all(None)?.into_iter().map(Self::Pread).collect())
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Promtool(Suite::Bookworm) => "promtool 2.42",
            Self::Promtool(Suite::Trixie) => "promtool 2.53",
            Self::Promtool(Suite::Sid) => "promtool",
            Self::Pread(_) => "underpass --read pread",
            Self::Underpass(build) => build.name,
        }
    }

    /// With the arguments for these data: promtool's command and its options, or ours.
    pub(super) fn ready(
        self,
        data: &Path,
        command: &str,
        arguments: &[&str],
        ours: &[&str],
    ) -> Result<Ready> {
        let (mut prepared, view) = match &self {
            Self::Promtool(suite) => {
                let tools = suite.tools().map_err(|missing| anyhow!("{}", missing.why()))?;
                let (mut promtool, view) = tools.tsdb(command, data)?;
                promtool.args(arguments).arg(view.path());
                (promtool, Some(view))
            }
            Self::Pread(build) | Self::Underpass(build) => {
                let mut command = Command::new(build.program());
                command.arg("tsdb").args(ours).arg(data);
                (command, None)
            }
        };
        if matches!(self, Self::Pread(_)) {
            prepared.args(["--read", "pread"]);
        }
        let program = prepared.get_program().into();
        let arguments = prepared.get_args().map(Into::into).collect();
        Ok(Ready { reader: self, program, arguments, _view: view })
    }
}

impl Ready {
    pub(super) const fn name(&self) -> &'static str {
        self.reader.name()
    }

    pub(super) const fn is_ours(&self) -> bool {
        !matches!(self.reader, Reader::Promtool(_))
    }

    /// A run of it on the one CPU.
    pub(super) fn command(&self) -> Result<Command> {
        let mut command = cpu::pinned(&self.program)?;
        command.args(&self.arguments);
        Ok(command)
    }

    /// Runs it with this much private writable memory at most: setrlimit(2), `RLIMIT_DATA`.
    pub(super) fn within(&self, bytes: u64) -> Result<()> {
        let mut command = Command::new("prlimit");
        command.arg(format!("--data={bytes}")).arg(&self.program).args(&self.arguments);
        let status = command.stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{} needs more than {bytes} bytes: {status}", self.name());
        Ok(())
    }
}
