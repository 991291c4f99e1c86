//! The servers that are compared, each bound to the CPU of servers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use underpass_testkit::kafka::{Apache, Broker};
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::wait;

use super::super::cpu::{self, Meter};
use super::super::peers::Build;
use super::frames;

/// A heap that Kafka does not outgrow, its own collector, one thread for the network, and topics
/// that leave the disk soon after they are deleted.
const HEAP: [&str; 3] = ["-Xms1g", "-Xmx1g", "-XX:+UseG1GC"];
const PROPERTIES: &str = "num.network.threads=1\nlog.segment.delete.delay.ms=500\n";

/// A server that takes part.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    Kafka,
    /// A C loop around sendfile(2) for one kind of fetch; see [`floor`](super::floor).
    Floor,
    Log(Build),
}

/// What an answer to a producer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// The records are in the page cache.
    Written,
    /// They are on the disk.
    Durable,
}

impl Promise {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Durable => "durable",
        }
    }
}

/// One that runs, with its directory.
#[derive(Debug)]
pub(super) struct Running {
    pub name: &'static str,
    peer: Peer,
    promise: Promise,
    kind: Kind,
    dir: tempfile::TempDir,
}

#[derive(Debug)]
enum Kind {
    Kafka(Broker),
    /// With the directory of the broker whose segment it sends.
    Floor(Server, PathBuf),
    Log(Server),
}

/// One that does not run any more, with what it has written.
pub(super) struct Stopped {
    peer: Peer,
    promise: Promise,
    dir: tempfile::TempDir,
}

impl Peer {
    /// The word for it in tables.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Kafka => "Kafka",
            Self::Floor => "C loop",
            Self::Log(build) => build.name,
        }
    }

    /// Starts it on what `dir` has.
    pub(super) fn start(&self, dir: tempfile::TempDir, promise: Promise) -> Result<Running> {
        let kind = match self {
            Self::Kafka => {
                let apache = Apache::fetched().map_err(|missing| anyhow!("{}", missing.why()))?;
                let mut java = cpu::pinned("java")?;
                java.args(HEAP);
                Kind::Kafka(Broker::start(&apache, dir.path(), PROPERTIES, java)?)
            }
            Self::Floor => bail!("it is started for one kind of fetch"),
            Self::Log(build) => {
                let address = free_address()?;
                let mut command = log_command(build, dir.path(), address, promise)?;
                Kind::Log(Server::start(&mut command, address)?)
            }
        };
        Ok(Running { name: self.name(), peer: self.clone(), promise, kind, dir })
    }
}

fn log_command(build: &Build, data: &Path, at: SocketAddr, promise: Promise) -> Result<Command> {
    let mut command = build.command("log")?;
    command.args(["--workers", "1", "--listen", &at.to_string(), "--data"]).arg(data);
    if promise == Promise::Written {
        command.args(["--acks", "written", "--reads", "written"]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

impl Running {
    pub(super) fn floor(server: Server, data: &Path, dir: tempfile::TempDir) -> Self {
        let (peer, kind) = (Peer::Floor, Kind::Floor(server, data.to_owned()));
        Self { name: peer.name(), peer, promise: Promise::Written, kind, dir }
    }

    pub(super) fn is_kafka(&self) -> bool {
        matches!(self.kind, Kind::Kafka(_))
    }

    pub(super) fn address(&self) -> SocketAddr {
        match &self.kind {
            Kind::Kafka(broker) => broker.address(),
            Kind::Floor(server, _) | Kind::Log(server) => server.address(),
        }
    }

    /// The directory of its partitions.
    pub(super) fn data(&self) -> &Path {
        match &self.kind {
            Kind::Kafka(broker) => broker.data(),
            Kind::Floor(_, data) => data,
            Kind::Log(_) => self.dir.path(),
        }
    }

    pub(super) fn id(&self) -> u32 {
        match &self.kind {
            Kind::Kafka(broker) => broker.id(),
            Kind::Floor(server, _) | Kind::Log(server) => server.id(),
        }
    }

    /// Waits until a deleted topic has left the disk and the server is idle, so that the next turn
    /// does not pay for it.
    pub(super) fn settle(&self, topic: &str) -> Result<()> {
        const LOOK: Duration = Duration::from_millis(100);
        let mut meter = Meter::start(self.id())?;
        let mut is_settled = || -> Result<bool> {
            let spent = meter.stop()?;
            if spent.wall < LOOK {
                return Ok(false);
            }
            meter = Meter::start(self.id())?;
            Ok(spent.cpu < LOOK / 20 && !self.has_files_of(topic)?)
        };
        let settled = wait::until(Duration::from_secs(30), || match is_settled() {
            Ok(is_settled) => is_settled.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        settled.with_context(|| format!("{} still deletes {topic}", self.name))?
    }

    fn has_files_of(&self, topic: &str) -> Result<bool> {
        for entry in std::fs::read_dir(self.data())? {
            if entry?.file_name().to_string_lossy().starts_with(topic) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends it; what it has written stays.
    pub(super) fn stop(self) -> Result<Stopped> {
        match self.kind {
            Kind::Kafka(broker) => broker.stop(),
            Kind::Floor(server, _) | Kind::Log(server) => server.stop(),
        }
        .with_context(|| format!("{} did not end", self.name))?;
        Ok(Stopped { peer: self.peer, promise: self.promise, dir: self.dir })
    }

    /// Kills it, as a crash would; what it has written stays.
    pub(super) fn kill(self) -> Result<Stopped> {
        match self.kind {
            Kind::Kafka(broker) => broker.kill(),
            Kind::Floor(server, _) | Kind::Log(server) => server.kill(),
        }?;
        Ok(Stopped { peer: self.peer, promise: self.promise, dir: self.dir })
    }
}

impl Stopped {
    /// How long it takes from the start of the program to an answer about its topics.
    pub(super) fn start_and_ask(self) -> Result<(Duration, Running)> {
        let Self { peer, promise, dir } = self;
        let start = Instant::now();
        let running = match &peer {
            Peer::Kafka => {
                let apache = Apache::fetched().map_err(|missing| anyhow!("{}", missing.why()))?;
                let mut java = cpu::pinned("java")?;
                java.args(HEAP);
                let broker = Broker::start_again(&apache, dir.path(), java)?;
                Running { name: peer.name(), peer, promise, kind: Kind::Kafka(broker), dir }
            }
            Peer::Floor | Peer::Log(_) => peer.start(dir, promise)?,
        };
        let address = running.address();
        let ask =
            || frames::connect(address).and_then(|mut asking| frames::metadata(&mut asking)).ok();
        wait::until(Duration::from_secs(60), ask).context("no answer")?;
        Ok((start.elapsed(), running))
    }
}
