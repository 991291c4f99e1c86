//! Sockets and pipes at either end, with netcat, socat and Java on the other side.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use underpass_testkit::require;
use underpass_testkit::server::free_address;
use underpass_testkit::skip::Capability;
use underpass_testkit::{payload, wait};

use crate::running::Running;

use super::{Waiting, assert_payload, command, copy, patterned, piped, report, utf8};

const LEN: u64 = 7_654_321;

/// A program that listens where it was told to and writes what it gets to a file.
fn receiver(program: &str, arguments: &[&str], into: &Path) -> std::process::Child {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(into).unwrap())
        .spawn()
        .unwrap()
}

/// Copies once the receiver listens.
fn copy_when_it_listens(from: &Path, to: &str) {
    let answer = wait::until(Duration::from_secs(10), || {
        let output = copy(&["-q", utf8(from), to]);
        let refused = String::from_utf8_lossy(&output.stderr);
        let is_early = refused.contains("ECONNREFUSED")
            || refused.contains("refused")
            || refused.contains("No such file");
        (!is_early).then(|| (output.status.code(), refused.into_owned()))
    });
    assert_eq!(answer, Some((Some(0), String::new())));
}

#[test]
fn netcat_and_socat_receive_what_is_sent() {
    require!(Capability::Program("nc"));
    require!(Capability::Program("socat"));
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let address = free_address().unwrap();
    let port = address.port().to_string();
    let mut nc = receiver("nc", &["-l", "127.0.0.1", &port], &to);
    copy_when_it_listens(&from, &format!("tcp://{address}"));
    assert!(nc.wait().unwrap().success());
    assert_payload(&to, 0, LEN);
    let socket = dir.path().join("socket");
    let listen = format!("UNIX-LISTEN:{}", utf8(&socket));
    let mut socat = receiver("socat", &["-u", &listen, "-"], &to);
    copy_when_it_listens(&from, &format!("unix://{}", utf8(&socket)));
    assert!(socat.wait().unwrap().success());
    assert_payload(&to, 0, LEN);
}

#[test]
fn what_netcat_and_socat_send_is_spliced_into_the_file() {
    require!(Capability::Program("nc"));
    require!(Capability::Program("socat"));
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let waiting = Waiting::start(&["--json", "tcp-listen://0", utf8(&to)]);
    let (host, port) = waiting.host_and_port();
    let nc = Command::new("nc")
        .args(["-N", host, port])
        .stdin(File::open(&from).unwrap())
        .status()
        .unwrap();
    assert!(nc.success());
    let account: serde_json::Value = serde_json::from_slice(&waiting.succeed()).unwrap();
    assert_eq!((&account["bytes"], &account["through_user_space"]), (&LEN.into(), &0.into()));
    assert_eq!(account["methods"][0]["method"], "splice");
    assert_payload(&to, 0, LEN);

    let socket = dir.path().join("socket");
    // One that was left behind is in no one's way.
    drop(UnixListener::bind(&socket).unwrap());
    let listen = format!("unix-listen://{}", utf8(&socket));
    let waiting = Waiting::start(&["-q", &listen, utf8(&to)]);
    let connect = format!("UNIX-CONNECT:{}", utf8(&socket));
    let socat = Command::new("socat")
        .args(["-u", "-", &connect])
        .stdin(File::open(&from).unwrap())
        .status();
    assert!(socat.unwrap().success());
    waiting.succeed();
    assert_payload(&to, 0, LEN);
    assert!(!socket.exists());
}

#[test]
fn any_stream_goes_to_any_stream() {
    let want = payload::pattern(0..LEN);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let unix = format!("unix-listen://{}", utf8(&socket));
    // In: a pipe, TCP, a Unix socket. Out: a pipe, TCP.
    for source in ["-", "tcp-listen://0", &unix] {
        for is_pipe in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let tcp = format!("tcp://{}", listener.local_addr().unwrap());
            let sink = if is_pipe { "-" } else { &tcp };
            let mut command = command(&["-q", source, sink]);
            command.stdout(Stdio::piped()).stdin(Stdio::piped());
            let mut waiting = if source == "-" {
                Waiting { running: Running::quiet(&mut command), address: String::new() }
            } else {
                Waiting::of(&mut command)
            };
            let stdin = waiting.running.stdin();
            let mut feed: Box<dyn Write + Send> = match source {
                "-" => Box::new(stdin),
                "tcp-listen://0" => {
                    let address = waiting.address.strip_prefix("tcp://").unwrap();
                    Box::new(TcpStream::connect(address).unwrap())
                }
                _ => Box::new(UnixStream::connect(&socket).unwrap()),
            };
            let bytes = want.clone();
            let feeding = std::thread::spawn(move || feed.write_all(&bytes).unwrap());
            let got = if is_pipe {
                waiting.succeed()
            } else {
                let mut got = Vec::new();
                listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
                waiting.succeed();
                got
            };
            feeding.join().unwrap();
            assert_eq!(payload::difference(&got, 0, LEN), None, "{source} -> {sink}");
        }
    }
}

#[test]
fn a_fifo_is_waited_for_at_both_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut reader = command(&["-q", utf8(&fifo), utf8(&to)]).spawn().unwrap();
    assert!(copy(&["-q", utf8(&from), utf8(&fifo)]).status.success());
    assert!(reader.wait().unwrap().success());
    assert_payload(&to, 0, LEN);
}

#[test]
fn a_rate_is_kept_and_the_bytes_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", 300_000), dir.path().join("to"));
    let account = report(&["--limit-rate", "1M", utf8(&from), utf8(&to)]);
    assert!(account["seconds"].as_f64().unwrap() >= 0.2, "{account}");
    assert_payload(&to, 0, 300_000);
}

#[test]
fn one_peer_after_the_other_is_served_until_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 100_000);
    let waiting = Waiting::start(&["-q", "--keep-listening", utf8(&from), "tcp-listen://0"]);
    let (host, port) = waiting.host_and_port();
    for _ in 0..3 {
        let mut got = Vec::new();
        let mut peer = TcpStream::connect(format!("{host}:{port}")).unwrap();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(payload::difference(&got, 0, 100_000), None);
    }
    waiting.signal(rustix::process::Signal::TERM);
    let (code, _, stderr) = waiting.end();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}

/// A client and a server that move bytes as Java programs do.
const JAVA: &str = r#"
import java.io.*; import java.net.*; import java.nio.channels.*; import java.nio.file.*;
public class Nio {
    public static void main(String[] a) throws Exception {
        InetSocketAddress to = new InetSocketAddress(a[1], Integer.parseInt(a[2]));
        try (SocketChannel s = SocketChannel.open(to)) {
            if (a[0].equals("send")) {
                try (FileChannel f = FileChannel.open(Path.of(a[3]), StandardOpenOption.READ)) {
                    for (long at = 0; at < f.size(); ) at += f.transferTo(at, f.size() - at, s);
                }
                s.shutdownOutput();
            } else {
                try (FileChannel f = FileChannel.open(Path.of(a[3]), StandardOpenOption.WRITE,
                        StandardOpenOption.CREATE)) {
                    for (long at = 0, n; (n = f.transferFrom(s, at, 1 << 20)) > 0; ) at += n;
                }
            }
        }
    }
}
"#;

#[test]
fn java_programs_send_by_transfer_to_and_receive_by_transfer_from() {
    require!(Capability::Program("javac"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Nio.java"), JAVA).unwrap();
    let javac = Command::new("javac").arg("Nio.java").current_dir(dir.path()).status().unwrap();
    assert!(javac.success());
    let java = |waiting: &Waiting, way: &str, file: &PathBuf| {
        let (host, port) = waiting.host_and_port();
        let mut java = Command::new("java");
        java.args(["-Xint", "-XX:+UseSerialGC", "-cp", utf8(dir.path()), "Nio", way, host, port]);
        assert!(java.arg(file).status().unwrap().success());
    };
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let waiting = Waiting::start(&["-q", "tcp-listen://0", utf8(&to)]);
    java(&waiting, "send", &from);
    waiting.succeed();
    assert_payload(&to, 0, LEN);
    let waiting = Waiting::start(&["-q", utf8(&from), "tcp-listen://0"]);
    let again = dir.path().join("again");
    java(&waiting, "receive", &again);
    waiting.succeed();
    assert_payload(&again, 0, LEN);
}

/// splice(2) stops before one as if nothing were there, or no more came.
#[test]
fn what_follows_an_urgent_byte_arrives_and_is_not_taken_for_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let waiting = Waiting::start(&["-q", "tcp-listen://0", utf8(&to)]);
    let mut client = waiting.connect();
    client.write_all(&payload::pattern(0..LEN / 2)).unwrap();
    rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB).unwrap();
    client.write_all(&payload::pattern(LEN / 2..LEN)).unwrap();
    drop(client);
    waiting.succeed();
    assert_payload(&to, 0, LEN);
}

#[test]
fn a_socket_that_was_inherited_is_given_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let (mut peer, inherited) = UnixStream::pair().unwrap();
    let ours = inherited.try_clone().unwrap();
    let mut command = command(&["-q", "fd:0", utf8(&to)]);
    command.stdin(std::os::fd::OwnedFd::from(inherited));
    let mut child = command.spawn().unwrap();
    drop(command);
    peer.write_all(&payload::pattern(0..LEN)).unwrap();
    drop(peer);
    assert!(child.wait().unwrap().success());
    assert_payload(&to, 0, LEN);
    let flags = rustix::fs::fcntl_getfl(&ours).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "{flags:?}");
}

#[test]
fn a_range_of_a_stream_is_cut_to_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", 10_000), dir.path().join("to"));
    for (range, start, len) in [("100-4199", 100, 4_100), ("9000-99999", 9_000, 1_000)] {
        let mut command = command(&["-q", "--range", range, "-", utf8(&to)]);
        assert!(command.stdin(piped(&from)).status().unwrap().success());
        assert_payload(&to, start, len);
    }
    for (range, part) in
        [("-5", "a stream cannot be read from its end"), ("10001-", "source ended after")]
    {
        let mut command = command(&["--range", range, "-", "/dev/null"]);
        let output = command.stdin(piped(&from)).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn the_kernel_is_asked_for_what_the_account_says() {
    require!(Capability::Strace);
    let dir = tempfile::tempdir_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
    let (from, to) = (patterned(dir.path(), "from", 8 << 20), dir.path().join("to"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = format!("tcp://{}", listener.local_addr().unwrap());
    let reading = std::thread::spawn(move || {
        std::io::copy(&mut listener.accept().unwrap().0, &mut std::io::sink()).unwrap()
    });
    for (sink, call) in [(utf8(&to), "copy_file_range"), (&*tcp, "sendfile")] {
        let log = dir.path().join("log");
        let status = Command::new("strace")
            .args(["-f", "-qq", "-o", utf8(&log), "-e", "trace=%desc,%network,sendfile,splice"])
            .arg(env!("CARGO_BIN_EXE_underpass"))
            .args(["copy", "-q", utf8(&from), sink])
            .status();
        assert!(status.unwrap().success());
        let log = std::fs::read_to_string(log).unwrap();
        // `call(…) = count`, after the process's number.
        let moved = |name: &str| -> u64 {
            let lines = log.lines().filter_map(|line| line.split_once(' '));
            let calls = lines.filter(|(_, line)| line.trim_start().starts_with(name));
            calls.filter_map(|(_, line)| line.rsplit_once(" = ")?.1.parse::<u64>().ok()).sum()
        };
        assert_eq!(moved(&format!("{call}(")), 8 << 20, "{log}");
        for copying in ["read(", "pread64(", "write(", "pwrite64(", "pwritev(", "sendmsg("] {
            assert!(moved(copying) < 100_000, "{copying} {log}");
        }
    }
    assert_eq!(reading.join().unwrap(), 8 << 20);
}
