//! The servers that are compared, and how each is started.
//!
//! Each serves the same directory, with one worker bound to one CPU and without an access log;
//! nothing else about them is tuned. The configuration files lie under `bench/compare/`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use underpass_testkit::server::{Server, free_address};

use super::cpu;
use crate::process::output;
use crate::workspace;

/// A server that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// nginx as its authors ship it: `sendfile on`, `tcp_nopush off`.
    Nginx,
    /// nginx as Debian ships it: `tcp_nopush on`.
    NginxNopush,
    /// nginx with `aio threads`: files are sent by a thread pool.
    NginxThreads,
    /// A C loop around sendfile(2), one connection at a time.
    SendfileLoop,
    /// `underpass serve`, from this workspace.
    Underpass,
}

impl Peer {
    /// The word for it in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxNopush => "nginx tcp_nopush",
            Self::NginxThreads => "nginx aio threads",
            Self::SendfileLoop => "C sendfile loop",
            Self::Underpass => "underpass",
        }
    }

    /// Whether it can serve more than one connection at a time.
    pub(crate) fn is_concurrent(self) -> bool {
        self != Self::SendfileLoop
    }

    /// Starts it on `root`; `scratch` is a directory for its own files.
    pub(crate) fn start(self, root: &Path, scratch: &Path) -> Result<Server> {
        let address = free_address()?;
        let mut command = match self {
            Self::Nginx => nginx(root, scratch, address, "off", "off")?,
            Self::NginxNopush => nginx(root, scratch, address, "on", "off")?,
            Self::NginxThreads => nginx(root, scratch, address, "off", "threads")?,
            Self::SendfileLoop => {
                let program = compile("sendfile-loop/server.c", scratch)?;
                let mut command = cpu::pinned(cpu::SERVING, program)?;
                command.arg(address.port().to_string()).arg(root);
                command
            }
            Self::Underpass => {
                let mut command = cpu::pinned(cpu::SERVING, underpass()?)?;
                command.arg("serve").arg(root).args(["--listen", &address.to_string()]);
                command.args(["--workers", "1", "--access-log", "off"]);
                command
            }
        };
        command.stdout(Stdio::null());
        let name = self.name();
        Server::start(&mut command, address).with_context(|| format!("{name} did not start"))
    }
}

fn nginx(root: &Path, dir: &Path, at: SocketAddr, nopush: &str, aio: &str) -> Result<Command> {
    let dir = &dir.join(format!("nginx-{}", at.port()));
    fs::create_dir(dir)?;
    let template = workspace::root().join("bench/compare/nginx/nginx.conf");
    let text = fs::read_to_string(&template)
        .with_context(|| template.display().to_string())?
        .replace("@DIR@", &dir.to_string_lossy())
        .replace("@ROOT@", &root.to_string_lossy())
        .replace("@ADDRESS@", &at.to_string())
        .replace("@NOPUSH@", nopush)
        .replace("@AIO@", aio);
    let file = dir.join("nginx.conf");
    fs::write(&file, text)?;
    let mut command = cpu::pinned(cpu::SERVING, "nginx")?;
    command.arg("-c").arg(file);
    Ok(command)
}

/// Builds a C program of `bench/compare/` and returns where it lies.
pub(crate) fn compile(source: &str, scratch: &Path) -> Result<PathBuf> {
    let source = workspace::root().join("bench/compare").join(source);
    let program = scratch.join(source.file_stem().context("a source file has a name")?);
    if !program.exists() {
        output(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(&source))?;
    }
    Ok(program)
}

/// The binary that was built beside this one.
pub(crate) fn underpass() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("underpass");
    ensure!(program.exists(), "{} is not built", program.display());
    Ok(program)
}
