//! The clients: where each comes from, and how its program is run.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apache::{Apache, output};
use super::feature::{Answer, Feature};
use crate::kept::keep;
use crate::python;
use crate::skip::{Capability, Missing, Requirement};

/// The most seconds that a client may take for all features, on a busy machine.
const LIMIT_SECONDS: &str = "900";

/// Exact versions; the codecs are what the clients name as such.
const PYTHON: [&str; 7] = [
    "confluent-kafka==2.16.1",
    "kafka-python==3.0.12",
    "aiokafka==0.14.0",
    "python-snappy==0.7.3",
    "cramjam==2.14.0",
    "lz4==4.4.5",
    "zstandard==0.25.0",
];
const NPM: [&str; 5] = [
    "kafkajs@2.2.4",
    "kafkajs-snappy@1.1.0",
    "snappyjs@0.6.0",
    "lz4-napi@2.10.0",
    "zstd-codec@0.1.5",
];

/// Every Python program, under the name that it imports others by.
const SCRIPTS: [(&str, &str); 4] = [
    ("features.py", include_str!("clients/features.py")),
    ("confluent.py", include_str!("clients/confluent.py")),
    ("kafka_python.py", include_str!("clients/kafka_python.py")),
    ("aio.py", include_str!("clients/aio.py")),
];
const KAFKAJS: &str = include_str!("clients/kafkajs.js");
const KCAT: &str = include_str!("clients/kcat.sh");
const JAVA: &str = include_str!("clients/Client.java");
const RDKAFKA: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("clients/rdkafka.toml")),
    ("Cargo.lock", include_str!("clients/rdkafka.lock")),
    ("src/main.rs", include_str!("clients/rdkafka.rs")),
];

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Debian's kcat, with an old librdkafka.
    Kcat,
    /// confluent-kafka: Python, with a new librdkafka.
    Confluent,
    /// kafka-python.
    KafkaPython,
    /// aiokafka, which sends old versions of requests.
    Aiokafka,
    /// kafkajs, which sends old versions of requests.
    Kafkajs,
    /// The crate rdkafka.
    Rdkafka,
    /// Kafka's own.
    Java,
}

/// A client that can be run.
#[derive(Debug)]
pub struct Ready {
    client: Client,
    command: Command,
    /// Where its program is, if it is not kept.
    _dir: tempfile::TempDir,
}

impl Client {
    /// Every client, in the order of the page.
    pub const ALL: [Self; 7] = [
        Self::Kcat,
        Self::Confluent,
        Self::KafkaPython,
        Self::Aiokafka,
        Self::Kafkajs,
        Self::Rdkafka,
        Self::Java,
    ];

    /// Its name with its version, as the page has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kcat => "kcat 1.7.1",
            Self::Confluent => "confluent-kafka 2.16.1",
            Self::KafkaPython => "kafka-python 3.0.12",
            Self::Aiokafka => "aiokafka 0.14.0",
            Self::Kafkajs => "kafkajs 2.2.4",
            Self::Rdkafka => "rdkafka 0.39.0",
            Self::Java => "Java 4.1.0",
        }
    }

    /// Fetches and builds what it needs, or finds it.
    ///
    /// # Errors
    ///
    /// [`Missing`] if a program or a registry is.
    pub fn ready(self) -> Result<Ready, Missing> {
        Capability::Program("kcat").meet()?;
        let dir = tempfile::tempdir().map_err(|error| Missing::new(error.to_string()))?;
        let command = self.command(dir.path())?;
        Ok(Ready { client: self, command, _dir: dir })
    }

    fn command(self, dir: &Path) -> Result<Command, Missing> {
        match self {
            Self::Kcat => scripted("bash", dir, "kcat.sh", KCAT),
            Self::Confluent => of_python(dir, "confluent.py"),
            Self::KafkaPython => of_python(dir, "kafka_python.py"),
            Self::Aiokafka => of_python(dir, "aio.py"),
            Self::Kafkajs => {
                Capability::Program("node").meet()?;
                let modules = keep("kafka", "npm", npm).map_err(|error| missing(&error))?;
                let mut node = scripted("node", dir, "kafkajs.js", KAFKAJS)?;
                node.env("NODE_PATH", modules.join("node_modules"));
                Ok(node)
            }
            Self::Rdkafka => {
                let built = keep("kafka", "rdkafka-0.39.0", build_rdkafka);
                Ok(limited(built.map_err(|error| missing(&error))?.join("kafka-client")))
            }
            Self::Java => of_java(dir),
        }
    }
}

impl Ready {
    /// Which one it is.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client
    }

    /// Tries every feature on a server that keeps its partitions in `data`.
    ///
    /// # Errors
    ///
    /// `Other` if the program fails or leaves a feature out; those of reading segment files.
    pub fn try_all(
        mut self,
        server: SocketAddr,
        data: &Path,
    ) -> io::Result<Vec<(Feature, Answer)>> {
        super::write_shared(server, "shared")?;
        self.command.args([&server.to_string(), "p", "shared"]);
        self.command.args(Feature::ALL.iter().map(|feature| feature.word()));
        let printed = output(&mut self.command)?;
        let answer = |feature: &Feature| {
            let (word, name) = (feature.word(), self.client.name());
            let mut lines = printed.lines().filter_map(|line| line.split_once(' '));
            let line = lines.find(|(of, _)| *of == word);
            let (_, text) = line.ok_or_else(|| io::Error::other(format!("{name}: no {word}")))?;
            let answer = is_compressed(*feature, Answer::parse(text), data)?;
            Ok((*feature, answer))
        };
        Feature::ALL.iter().map(answer).collect()
    }
}

/// A client may say that it compresses and not do it.
fn is_compressed(feature: Feature, answer: Answer, data: &Path) -> io::Result<Answer> {
    if let (Feature::Codec(codec), Answer::Yes) = (feature, &answer) {
        let found = super::codecs(&data.join(format!("p-{codec}-0")))?;
        if found != [codec].into() {
            return Ok(Answer::No(format!("arrives as {found:?}")));
        }
    }
    Ok(answer)
}

fn missing(error: &io::Error) -> Missing {
    Missing::new(error.to_string())
}

/// A program that is ended if it does not end.
fn limited(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIMIT_SECONDS]).arg(program.as_ref());
    command
}

fn scripted(program: &'static str, dir: &Path, name: &str, text: &str) -> Result<Command, Missing> {
    Capability::Program(program).meet()?;
    let script = dir.join(name);
    fs::write(&script, text).map_err(|error| missing(&error))?;
    let mut command = limited(program);
    command.arg(script);
    Ok(command)
}

fn of_python(dir: &Path, script: &str) -> Result<Command, Missing> {
    Capability::Program("python3").meet()?;
    let libraries = keep("kafka", "python", |into| {
        python::pip(into, &PYTHON).map_err(|missing| io::Error::other(missing.why().to_owned()))
    });
    let libraries = libraries.map_err(|error| missing(&error))?;
    for (name, text) in SCRIPTS {
        fs::write(dir.join(name), text).map_err(|error| missing(&error))?;
    }
    let mut command = limited("python3");
    command.env("PYTHONPATH", libraries).arg(dir.join(script));
    Ok(command)
}

/// Java compiles the program as it starts it.
fn of_java(dir: &Path) -> Result<Command, Missing> {
    Capability::Program("javac").meet()?;
    let apache = Apache::fetched()?;
    let script = dir.join("Client.java");
    fs::write(&script, JAVA).map_err(|error| missing(&error))?;
    let mut command = limited("java");
    command.args(apache.java().get_args()).arg(script);
    Ok(command)
}

fn npm(into: &Path) -> io::Result<()> {
    Capability::Program("npm").meet().map_err(|missing| io::Error::other(missing.why()))?;
    fs::write(into.join("package.json"), "{}")?;
    let mut npm = Command::new("npm");
    npm.current_dir(into).args(["install", "--silent", "--no-audit", "--ignore-scripts"]);
    output(npm.args(NPM)).map(drop)
}

/// Leaves the program alone, without what it was made of: librdkafka is compiled with it.
fn build_rdkafka(into: &Path) -> io::Result<()> {
    let dir = tempfile::tempdir_in(into)?;
    fs::create_dir(dir.path().join("src"))?;
    for (name, text) in RDKAFKA {
        fs::write(dir.path().join(name), text)?;
    }
    let mut cargo = Command::new(cargo());
    cargo.current_dir(dir.path()).args(["build", "--quiet", "--locked"]);
    // What the tests were built with is not what the client is built with.
    cargo.env("CARGO_TARGET_DIR", dir.path().join("target")).env_remove("RUSTFLAGS");
    output(&mut cargo)?;
    fs::rename(dir.path().join("target/debug/kafka-client"), into.join("kafka-client"))
}

fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}
