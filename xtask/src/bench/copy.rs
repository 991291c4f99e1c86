//! `bench copy`: `underpass copy` beside what people use for the same.
//!
//! A file to a TCP socket, by nc and by socat with its own buffer and with one of 1 MiB, to a
//! reader on the other CPU that discards in the kernel; and a file to a file, by cp. Each is a
//! whole run of a program, its start and end included.

mod between;

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use rustix::net::RecvFlags;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::report::{FLOW, PRICE, Report};
use super::{cpu, files, peers};

/// How much, and how often.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// How often each program is run.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Size of the file, in MiB.
    #[arg(long, default_value_t = 4096)]
    mib: u64,
    /// Measure one of the two parts only.
    #[arg(long, value_enum)]
    only: Option<Part>,
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
    /// Just enough to see that everything still works.
    pub(crate) fn smoke(mut self) -> Self {
        (self.rounds, self.mib) = (1, 3);
        self
    }
}

/// Who sends a file to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    SocatLarge,
    Nc,
    Socat,
    Underpass,
}

impl Sender {
    const ALL: [Self; 4] = [Self::SocatLarge, Self::Nc, Self::Socat, Self::Underpass];

    const fn name(self) -> &'static str {
        match self {
            Self::SocatLarge => "socat -b 1048576",
            Self::Nc => "nc",
            Self::Socat => "socat",
            Self::Underpass => "underpass copy",
        }
    }

    fn command(self, path: &Path, to: SocketAddr) -> Result<Command> {
        let file = path.display();
        let (program, arguments): (PathBuf, Vec<String>) = match self {
            Self::SocatLarge | Self::Socat => {
                let mut arguments = vec!["-u".to_owned()];
                if self == Self::SocatLarge {
                    arguments.extend(["-b".to_owned(), "1048576".to_owned()]);
                }
                arguments.extend([format!("OPEN:{file},rdonly"), format!("TCP:{to}")]);
                ("socat".into(), arguments)
            }
            Self::Nc => {
                ("nc".into(), vec!["-N".into(), to.ip().to_string(), to.port().to_string()])
            }
            Self::Underpass => (
                peers::underpass()?,
                vec!["copy".into(), "-q".into(), file.to_string(), format!("tcp://{to}")],
            ),
        };
        let mut command = cpu::pinned(cpu::SERVING, program)?;
        command.args(arguments).stdout(Stdio::null());
        command.stdin(if self == Self::Nc { File::open(path)?.into() } else { Stdio::null() });
        Ok(command)
    }
}

/// Runs the bench.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let dir = files::scratch()?;
    cpu::pin_here(cpu::ASKING)?;
    let bytes = options.mib << 20;
    let (path, _) = files::patterned(dir.path(), "data", bytes)?;
    if options.only != Some(Part::Files) {
        to_tcp(options, (dir.path(), &path), bytes, report)?;
    }
    let Options { rounds, mib, .. } = options;
    report.line(&format!("{mib} MiB, {rounds} rounds, median (worst) and ratio to the first row"));
    report.line("");
    if options.only != Some(Part::Files) {
        let senders = Sender::ALL.map(Sender::name);
        report.table("tcp", "file to TCP", &senders, &[FLOW, PRICE]);
    }
    if options.only == Some(Part::Tcp) {
        return Ok(());
    }
    between::run(dir.path(), &path, bytes, options.rounds, report)
}

fn to_tcp(
    options: &Options,
    (dir, path): (&Path, &Path),
    bytes: u64,
    report: &mut Report,
) -> Result<()> {
    verify(dir)?;
    for round in 0..options.rounds as usize {
        for i in 0..Sender::ALL.len() {
            let Some(sender) = Sender::ALL.get((i + round) % Sender::ALL.len()) else { continue };
            files::warm(path)?;
            let (took, used) = send(*sender, path, bytes)?;
            book(report, "tcp", sender.name(), bytes, took, used);
        }
    }
    Ok(())
}

fn book(
    report: &mut Report,
    case: &'static str,
    who: &'static str,
    bytes: u64,
    took: Duration,
    used: Duration,
) {
    #[expect(clippy::cast_precision_loss, reason = "files of some GiB")]
    let gigabytes = bytes as f64 / 1e9;
    report.sample(case, who, FLOW, gigabytes / took.as_secs_f64());
    report.sample(case, who, PRICE, used.as_secs_f64() / gigabytes);
}

/// One run: how long until the reader had everything, and the program's CPU time.
fn send(sender: Sender, path: &Path, bytes: u64) -> Result<(Duration, Duration)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut command = sender.command(path, listener.local_addr()?)?;
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("{} does not start", sender.name()))?;
    let (stream, _) = listener.accept()?;
    let (mut room, mut taken) = (vec![0; 1 << 20], 0);
    loop {
        let (_, n) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&stream, room.as_mut_slice(), RecvFlags::TRUNC)
        })?;
        if n == 0 {
            break;
        }
        taken += n as u64;
    }
    let took = start.elapsed();
    // nc waits for this end to close, too.
    drop(stream);
    ensure!(taken == bytes, "{} sent {taken} of {bytes} bytes", sender.name());
    Ok((took, end(child)?))
}

/// Waits until it has ended well; its CPU time, in ticks of 10 ms.
fn end(mut child: std::process::Child) -> Result<Duration> {
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    // proc(5): utime and stime, of all threads, those that have ended among them.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').skip(11).take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>().context("stat")?;
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(Duration::from_millis(ticks * 10))
}

/// Whether every sender sends what is in the file.
fn verify(dir: &Path) -> Result<()> {
    let (path, mut file) = files::patterned(dir, "small", 1_048_579)?;
    let mut expected = Vec::new();
    file.read_to_end(&mut expected)?;
    for sender in Sender::ALL {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let child = sender.command(&path, listener.local_addr()?)?.spawn()?;
        let mut got = Vec::new();
        listener.accept()?.0.read_to_end(&mut got)?;
        end(child)?;
        ensure!(got == expected, "{} sent something else", sender.name());
    }
    Ok(())
}
