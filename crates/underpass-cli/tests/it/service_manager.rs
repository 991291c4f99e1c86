//! A server under a service manager: the sockets that it passes, and what it is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

/// The program with the sockets of standard input and output passed as systemd passes them.
pub(crate) fn activated(first: OwnedFd, second: OwnedFd, arguments: &[&str]) -> Running {
    let script = "LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\" 3<&0 4<&1 </dev/null >/dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_underpass")]).args(arguments);
    command.stdin(Stdio::from(first)).stdout(Stdio::from(second));
    Running::start(&mut command)
}

fn tcp_and_unix(dir: &Path) -> (TcpListener, UnixListener) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    (tcp, UnixListener::bind(dir.join("socket")).unwrap())
}

#[test]
fn sockets_that_are_passed_are_served_in_place_of_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let (target, path) = (TcpListener::bind("127.0.0.1:0").unwrap(), dir.path().join("socket"));
    let target = target.local_addr().unwrap().to_string();
    for arguments in [
        &["serve", dir.path().to_str().unwrap()][..],
        &["relay", "127.0.0.1:1", &target, "--check", "off"],
        &["echo", "127.0.0.1:1"],
    ] {
        let (tcp, unix) = tcp_and_unix(dir.path());
        let address = tcp.local_addr().unwrap();
        // A client that comes before the server is served by it. A target would keep it open.
        let early = (arguments[0] != "relay").then(|| TcpStream::connect(address).unwrap());
        let server = activated(tcp.into(), unix.into(), &[arguments, &["--workers", "2"]].concat());
        assert!(server.line.contains(&address.to_string()), "{}", server.line);
        assert!(server.line.contains(&format!("unix:{}", path.display())), "{}", server.line);
        if let Some(early) = early {
            let unix = UnixStream::connect(&path).unwrap();
            for (mut reader, mut writer) in [
                (
                    Box::new(early.try_clone().unwrap()) as Box<dyn Read>,
                    Box::new(early) as Box<dyn Write>,
                ),
                (Box::new(unix.try_clone().unwrap()), Box::new(unix)),
            ] {
                let request = b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                writer.write_all(request).unwrap();
                let mut answer = [0; 5];
                reader.read_exact(&mut answer).unwrap();
                assert!(answer == *b"HTTP/" || answer == *b"GET /");
            }
        }
        server.signal(Signal::TERM);
        assert_eq!(server.end().0, Some(0));
        assert!(path.exists(), "the service manager's path stays");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_service_manager_is_told_ready_reloading_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let message = || {
        let mut buffer = [0; 256];
        let n = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    };
    for arguments in [&["serve", "--listen", "0"][..], &["relay", "0", "1"], &["echo", "0"]] {
        let server = Running::start(program().args(arguments).env("NOTIFY_SOCKET", &path));
        assert_eq!(message(), "READY=1\n");
        server.signal(Signal::HUP);
        let reloading = message();
        let stamp = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(stamp.trim_end().parse::<u64>().unwrap() > 0);
        assert_eq!(message(), "READY=1\n");
        server.signal(Signal::TERM);
        assert_eq!(message(), "STOPPING=1\n");
        assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
    }
}

#[test]
fn a_socket_that_does_not_listen_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (tcp, unix) = tcp_and_unix(dir.path());
    let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let server = activated(unix.into(), client.into(), &["echo", "127.0.0.1:1"]);
    let problem = "socket 2 of those that were passed does not listen\n";
    assert_eq!(server.line, format!("underpass echo: cannot listen on 127.0.0.1:1: {problem}"));
    assert_eq!(server.end().0, Some(1));
}
