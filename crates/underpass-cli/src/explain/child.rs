//! The command that is watched from its first instruction.
//!
//! The watch has to know the process before it does anything. So this program is started once
//! more; it stops itself, is followed, and becomes the command when it is continued.
//!
//! Source: waitpid(2) (`WUNTRACED`), prctl(2) (`PR_SET_PDEATHSIG`, `PR_SET_CHILD_SUBREAPER`).

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, bail, ensure};
use rustix::fs::{Access, access};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, waitpid,
};
use underpass_measure::Tier;

/// The subcommand that stops itself and then becomes a command.
pub(crate) const STOPPED: &str = "become";

/// Stops until it is continued, and becomes the command.
///
/// # Errors
///
/// If the command cannot be run; otherwise it does not return.
pub(crate) fn become_command(command: &[OsString]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    // Without a watcher nothing would continue it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    kill_process(getpid(), Signal::STOP)?;
    set_parent_process_death_signal(None)?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.to_string_lossy()))
}

/// That there is a program of this name, as execvp(3) looks for it.
fn require_program(name: &OsStr) -> anyhow::Result<()> {
    let shown = name.to_string_lossy();
    let is_program = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if name.as_bytes().contains(&b'/') {
        let path = Path::new(name);
        let metadata = path.metadata().with_context(|| format!("cannot run {shown}"))?;
        ensure!(metadata.is_file(), "cannot run {shown}: it is not a file");
        ensure!(
            is_program(path),
            "cannot run {shown}: it is not executable; 'chmod +x' makes it so"
        );
        return Ok(());
    }
    let places = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let is_there = std::env::split_paths(&places).any(|place| is_program(&place.join(name)));
    ensure!(
        is_there && !name.is_empty(),
        "cannot run '{shown}': no directory of PATH has such a program; give its path"
    );
    Ok(())
}

/// A command that was started and has not begun.
#[derive(Debug)]
pub(crate) struct Child {
    child: std::process::Child,
    name: String,
    has_begun: bool,
    status: Option<ExitStatus>,
}

impl Child {
    /// Starts a command and stops it before its first instruction.
    ///
    /// # Errors
    ///
    /// Those of starting it.
    pub(crate) fn start(command: &[OsString], is_output_ours: bool) -> anyhow::Result<Self> {
        require_program(command.first().context("there is no command")?)?;
        let own = std::env::current_exe().context("cannot find this program")?;
        let mut starting = Command::new(own);
        starting.arg(STOPPED).arg("--").args(command);
        if is_output_ours {
            starting.stdout(Stdio::from(std::io::stderr().as_fd().try_clone_to_owned()?));
        }
        let child = starting.spawn().context("cannot start the command")?;
        let (_, status) = waitpid(Some(Pid::from_child(&child)), WaitOptions::UNTRACED)?
            .context("the command did not start")?;
        ensure!(status.stopped(), "the command ended before it began: {status:?}");
        let name = command.first().map(|name| name.to_string_lossy().into_owned());
        Ok(Self { child, name: name.unwrap_or_default(), has_begun: false, status: None })
    }

    /// What was typed as the command.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it begin.
    ///
    /// # Errors
    ///
    /// Those of kill(2) and prctl(2).
    pub(crate) fn resume(&mut self, tier: Tier) -> anyhow::Result<()> {
        if tier != Tier::A {
            // Children are known by their parents, and what these leave behind by this one.
            set_child_subreaper(Some(getpid()))?;
        }
        kill_process(Pid::from_child(&self.child), Signal::CONT)?;
        self.has_begun = true;
        Ok(())
    }

    /// Asks for the status of what has ended, its orphans among it.
    pub(crate) fn reap(&mut self) {
        while let Ok(Some((process, status))) = waitpid(None, WaitOptions::NOHANG) {
            if process == Pid::from_child(&self.child) {
                self.status = Some(ExitStatus::from_raw(status.as_raw()));
            }
        }
    }

    /// That it ended well, or because it was asked to by one of these signals. Programs that clean
    /// up then end as a shell tells of a signal.
    ///
    /// # Errors
    ///
    /// If not.
    pub(crate) fn check(&mut self, asked: &[Signal]) -> anyhow::Result<()> {
        self.reap();
        let Some(status) = self.status else { return Ok(()) };
        let by = status.signal().or_else(|| Some(status.code()? - 128));
        if status.success() || asked.iter().any(|signal| by == Some(signal.as_raw())) {
            return Ok(());
        }
        bail!("{} ended with {status}", self.name)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.has_begun {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
