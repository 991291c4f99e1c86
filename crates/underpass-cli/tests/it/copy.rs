//! `underpass copy` against real peers: netcat, socat, curl, nginx, Java, and failing disks.

mod answers;
mod asked;
mod cut;
mod descriptors;
mod early;
mod faults;
mod files;
mod folders;
mod http;
mod late;
mod limited;
mod modes;
mod pairs;
mod peers;
mod resumed;
mod scripted;
mod streams;
mod timeouts;
mod transfers;
mod trees;
mod verified;
mod versions;
mod wrong;

use std::fs::{Permissions, set_permissions};
use std::io::{PipeReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use underpass_testkit::payload;

use crate::running::Running;

/// `underpass copy` with these arguments, to be started.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_underpass"));
    command.arg("copy").args(arguments).stdin(Stdio::null());
    // The servers of the tests are on this machine.
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
fn copy(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Runs it with `--json` to its end, which must be a good one.
fn report(arguments: &[&str]) -> Value {
    let output = copy(&[&["--json"], arguments].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The exit code and the one line of a copy that fails.
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let output = copy(arguments);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A copy that waits for a peer, and where it does.
struct Waiting {
    running: Running,
    /// `tcp://127.0.0.1:PORT` or `unix://PATH`.
    address: String,
}

impl Waiting {
    fn start(arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        Self::of(command.stdout(Stdio::piped()))
    }

    fn of(command: &mut Command) -> Self {
        let running = Running::start(command);
        let line = running.line.trim_end();
        let address = line.strip_prefix("listening at ").unwrap_or(&running.line).to_owned();
        Self { running, address }
    }

    /// `127.0.0.1:PORT` as its two words, for programs that want them so.
    fn host_and_port(&self) -> (&str, &str) {
        self.address.strip_prefix("tcp://").unwrap().rsplit_once(':').unwrap()
    }

    /// A peer that is connected to it.
    fn connect(&self) -> TcpStream {
        let (host, port) = self.host_and_port();
        TcpStream::connect(format!("{host}:{port}")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits for its end: exit code, standard output, the rest of standard error.
    fn end(self) -> (Option<i32>, Vec<u8>, String) {
        self.running.end()
    }

    /// Its end, which must be a good one.
    fn succeed(self) -> Vec<u8> {
        let (code, stdout, stderr) = self.end();
        assert_eq!(code, Some(0), "{stderr}");
        stdout
    }
}

/// A file of `len` bytes of the payload.
fn patterned(directory: &Path, name: &str, len: u64) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, payload::pattern(0..len)).unwrap();
    path
}

/// The file's bytes out of a pipe, for as long as somebody reads them.
fn piped(path: &Path) -> PipeReader {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let bytes = std::fs::read(path).unwrap();
    std::thread::spawn(move || drop(writer.write_all(&bytes)));
    reader
}

fn assert_payload(path: &Path, start: u64, len: u64) {
    let got = std::fs::read(path).unwrap();
    assert_eq!(payload::difference(&got, start, len), None, "{}", path.display());
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs the program in a shell; its exit code and what it said.
fn in_shell(directory: &Path, script: &str) -> (Option<i32>, String) {
    let script = script.replace("underpass", env!("CARGO_BIN_EXE_underpass"));
    let script = format!("set -o pipefail; {script}");
    let shell = Command::new("bash").args(["-c", &script]).current_dir(directory).output().unwrap();
    (shell.status.code(), String::from_utf8(shell.stderr).unwrap())
}

/// The mode of a file or a link itself, with set-user-ID bits and the like.
fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn with_mode(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
