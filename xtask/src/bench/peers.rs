//! The servers that are compared, and how each is started.
//!
//! Each serves the same directory, with one worker bound to one CPU and without an access log.
//! The configuration files are under `bench/compare/`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use underpass_testkit::server::{Server, free_address};

use super::cpu;
use crate::process::output;
use crate::workspace;

/// `underpass` of this workspace, as the tables name it.
pub(crate) const NEW: &str = "underpass";

/// `underpass` of an earlier commit.
pub(crate) const OLD: &str = "underpass before";

/// A build of `underpass` that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Build {
    pub name: &'static str,
    program: PathBuf,
}

impl Build {
    /// The earlier one, if there is one, then that of this workspace.
    pub(crate) fn all(old: Option<&Path>) -> Result<Vec<Self>> {
        let new = std::env::current_exe()?.with_file_name("underpass");
        let old = old.map(|path| Self { name: OLD, program: path.to_owned() });
        let all: Vec<_> = old.into_iter().chain([Self { name: NEW, program: new }]).collect();
        for Self { program, .. } in &all {
            ensure!(program.exists(), "{} is not built", program.display());
        }
        Ok(all)
    }

    /// Where it is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A command that starts it, bound to the CPU of servers and senders.
    pub(crate) fn command(&self, subcommand: &str) -> Result<Command> {
        let mut command = cpu::pinned(&self.program)?;
        command.arg(subcommand);
        Ok(command)
    }
}

/// A server that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// nginx at its best: `tcp_nopush on`, files kept open.
    Nginx,
    /// nginx with `tcp_nopush off` and no `open_file_cache`, as its authors ship it.
    NginxAsShipped,
    /// nginx at its best, files sent by a thread pool: `aio threads`.
    NginxThreads,
    /// A C loop around sendfile(2), head and body under `TCP_CORK`.
    CorkedLoop,
    /// The same without `TCP_CORK`.
    BareLoop,
    Underpass(Build),
}

impl Peer {
    /// The word for it in tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxAsShipped => "nginx as shipped",
            Self::NginxThreads => "nginx aio threads",
            Self::CorkedLoop => "C loop corked",
            Self::BareLoop => "C loop bare",
            Self::Underpass(build) => build.name,
        }
    }

    /// Starts it on `root`; `scratch` is a directory for its own files.
    pub(crate) fn start(&self, root: &Path, scratch: &Path) -> Result<Server> {
        let address = free_address()?;
        let c_loop = |cork: &str| -> Result<Command> {
            let mut command = cpu::pinned(compile("sendfile-loop/server.c", scratch)?)?;
            command.arg(address.port().to_string()).arg(root).arg(cork);
            Ok(command)
        };
        let mut command = match self {
            Self::Nginx => nginx(root, scratch, address, ["on", TUNED_CACHE, "off"])?,
            Self::NginxAsShipped => nginx(root, scratch, address, ["off", "off", "off"])?,
            Self::NginxThreads => nginx(root, scratch, address, ["on", TUNED_CACHE, "threads"])?,
            Self::CorkedLoop => c_loop("1")?,
            Self::BareLoop => c_loop("0")?,
            Self::Underpass(build) => {
                let mut command = build.command("serve")?;
                command.arg(root).args(["--listen", &address.to_string()]);
                command.args(["--workers", "1", "--access-log", "off"]);
                command
            }
        };
        command.stdout(Stdio::null());
        let name = self.name();
        Server::start(&mut command, address).with_context(|| format!("{name} did not start"))
    }
}

/// Files stay open for all of a run.
const TUNED_CACHE: &str = "max=10000 inactive=10m";

fn nginx(
    root: &Path,
    dir: &Path,
    at: SocketAddr,
    [nopush, cache, aio]: [&str; 3],
) -> Result<Command> {
    let dir = dir.join(format!("nginx-{}", at.port()));
    fs::create_dir(&dir)?;
    let words = [
        ("@DIR@", dir.to_string_lossy().as_ref()),
        ("@ROOT@", &root.to_string_lossy()),
        ("@ADDRESS@", &at.to_string()),
        ("@NOPUSH@", nopush),
        ("@CACHE@", cache),
        ("@AIO@", aio),
    ]
    .map(|(word, value)| (word, value.to_owned()));
    let file = fill_in("nginx/nginx.conf", &words, &dir)?;
    let mut command = cpu::pinned("nginx")?;
    command.arg("-c").arg(file);
    Ok(command)
}

/// Writes a template of `bench/compare/` to `dir` with the words in @ replaced.
pub(crate) fn fill_in(template: &str, words: &[(&str, String)], dir: &Path) -> Result<PathBuf> {
    let template = workspace::root().join("bench/compare").join(template);
    let text = fs::read_to_string(&template).with_context(|| template.display().to_string())?;
    let text = words.iter().fold(text, |text, (word, value)| text.replace(word, value));
    let file = dir.join(template.file_name().context("a template has a name")?);
    fs::write(&file, text)?;
    Ok(file)
}

/// Builds a C program of `bench/compare/` and returns its path.
pub(crate) fn compile(source: &str, scratch: &Path) -> Result<PathBuf> {
    let source = workspace::root().join("bench/compare").join(source);
    let program = scratch.join(source.file_stem().context("a source file has a name")?);
    if !program.exists() {
        output(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(&source))?;
    }
    Ok(program)
}
