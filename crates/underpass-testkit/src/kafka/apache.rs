//! Apache Kafka from Maven: its tools, and a broker with KRaft on loopback.
//!
//! Source: Kafka's documentation, "KRaft"; `kafka.tools.StorageTool` formats a log directory.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use crate::kept::keep;
use crate::server::{Server, free_address};
use crate::skip::{Capability, Missing, Requirement};
use crate::wait;

/// Which Kafka.
const VERSION: &str = "4.1.0";

/// Its jars, and a logger: without one its complaints are lost.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId>
<artifactId>kafka_2.13</artifactId><version>4.1.0</version></dependency>
<dependency><groupId>org.apache.kafka</groupId>
<artifactId>kafka-tools</artifactId><version>4.1.0</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId>
<artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
</dependencies>
</project>
"#;

/// Warnings to standard error, so that what tools print is their own.
const LOG4J: &str = "rootLogger.level=warn
rootLogger.appenderRef.a.ref=A
appender.a.type=Console
appender.a.name=A
appender.a.target=SYSTEM_ERR
appender.a.layout.type=PatternLayout
appender.a.layout.pattern=%p %m (%c)%n
";

/// The jars of Apache Kafka.
#[derive(Debug, Clone)]
pub struct Apache {
    dir: PathBuf,
}

impl Apache {
    /// Finds them, or fetches them with mvn.
    ///
    /// # Errors
    ///
    /// [`Missing`] if there is no Java or mvn, or Maven's repository cannot be reached.
    pub fn fetched() -> Result<Self, Missing> {
        Capability::Program("java").meet()?;
        let dir = keep("kafka", &format!("apache-{VERSION}"), fetch)
            .map_err(|error| Missing::new(format!("Apache Kafka {VERSION}: {error}")))?;
        Ok(Self { dir })
    }

    /// Java with Kafka's classes, to be given a class and arguments.
    #[must_use]
    pub fn java(&self) -> Command {
        let mut java = Command::new("java");
        // A program that runs for a second is not worth compiling twice.
        java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]).args(self.arguments());
        java
    }

    /// What Java has to be told to find the classes and the logger.
    fn arguments(&self) -> [String; 3] {
        let dir = self.dir.display();
        let log4j = format!("-Dlog4j2.configurationFile={dir}/log4j2.properties");
        ["-cp".to_owned(), format!("{dir}/lib/*"), log4j]
    }

    /// What one of its programs prints.
    ///
    /// # Errors
    ///
    /// `Other` with what it says if it fails.
    pub fn run(&self, class: &str, arguments: &[&str]) -> io::Result<String> {
        output(self.java().arg(class).args(arguments).stdin(Stdio::null()))
    }

    /// What `DumpLogSegments` finds in these files. It tells of some faults on standard error.
    ///
    /// # Errors
    ///
    /// As those of [`Apache::run`].
    pub fn dump(&self, files: &[String]) -> io::Result<String> {
        let mut java = self.java();
        java.args(["kafka.tools.DumpLogSegments", "--deep-iteration", "--files"]);
        let output = java.arg(files.join(",")).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(failed("java", &output));
        }
        let both = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&both).into_owned())
    }
}

fn fetch(into: &Path) -> io::Result<()> {
    Capability::Program("mvn").meet().map_err(|missing| io::Error::other(missing.why()))?;
    fs::write(into.join("pom.xml"), POM)?;
    fs::write(into.join("log4j2.properties"), LOG4J)?;
    let mut mvn = Command::new("mvn");
    mvn.current_dir(into).args(["-q", "-B", "dependency:copy-dependencies"]);
    output(mvn.arg("-DoutputDirectory=lib")).map(drop)
}

/// The output of a command that succeeds.
pub(super) fn output(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(&command.get_program().to_string_lossy(), &output))
}

/// What a program said that failed.
pub(super) fn failed(program: &str, output: &Output) -> io::Error {
    let printed = String::from_utf8_lossy(output.stdout.trim_ascii_end());
    let said = String::from_utf8_lossy(output.stderr.trim_ascii_end());
    io::Error::other(format!("{program}: {}: {printed}\n{said}", output.status))
}

/// How long a broker may take to start; a JVM needs two seconds of a quiet machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    server: Server,
    data: PathBuf,
}

impl Broker {
    /// Starts one that keeps everything below `dir`, with these lines more in its properties. What
    /// Java is to load is added to `java`. It is ready when it answers.
    ///
    /// # Errors
    ///
    /// Those of starting it, with what it logged.
    pub fn start(apache: &Apache, dir: &Path, more: &str, java: Command) -> io::Result<Self> {
        let address = free_address()?;
        let properties = dir.join("server.properties");
        let text = self::properties(address, free_address()?, &dir.join("data"));
        fs::write(&properties, text + more)?;
        format(apache, &properties)?;
        Self::run(apache, dir, address, java)
    }

    /// Starts one again that was stopped, with what it has kept, where it listened before.
    ///
    /// # Errors
    ///
    /// As those of [`Broker::start`].
    pub fn start_again(apache: &Apache, dir: &Path, java: Command) -> io::Result<Self> {
        let properties = fs::read_to_string(dir.join("server.properties"))?;
        let line = properties.lines().find_map(|line| line.strip_prefix("advertised.listeners="));
        let address = line.and_then(|line| line.strip_prefix("PLAINTEXT://")?.parse().ok());
        let address = address.ok_or_else(|| io::Error::other("it was not started before"))?;
        Self::run(apache, dir, address, java)
    }

    fn run(apache: &Apache, dir: &Path, address: SocketAddr, java: Command) -> io::Result<Self> {
        let log = dir.join("broker.log");
        let mut command = java;
        command.args(apache.arguments()).arg("kafka.Kafka").arg(dir.join("server.properties"));
        command.stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let started = Server::start(&mut command, address).and_then(|server| {
            let broker = Self { server, data: dir.join("data") };
            broker.wait_until_it_answers().map(|()| broker)
        });
        started.map_err(|error| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            io::Error::new(error.kind(), format!("Kafka: {error}\n{log}"))
        })
    }

    /// Ends it, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// Those of [`Server::stop`].
    pub fn stop(self) -> io::Result<ExitStatus> {
        self.server.stop()
    }

    /// Kills it, as a crash of it would, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// Those of [`Server::kill`].
    pub fn kill(self) -> io::Result<ExitStatus> {
        self.server.kill()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// The directory of its partitions.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    fn wait_until_it_answers(&self) -> io::Result<()> {
        let server = self.address().to_string();
        let answers = || {
            let mut kcat = Command::new("kcat");
            kcat.args(["-q", "-L", "-m", "2", "-b", &server]);
            kcat.stdout(Stdio::null()).stderr(Stdio::null());
            kcat.status().is_ok_and(|status| status.success()).then_some(())
        };
        wait::until(PATIENCE, answers)
            .ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "it does not answer"))
    }
}

fn properties(address: SocketAddr, controller: SocketAddr, data: &Path) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{address},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{address}
controller.listener.names=CONTROLLER
log.dirs={}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
",
        data.display()
    )
}

fn format(apache: &Apache, properties: &Path) -> io::Result<()> {
    let tool = "kafka.tools.StorageTool";
    let id = apache.run(tool, &["random-uuid"])?;
    let mut java = apache.java();
    java.arg(tool).args(["format", "-t", id.trim(), "-c"]).arg(properties);
    output(&mut java).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_starts_answers_and_keeps_what_is_written() {
        let apache = crate::require!(Apache::fetched());
        crate::require!(Capability::Program("kcat"));
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(&apache, dir.path(), "", Command::new("java")).unwrap();
        super::super::write_shared(broker.address(), "shared").unwrap();
        let partition = broker.data().join("shared-0");
        let codecs = super::super::codecs(&partition).unwrap();
        assert_eq!(codecs, super::super::CODECS.into());
    }
}
