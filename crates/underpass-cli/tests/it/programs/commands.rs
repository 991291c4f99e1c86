//! Commands that send a file and end, run by `underpass explain`: alone, by a shell, and as the
//! two ends of a pipe.
//!
//! The truth is that of a second run of the same command under strace alone: its tracer would be
//! one of the processes that are watched.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::thread::{self, JoinHandle};

use serde_json::Value;

use underpass_testkit::require;
use underpass_testkit::strace::Strace;

use crate::hidden::tried;
use crate::programs::judged::Expected;
use crate::programs::site::{FILES, Site, content, programs};
use crate::programs::truth::{Body, Truth};
use crate::programs::watched::Watched;
use crate::running::{Running, program};

const FILE: &str = FILES[0].0;

/// A listener, and a thread that takes one connection and keeps what it brings.
fn sink() -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let mut got = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
        got
    });
    (address, thread)
}

/// The same command, given to a shell, for an address.
fn shell(site: &Site, text: &str, address: SocketAddr) -> Command {
    let text = text
        .replace("FILE", &site.name(FILE))
        .replace("HOST", &address.ip().to_string())
        .replace("PORT", &address.port().to_string())
        .replace("UNDERPASS", env!("CARGO_BIN_EXE_underpass"));
    let mut command = Command::new("sh");
    command.args(["-c", &text]);
    command
}

/// What is said of a command.
pub(crate) fn explained(command: &Command) -> Value {
    let mut explain = program();
    explain.args(["explain", "--budget", "100", "--json", "--"]);
    explain.arg(command.get_program()).args(command.get_args());
    let (code, stdout, stderr) = Running::start(&mut explain).end_of_text();
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

fn commanded(text: &str) -> Watched {
    let site = Site::new();
    let (address, sink_of_twin) = sink();
    let twin = Strace::of(shell(&site, text, address)).run().unwrap();
    twin.assert_success();
    assert!(sink_of_twin.join().unwrap() == content(FILE));
    let body = Body { file: site.name(FILE), bytes: Some(FILES[0].1), is_transformed: false };
    let truth = Truth::of(twin.calls(), &[body]);
    let once = || {
        let (address, sink) = sink();
        let summary = explained(&shell(&site, text, address));
        assert!(sink.join().unwrap() == content(FILE));
        Watched { summary, truth: truth.clone() }
    };
    tried(once, |watched| watched.left() == watched.truth.left())
}

#[test]
fn nc_reads_its_input_and_writes() {
    require!(programs(&["nc"]));
    let watched = commanded("nc -N HOST PORT <FILE; true");
    assert!(watched.truth.is_read);
    Expected::of("nc", "nc < FILE").because("R1", "sendfile").judge(&watched);
}

#[test]
fn a_shell_that_becomes_nc_is_nc() {
    require!(programs(&["nc"]));
    let watched = commanded("exec nc -N HOST PORT <FILE");
    Expected::of("nc", "sh -c 'exec nc < FILE'").because("R1", "sendfile").judge(&watched);
}

#[test]
fn socat_reads_and_writes() {
    require!(programs(&["socat"]));
    let watched = commanded("exec socat -u OPEN:FILE TCP:HOST:PORT");
    Expected::of("socat", "FILE to TCP").because("R1", "splice").judge(&watched);
}

#[test]
fn what_cat_writes_to_nc_is_of_its_file() {
    require!(programs(&["nc"]));
    let watched = commanded("cat FILE | nc -N HOST PORT");
    assert!(watched.truth.is_read);
    Expected::of("nc", "cat FILE | nc").because("R1", "not a pipe").judge(&watched);
}

#[test]
fn what_cat_writes_to_a_splicing_program_is_of_its_file_and_copied_once() {
    require!(programs(&["cat"]));
    let watched = commanded("cat FILE | UNDERPASS copy - tcp://HOST:PORT");
    assert!(watched.truth.is_read);
    Expected::of("underpass", "cat FILE | underpass copy")
        .because("R1", "not a pipe")
        .judge(&watched);
}
