//! `bench copy`: `underpass copy` and what people use for the same.
//!
//! A file to a TCP socket, by a C loop around sendfile(2) under `TCP_CORK`, by nc and by socat
//! with its own buffer and with one of 1 MiB, to a reader on the other CPU that discards in the
//! kernel; and a file to a file, by cp. Each is a whole run of a program, its start and end
//! included.

mod between;

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use super::cpu::Spent;
use super::drain::{self, Reading};
use super::peers::{Build, compile};
use super::report::{FLOW, PRICE};
use super::{Run, cpu, files, turns};

/// How much.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Size of the file, in MiB.
    #[arg(long, default_value_t = 4096)]
    mib: u64,
    /// Measure one of the two parts only.
    #[arg(long, value_enum)]
    part: Option<Part>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A file to a TCP socket.
    Tcp,
    /// A file to a file.
    Files,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        if is_smoke { Self { mib: 3, ..self } } else { self }
    }
}

/// Who sends a file to a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sender {
    CorkedLoop,
    SocatLarge,
    Nc,
    Socat,
    Underpass(Build),
}

impl Sender {
    fn name(&self) -> &'static str {
        match self {
            Self::CorkedLoop => "C loop corked",
            Self::SocatLarge => "socat -b 1048576",
            Self::Nc => "nc",
            Self::Socat => "socat",
            Self::Underpass(build) => build.name,
        }
    }

    /// The command that sends the file; `scratch` is a directory for what has to be compiled.
    fn command(&self, path: &Path, to: SocketAddr, scratch: &Path) -> Result<Command> {
        let file = path.display();
        let socat = |options: &[&str]| -> Result<Command> {
            let mut command = cpu::pinned("socat")?;
            command.arg("-u").args(options);
            command.args([format!("OPEN:{file},rdonly"), format!("TCP:{to}")]);
            Ok(command)
        };
        let mut command = match self {
            Self::CorkedLoop => {
                let mut command = cpu::pinned(compile("sendfile-loop/sendfile.c", scratch)?)?;
                let len = path.metadata()?.len();
                command.arg(path).args([len.to_string(), to.port().to_string()]);
                // Once, not evicted, corked, without a head.
                command.args(["0", "0", "1", "0"]);
                command
            }
            Self::SocatLarge => socat(&["-b", "1048576"])?,
            Self::Socat => socat(&[])?,
            Self::Nc => {
                let mut command = cpu::pinned("nc")?;
                command.args(["-N".to_owned(), to.ip().to_string(), to.port().to_string()]);
                command
            }
            Self::Underpass(build) => {
                let mut command = build.command("copy")?;
                command.arg("-q").arg(path).arg(format!("tcp://{to}"));
                command
            }
        };
        command.stdout(Stdio::null());
        command.stdin(if *self == Self::Nc { File::open(path)?.into() } else { Stdio::null() });
        Ok(command)
    }

    /// One run: what came, and what the program took.
    fn send(&self, path: &Path, scratch: &Path, reading: Reading) -> Result<(Vec<u8>, Spent)> {
        let (address, reader) = drain::port(reading)?;
        let mut command = self.command(path, address, scratch)?;
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("{} does not start", self.name()))?;
        let (count, came) = reader.finish()?;
        let wall = start.elapsed();
        let len = path.metadata()?.len();
        ensure!(count == len, "{} sent {count} of {len} bytes", self.name());
        Ok((came, Spent { cpu: cpu::end(child)?, wall }))
    }
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let dir = files::scratch()?;
    cpu::pin_here(cpu::ASKING)?;
    let (path, _) = files::patterned(dir.path(), "data", options.mib << 20)?;
    if options.part != Some(Part::Files) {
        to_tcp(&path, dir.path(), run)?;
    }
    if options.part != Some(Part::Tcp) {
        between::run(dir.path(), &path, run)?;
    }
    Ok(())
}

fn to_tcp(path: &Path, scratch: &Path, run: &mut Run) -> Result<()> {
    let senders = [Sender::CorkedLoop, Sender::SocatLarge, Sender::Nc, Sender::Socat];
    let senders = run.field(senders, Sender::Underpass, Sender::name)?;
    verify(&senders, scratch)?;
    for round in 0..run.rounds {
        for sender in turns(&senders, round) {
            run.warm(path, sender.name())?;
            let (_, spent) = sender.send(path, scratch, Reading::Discard)?;
            run.report.moved("tcp", sender.name(), path.metadata()?.len(), spent);
        }
    }
    let title = format!("file of {} MiB to TCP", path.metadata()?.len() >> 20);
    run.report.table("tcp", &title, &[PRICE, FLOW]);
    Ok(())
}

/// Whether every sender sends what is in the file.
fn verify(senders: &[Sender], scratch: &Path) -> Result<()> {
    let (path, mut file) = files::patterned(scratch, "small", 1_048_579)?;
    let mut expected = Vec::new();
    file.read_to_end(&mut expected)?;
    for sender in senders {
        let (came, _) = sender.send(&path, scratch, Reading::Keep)?;
        ensure!(came == expected, "{} sent something else", sender.name());
    }
    Ok(())
}
