//! Java NIO at both ends of a relay, and at an echo server: files by `FileChannel.transferTo`.
//!
//! Source: java.nio.channels, `FileChannel.transferTo`, `SocketChannel.shutdownOutput`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use underpass_relay::Endpoint;
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::require;
use underpass_testkit::skip::Capability::Program;

use crate::echo;
use crate::fixture::Running;

const LEN: u64 = 8_388_611;

/// Bytes of the answer come from elsewhere in the pattern than those of the question.
const ANSWER: u64 = 1_000_003;

/// `client PORT IN OUT` sends a file and its end, and keeps what comes; `echoed` does both at a
/// time. `server first|last IN OUT` answers one client with a file, before or after its end.
const PROGRAM: &str = r#"
import java.io.*; import java.net.*; import java.nio.channels.*; import java.nio.file.*;
import static java.nio.file.StandardOpenOption.*;
public class Nio {
    static void send(SocketChannel s, String name) throws IOException {
        try (FileChannel f = FileChannel.open(Path.of(name), READ)) {
            for (long at = 0; at < f.size(); ) at += f.transferTo(at, f.size() - at, s);
        }
        s.shutdownOutput();
    }
    static void keep(SocketChannel s, String name) throws IOException {
        try (FileChannel f = FileChannel.open(Path.of(name), WRITE, CREATE)) {
            for (long at = 0, n; (n = f.transferFrom(s, at, 1 << 20)) > 0; ) at += n;
        }
    }
    public static void main(String[] a) throws Exception {
        InetAddress here = InetAddress.getByName("127.0.0.1");
        if (a[0].equals("server")) {
            try (ServerSocketChannel l = ServerSocketChannel.open()) {
                l.bind(new InetSocketAddress(here, 0));
                System.out.println(l.socket().getLocalPort());
                try (SocketChannel s = l.accept()) {
                    if (a[1].equals("first")) { send(s, a[2]); keep(s, a[3]); }
                    else { keep(s, a[3]); send(s, a[2]); }
                }
            }
            return;
        }
        try (SocketChannel s = SocketChannel.open(
                new InetSocketAddress(here, Integer.parseInt(a[1])))) {
            if (a[0].equals("client")) { send(s, a[2]); keep(s, a[3]); return; }
            if (a[0].equals("listener")) { keep(s, a[3]); send(s, a[2]); return; }
            Thread sending = new Thread(() -> {
                try { send(s, a[2]); } catch (IOException e) { throw new UncheckedIOException(e); }
            });
            sending.start();
            keep(s, a[3]);
            sending.join();
        }
    }
}
"#;

/// A folder with the program and the files that are sent.
fn compiled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("Nio.java"), PROGRAM).unwrap();
    let javac = Command::new("javac").arg("Nio.java").current_dir(dir.path()).status().unwrap();
    assert!(javac.success());
    fs::write(dir.path().join("question"), pattern(0..LEN)).unwrap();
    fs::write(dir.path().join("answer"), pattern(ANSWER..ANSWER + LEN)).unwrap();
    dir
}

fn java(dir: &Path, arguments: &[&str]) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xint", "-XX:+UseSerialGC", "Nio"]).args(arguments).current_dir(dir);
    java
}

/// A server that says its port.
fn serving(dir: &Path, arguments: &[&str]) -> (Child, BufReader<ChildStdout>, Endpoint) {
    let mut child = java(dir, arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    (child, stdout, line.trim().parse().unwrap())
}

/// The end of one direction long before that of the other, whichever comes first.
#[test]
fn java_sends_by_transfer_to_both_ways_through_the_relay() {
    require!(Program("javac"));
    let dir = compiled();
    for (client_is, server_is) in [("client", "last"), ("listener", "first")] {
        let (mut server, _stdout, endpoint) =
            serving(dir.path(), &["server", server_is, "answer", "got-question"]);
        let relay = Running::to(&[endpoint]);
        let port = relay.address().port().to_string();
        let client = java(dir.path(), &[client_is, &port, "question", "got-answer"]).status();
        assert!(client.unwrap().success() && server.wait().unwrap().success(), "{client_is}");
        for (name, start) in [("got-question", 0), ("got-answer", ANSWER)] {
            let got = fs::read(dir.path().join(name)).unwrap();
            assert_eq!(difference(&got, start, LEN), None, "{client_is}: {name}");
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        relay.until("ended_total{end=\"closed\"}", 1);
        for direction in ["up", "down"] {
            let series =
                format!("relayed_bytes_total{{direction=\"{direction}\",method=\"splice\"}}");
            assert!(relay.metric(&series) > LEN / 2, "{client_is}: {direction}");
        }
    }
}

#[test]
fn java_gets_back_what_it_sends_by_transfer_to() {
    require!(Program("javac"));
    let dir = compiled();
    let kept = dir.path().join("kept");
    for tee in [None, Some(kept.clone())] {
        let endpoint = echo::start(echo::options(tee));
        let port = echo::address(&endpoint).port().to_string();
        let client = java(dir.path(), &["echoed", &port, "question", "echoed"]).status();
        assert!(client.unwrap().success());
        let got = fs::read(dir.path().join("echoed")).unwrap();
        assert_eq!(difference(&got, 0, LEN), None);
        fs::remove_file(dir.path().join("echoed")).unwrap();
    }
    assert_eq!(difference(&fs::read(&kept).unwrap(), 0, LEN), None);
}
