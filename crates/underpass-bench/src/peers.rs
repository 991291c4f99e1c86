//! The servers that are compared, and how each is started.
//!
//! Each serves the same directory, with one worker bound to one CPU and without an access log.
//! The configuration files are under `bench/compare/`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use underpass_testkit::server::{Server, free_address};

use super::cpu;
use super::secured::Certificate;
use super::way::Way;
use underpass_testkit::process::output;
use underpass_testkit::workspace;

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
    /// nginx at its best over HTTP/2, with frames of up to this length; it speaks nothing else.
    NginxHttp2(&'static str),
    /// A C loop around sendfile(2), head and body under `TCP_CORK`.
    CorkedLoop,
    /// The same without `TCP_CORK`.
    BareLoop,
    /// h2o, of Debian.
    H2o,
    /// Caddy, of Debian.
    Caddy,
    Crate(Crate),
    Underpass(Build),
}

/// A server from the crate registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crate {
    StaticWebServer,
    Miniserve,
    Dufs,
}

impl Crate {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::StaticWebServer => "static-web-server",
            Self::Miniserve => "miniserve",
            Self::Dufs => "dufs",
        }
    }

    /// Starts it by one thread, which is all that it may run on.
    fn command(self, root: &Path, at: SocketAddr) -> Result<Command> {
        let mut command = cpu::pinned(crates_dir()?.join("bin").join(self.name()))?;
        let port = at.port().to_string();
        match self {
            Self::StaticWebServer => {
                command.args(["--host", "127.0.0.1", "--port", &port, "--threads-multiplier", "1"]);
                command
                    .args(["--log-level", "error", "--compression", "false", "--root"])
                    .arg(root);
            }
            Self::Miniserve => {
                command.args(["--interfaces", "127.0.0.1", "--port", &port]).arg(root);
            }
            Self::Dufs => {
                command
                    .args(["--bind", "127.0.0.1", "--port", &port, "--log-format", ""])
                    .arg(root);
            }
        }
        command.stderr(Stdio::null());
        Ok(command)
    }

    /// Builds those that are missing, which takes minutes once.
    pub(crate) fn install_all() -> Result<()> {
        for peer in [Self::StaticWebServer, Self::Miniserve, Self::Dufs] {
            if crates_dir()?.join("bin").join(peer.name()).exists() {
                continue;
            }
            let mut install = workspace::cargo();
            install.args(["install", "--locked", peer.name(), "--root"]).arg(crates_dir()?);
            ensure!(install.status()?.success(), "cargo install {}", peer.name());
        }
        Ok(())
    }
}

fn crates_dir() -> Result<PathBuf> {
    Ok(workspace::target_dir()?.join("peers"))
}

impl Peer {
    /// The word for it in tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxAsShipped => "nginx as shipped",
            Self::NginxThreads => "nginx aio threads",
            Self::NginxHttp2("8k") => "nginx 8k",
            Self::NginxHttp2(_) => "nginx 128k",
            Self::CorkedLoop => "C loop corked",
            Self::BareLoop => "C loop bare",
            Self::H2o => "h2o",
            Self::Caddy => "Caddy",
            Self::Crate(peer) => peer.name(),
            Self::Underpass(build) => build.name,
        }
    }

    /// Starts it on `root`; `scratch` is a directory for its own files.
    pub(crate) fn start(&self, root: &Path, scratch: &Path) -> Result<Server> {
        self.start_over(&Way::PLAIN, root, scratch)
    }

    /// The same, to be reached another way.
    pub(crate) fn start_over(&self, way: &Way, root: &Path, scratch: &Path) -> Result<Server> {
        let address = free_address()?;
        let c_loop = |cork: &str| -> Result<Command> {
            let mut command = cpu::pinned(compile("sendfile-loop/server.c", scratch)?)?;
            command.arg(address.port().to_string()).arg(root).arg(cork);
            Ok(command)
        };
        let mut command = match self {
            Self::Nginx => {
                nginx(root, scratch, address, ["on", TUNED_CACHE, "off"], &way.of_nginx())?
            }
            Self::NginxAsShipped => {
                nginx(root, scratch, address, ["off", "off", "off"], &way.of_nginx())?
            }
            Self::NginxThreads => {
                nginx(root, scratch, address, ["on", TUNED_CACHE, "threads"], &way.of_nginx())?
            }
            Self::NginxHttp2(chunk) => {
                let protocol = format!(" http2; http2_chunk_size {chunk}");
                nginx(root, scratch, address, ["on", TUNED_CACHE, "off"], &protocol)?
            }
            Self::CorkedLoop | Self::BareLoop | Self::H2o | Self::Caddy | Self::Crate(_)
                if way.tls.is_some() || way.is_http2 =>
            {
                bail!("{} is not compared{}", self.name(), way.told())
            }
            Self::H2o => {
                let words = [
                    ("@ROOT@", root.to_string_lossy().into_owned()),
                    ("@PORT@", address.port().to_string()),
                ];
                let mut command = cpu::pinned("h2o")?;
                command.arg("-c").arg(fill_in("h2o/h2o.conf", &words, scratch)?);
                command
            }
            Self::Caddy => {
                let words = [
                    ("@ROOT@", root.to_string_lossy().into_owned()),
                    ("@PORT@", address.port().to_string()),
                ];
                let mut command = cpu::pinned("caddy")?;
                command.args(["run", "--adapter", "caddyfile", "--config"]);
                command.arg(fill_in("caddy/Caddyfile", &words, scratch)?);
                command.env("GOMAXPROCS", "1").env("HOME", scratch);
                command
            }
            Self::Crate(peer) => peer.command(root, address)?,
            Self::CorkedLoop => c_loop("1")?,
            Self::BareLoop => c_loop("0")?,
            Self::Underpass(build) => {
                let mut command = build.command("serve")?;
                command.arg(root).args(["--listen", &address.to_string()]);
                command.args(["--workers", "1", "--access-log", "off"]);
                if let Some(Certificate { certificate, key, .. }) = &way.tls {
                    command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
                }
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
    protocol: &str,
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
        ("@PROTOCOL@", protocol),
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
