//! What `packaging/` has for systemd: the settings, the units, and a start from a socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::require;
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::wait;

use crate::command::underpass;
use crate::running::Running;

const PATIENCE: Duration = Duration::from_secs(20);

/// The most that `systemd-analyze security` may say, in tenths.
const EXPOSURE_MAX: &str = "--threshold=12";

fn packaged(name: &str) -> String {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    fs::read_to_string(packaging.join(name)).unwrap()
}

/// The units, with this program in place of the installed one.
fn units(dir: &Path) -> [PathBuf; 2] {
    ["underpass-serve.service", "underpass-serve.socket"].map(|name| {
        let text = packaged(name);
        let installed = "ExecStart=/usr/bin/underpass ";
        assert_eq!(text.contains(installed), name.ends_with("service"));
        let here = format!("ExecStart={} ", env!("CARGO_BIN_EXE_underpass"));
        let path = dir.join(name);
        fs::write(&path, text.replace(installed, &here)).unwrap();
        path
    })
}

fn said(output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{}: {stdout}{stderr}", output.status)
}

#[test]
fn the_settings_are_in_order_as_they_are_and_with_what_they_propose() {
    let dir = tempfile::tempdir().unwrap();
    let text = packaged("serve.toml");
    let is_proposed = |line: &&str| line.starts_with("# ") && line.contains(" = ");
    assert!(text.lines().filter(is_proposed).count() > 5);
    let line = |line: &str| if is_proposed(&line) { line[2..].to_owned() } else { line.to_owned() };
    // Its last line is of a host.
    let all: Vec<_> = text.replace("# [host", "[host").lines().map(line).collect();
    for text in [text, all.join("\n")] {
        let path = dir.path().join("serve.toml");
        fs::write(&path, &text).unwrap();
        let output = underpass(&["serve", "--check", "--config", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}\n{text}", said(&output));
    }
}

#[test]
fn systemd_understands_the_units_and_finds_little_that_is_open() {
    require!(Program("systemd-analyze"));
    let dir = tempfile::tempdir().unwrap();
    let units = units(dir.path());
    let mut verify = Command::new("systemd-analyze");
    let output = verify.args(["--man=no", "verify"]).args(&units).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--no-pager", "--offline=true", EXPOSURE_MAX]).arg(&units[0]);
    let output = security.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_client_of_the_socket_starts_the_server_and_is_served() {
    require!(Program("systemd-socket-activate"));
    let dir = tempfile::tempdir().unwrap();
    let (served, socket) = (dir.path().join("served"), dir.path().join("socket"));
    fs::create_dir(&served).unwrap();
    fs::write(served.join("a"), "content").unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(&socket).arg(env!("CARGO_BIN_EXE_underpass"));
    command.arg("serve").arg(&served).stdout(Stdio::piped());
    let mut server = Running::start(&mut command);
    let connect = || UnixStream::connect(&socket).ok();
    let mut client = wait::until(PATIENCE, connect).expect("it listens");
    client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\ncontent"), "{answer}");
    while !server.next_line().starts_with("serving ") {}
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
}
