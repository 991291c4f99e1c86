//! `underpass relay` and `underpass echo`: how they start, reload, drain, and fail to start.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::Signal;
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::{require, wait};

use crate::command::underpass;
use crate::running::{Running, program};

mod limits;
mod names;
mod unprivileged;

const PATIENCE: Duration = Duration::from_secs(20);

/// A relay or an echo server on a free port.
fn start(arguments: &[&str]) -> Running {
    Running::start(program().args(arguments).args(["--workers", "1"]))
}

/// A client of the address in the line.
fn address(server: &Running) -> SocketAddr {
    let word = server.line.split(' ').find(|word| word.starts_with("127.0.0.1:")).unwrap();
    word.parse().unwrap()
}

fn connect(server: &Running) -> TcpStream {
    let client = TcpStream::connect(address(server)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // socket(7): it holds for accept(2) too.
    set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether a server still listens.
fn is_listening(server: &Running) -> bool {
    let port = address(server).port();
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.contains(&format!(" 0100007F:{port:04X} 00000000:0000 0A "))
}

/// The values of some fields of a line of the log, in the order asked for.
fn fields<'l>(line: &'l str, names: &[&str]) -> Vec<&'l str> {
    let value = |name: &&str| {
        let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
        fields.find(|(found, _)| found == name).unwrap_or_else(|| panic!("{name} in {line}")).1
    };
    names.iter().map(value).collect()
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_connection_that_is_open_ends_in_order_after_the_signal_and_is_logged() {
    let (target, address) = listener();
    let relay = start(&["relay", "0", &address, "--log", "-"]);
    assert!(relay.line.starts_with("relaying 127.0.0.1:"), "{}", relay.line);
    assert!(relay.line.ends_with(&format!(" to {address} (1 worker)\n")), "{}", relay.line);
    let (mut client, mut server) = (connect(&relay), accept(&target));
    client.write_all(b"before").unwrap();
    server.read_exact(&mut [0; 6]).unwrap();
    relay.signal(Signal::TERM);
    wait::until(PATIENCE, || (!is_listening(&relay)).then_some(())).expect("no others are let in");
    server.write_all(b"after").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    drop(server);
    let (code, stdout, stderr) = relay.end_of_text();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let from = client.local_addr().unwrap().to_string();
    let line = stdout.lines().find(|line| line.contains(&from)).unwrap();
    let names = ["client", "target", "end", "up", "down", "spliced", "copied"];
    assert_eq!(fields(line, &names), [&from, &address, "closed", "6", "5", "0", "11"]);
}

#[test]
fn a_second_signal_or_the_grace_cuts_what_is_still_open() {
    let (target, address) = listener();
    for (grace, signals) in [("off", 2), ("50ms", 1)] {
        let relay = start(&["relay", "0", &address, "--log", "-", "--grace", grace]);
        let (mut client, mut server) = (connect(&relay), accept(&target));
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        relay.signal(Signal::TERM);
        wait::until(PATIENCE, || (!is_listening(&relay)).then_some(())).unwrap();
        if signals == 2 {
            relay.signal(Signal::TERM);
        }
        // A stream that is cut does not look complete.
        client.read(&mut [0]).unwrap_err();
        server.read(&mut [0]).unwrap_err();
        let (code, stdout, stderr) = relay.end_of_text();
        assert_eq!(code, Some(0));
        assert!(stderr.ends_with("1 connection was cut\n"), "{stderr}");
        assert!(stdout.contains(" end=cut "), "{stdout}");
    }
}

#[test]
fn a_reload_reads_the_targets_again_and_a_wrong_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("targets");
    let ((first, one), (second, two)) = (listener(), listener());
    fs::write(&file, &one).unwrap();
    let mut relay = start(&["relay", "0", "--targets-file", utf8(&file), "--check", "off"]);
    let (mut client, mut server) = (connect(&relay), accept(&first));
    fs::write(&file, "nonsense").unwrap();
    relay.signal(Signal::HUP);
    let warning = relay.next_line();
    assert!(warning.contains("the targets stay what they were: "), "{warning}");
    assert!(warning.contains("targets, line 1: give HOST:PORT"), "{warning}");
    drop((connect(&relay), accept(&first)));
    fs::write(&file, &two).unwrap();
    relay.signal(Signal::HUP);
    second.set_nonblocking(true).unwrap();
    let reached = || {
        let _client = connect(&relay);
        second.accept().ok()
    };
    wait::until(PATIENCE, reached).expect("the second target is reached");
    // The earlier connection continues.
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
}

#[test]
fn the_log_says_by_whose_word_a_client_is_who_it_is() {
    let (target, address) = listener();
    for (networks, client_is, proxy_is) in
        [("10.0.0.0/8,127.0.0.0/8", "192.0.2.1:9", "self"), ("10.0.0.0/8", "self", "stranger")]
    {
        let flags = ["relay", "0", &address, "--log", "-", "--accept-proxy-from", networks];
        let relay = start(&flags);
        let mut client = connect(&relay);
        let from = client.local_addr().unwrap().to_string();
        client.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 9 80\r\nx").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        drop(accept(&target));
        client.read_to_end(&mut Vec::new()).unwrap_or_default();
        relay.signal(Signal::TERM);
        let (code, stdout, _) = relay.end_of_text();
        let or_self = |word: &'static str| if word == "self" { from.clone() } else { word.into() };
        assert_eq!(code, Some(0));
        assert_eq!(
            fields(stdout.trim_end(), &["client", "proxy"]),
            [or_self(client_is), or_self(proxy_is)]
        );
    }
}

#[test]
fn an_echo_server_says_where_it_is_and_keeps_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kept");
    let echo = start(&["echo", "0", "--tee", utf8(&file), "--log", "-"]);
    assert!(echo.line.starts_with("echoing at 127.0.0.1:"), "{}", echo.line);
    let mut client = connect(&echo);
    client.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    client.read_exact(&mut back).unwrap();
    assert_eq!((&back, fs::read(&file).unwrap().as_slice()), (b"hello", &b"hello"[..]));
    drop(client);
    echo.signal(Signal::INT);
    let (code, stdout, stderr) = echo.end_of_text();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(fields(&stdout, &["end", "echoed", "spliced"]), ["closed", "5", "5"]);
}

#[test]
fn an_echo_server_whose_disk_is_full_echoes_no_more_than_it_has_kept() {
    let disk = require!(Disk::new(FileSystem::Ext4, 16 << 20));
    let file = disk.path().join("kept");
    let echo = start(&["echo", "0", "--tee", utf8(&file), "--log", "-"]);
    let mut client = connect(&echo);
    let mut sender = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&vec![b'x'; 32 << 20]));
    let mut echoed = Vec::new();
    let received = client.read_to_end(&mut echoed);
    // One call meets the reset; for the other the stream has just ended.
    assert!(sending.join().unwrap().is_err() || received.is_err());
    assert!(echoed.len() <= fs::read(&file).unwrap().len(), "{} echoed", echoed.len());
    echo.signal(Signal::TERM);
    let (code, stdout, stderr) = echo.end_of_text();
    assert_eq!((code, fields(&stdout, &["end"])), (Some(1), vec!["cut"]));
    let line = "underpass echo: not everything that was echoed was kept: No space left on device";
    assert!(stderr.contains(line), "{stderr}");
}

#[test]
fn a_start_that_fails_ends_with_1_and_one_line_with_the_remedy() {
    let (_taken, address) = listener();
    for (arguments, line) in [
        (
            vec!["relay", &address, "1"],
            format!(
                "underpass relay: cannot listen on {address}: Address already in use (os error \
                 98); choose another port or path, or port 0 for any free one\n"
            ),
        ),
        (
            vec!["relay", "0", "1", "--metrics", &address],
            format!(
                "underpass relay: cannot listen on {address}: Address already in use (os error \
                 98); choose another port or path, or port 0 for any free one\n"
            ),
        ),
        (
            vec!["relay", &address, &address],
            format!(
                "underpass relay: the target {address} is where the relay listens itself; each \
                 connection would make another; name another port or path\n"
            ),
        ),
        (
            vec!["relay", "[::]:9", "127.0.0.1:9"],
            "underpass relay: the target 127.0.0.1:9 is where the relay listens itself; each \
             connection would make another; name another port or path\n"
                .into(),
        ),
        (
            vec!["relay", "unix:/no/such", "1"],
            "underpass relay: cannot listen on unix:/no/such: No such file or directory (os error \
             2); make the directory of the path first\n"
                .into(),
        ),
        (
            vec!["relay", "0", "1", "--log", "/no/such"],
            "underpass relay: cannot open the log /no/such: No such file or directory (os error \
             2); give a file that can be written, '-' or 'off'\n"
                .into(),
        ),
        (
            vec!["relay", "0", "--targets-file", "/no/such"],
            "underpass relay: cannot read the targets in /no/such: No such file or directory (os \
             error 2); give one target a line: HOST:PORT or unix:PATH\n"
                .into(),
        ),
        (
            vec!["echo", "0", "--tee", "/no/such"],
            "underpass echo: cannot keep what is echoed in /no/such: No such file or directory \
             (os error 2); give a file that can be written\n"
                .into(),
        ),
    ] {
        let output = underpass(&arguments);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    for arguments in
        [&["relay", "0"][..], &["relay", "0", "nonsense"], &["echo"], &["relay", "0", "::1:80"]]
    {
        assert_eq!(underpass(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for (networks, line) in [
        (
            "10.0.0.0/8,10.0.0.0/33",
            "error: invalid value '10.0.0.0/33' for '--accept-proxy-from <NETWORK>': give a \
             network such as 10.0.0.0/8 or 2001:db8::/32, an address, or 'unix'",
        ),
        (
            "10.1.2.3/8",
            "error: invalid value '10.1.2.3/8' for '--accept-proxy-from <NETWORK>': the address \
             has more bits than the network; give 10.0.0.0/8, or the address alone",
        ),
    ] {
        let output = underpass(&["relay", "0", "1", "--accept-proxy-from", networks]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().next()), (Some(2), Some(line)));
    }
}
