//! `underpass log` with Kafka's clients and tools, unmodified: each does what the page in `docs`
//! says, which `cargo xtask clients` writes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use underpass_testkit::kafka::{Apache, Client, Ready, Tool, batches, cell_of, codecs, column_of};
use underpass_testkit::require;
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability;

const PAGE: &str = include_str!("../../../../docs/log-clients.md");

/// A server that keeps its topics in `data`.
fn start(data: &Path) -> Server {
    start_at(data, free_address().unwrap())
}

fn start_at(data: &Path, address: SocketAddr) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_underpass"));
    command.args(["log", "--workers", "2", "--listen", &address.to_string(), "--data"]).arg(data);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Server::start(&mut command, address).unwrap()
}

fn does_what_the_page_says(ready: Ready) {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path());
    let client = ready.client();
    let answers = ready.try_all(server.address(), data.path()).unwrap();
    let cells: Vec<String> = answers.iter().map(|(_, answer)| answer.to_string()).collect();
    assert_eq!(cells, column_of(PAGE, client).unwrap(), "{answers:#?}");
    assert!(server.stop().unwrap().success());
}

#[test]
fn kcat_does_what_the_page_says() {
    does_what_the_page_says(require!(Client::Kcat.ready()));
}

#[test]
fn confluent_kafka_does_what_the_page_says() {
    does_what_the_page_says(require!(Client::Confluent.ready()));
}

#[test]
fn kafka_python_does_what_the_page_says() {
    does_what_the_page_says(require!(Client::KafkaPython.ready()));
}

#[test]
fn aiokafka_does_what_the_page_says() {
    does_what_the_page_says(require!(Client::Aiokafka.ready()));
}

#[test]
fn kafkajs_does_what_the_page_says() {
    does_what_the_page_says(require!(Client::Kafkajs.ready()));
}

#[test]
fn the_crate_rdkafka_does_what_the_page_says() {
    does_what_the_page_says(require!(Client::Rdkafka.ready()));
}

#[test]
fn kafkas_own_clients_do_what_the_page_says() {
    does_what_the_page_says(require!(Client::Java.ready()));
}

#[test]
fn kafkas_tools_do_what_the_page_says() {
    let apache = require!(Apache::fetched());
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path());
    for (tool, answer) in Tool::run_all(&apache, server.address(), data.path()).unwrap() {
        assert_eq!(answer.to_string(), cell_of(PAGE, tool).unwrap(), "{}: {answer:?}", tool.title);
    }
}

/// Segments that rolled, the last of which was recovered after a kill.
#[test]
fn kafkas_dump_finds_no_fault_in_any_file_of_a_partition() {
    const BEFORE: usize = 30_000;
    const AFTER: usize = 3_000;
    let apache = require!(Apache::fetched());
    require!(Capability::Program("kcat"));
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path());
    let address = server.address();
    // The least that the tool itself lets through.
    let create = format!(
        "--bootstrap-server {address} --create --topic rolled --config segment.bytes=1048576"
    );
    let arguments: Vec<&str> = create.split_whitespace().collect();
    apache.run("org.apache.kafka.tools.TopicCommand", &arguments).unwrap();
    write(address, BEFORE, "none");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    drop(server);
    let server = start_at(data.path(), address);
    write(address, AFTER, "lz4");
    let partition = data.path().join("rolled-0");
    let all = batches(&partition).unwrap();
    assert_eq!(all.last().unwrap().last_offset, (BEFORE + AFTER) as u64 - 1);
    assert_eq!(codecs(&partition).unwrap(), ["lz4", "none"].into());
    assert!(server.stop().unwrap().success());
    let files = files_of(&partition);
    assert!(files.len() >= 9, "{files:?}");
    let printed = apache.dump(&files).unwrap();
    for word in ["isvalid: false", "Mismatches", "Found ", "Non-consecutive"] {
        assert!(!printed.contains(word), "{word}: {printed:.2000}");
    }
    assert_eq!(printed.matches("| offset: ").count(), BEFORE + AFTER);
}

/// Logs with their indexes, as DumpLogSegments names them.
fn files_of(partition: &Path) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(partition)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| [".log", ".index", ".timeindex"].iter().any(|end| path.ends_with(end)))
        .collect();
    files.sort();
    files
}

/// Ten records of 100 bytes in a batch.
fn write(server: SocketAddr, records: usize, codec: &str) {
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-q", "-t", "rolled", "-X", "batch.num.messages=10", "-z", codec]);
    kcat.args(["-b", &server.to_string()]);
    let mut child = kcat.stdin(Stdio::piped()).spawn().unwrap();
    let lines: String = (0..records).map(|i| format!("{i:0100}\n")).collect();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
