//! Transfers that are cut in the middle, by either end, a signal or a full disk: what each kind of
//! sink has then.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Pid, Signal, kill_process};
use underpass_testkit::disk::{Disk, FileSystem, disk_dir};
use underpass_testkit::skip::Capability;
use underpass_testkit::{payload, require, wait};

use super::http::nginx;
use super::{command, failure, names, patterned, utf8};

const LEN: u64 = 20_000_003;

/// How many bytes of it arrive before a reset.
const BEFORE: u64 = 300_000;

/// Serves one peer the beginning of a file, with `head` before it if it asks, and resets.
fn resetting(head: Option<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        if let Some(head) = head {
            let mut lines = BufReader::new(&peer).lines();
            while !lines.next().unwrap().unwrap().is_empty() {}
            peer.write_all(head.as_bytes()).unwrap();
        }
        peer.write_all(&payload::pattern(0..BEFORE)).unwrap();
        // Whatever has not been read would go with it.
        let client = peer.peer_addr().unwrap();
        let is_read = || has_read_all(client).then_some(());
        wait::until(Duration::from_secs(10), is_read).expect("the peer reads it");
        set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
    });
    address
}

/// Whether the socket at this end has nothing more to read (proc(5): `tx_queue:rx_queue`).
pub(super) fn has_read_all(end: SocketAddr) -> bool {
    let local = format!(":{:04X} ", end.port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_it = |fields: &Vec<&str>| format!("{} ", fields[1]).ends_with(&local);
    fields.find(is_it).is_none_or(|fields| fields[4].ends_with(":00000000"))
}

/// What a sink has when the copy has failed: nothing under its name.
fn assert_nothing_is_named(to: &Path, what: &str) {
    assert!(!to.exists(), "{what}");
    let directory = to.parent().unwrap();
    let kept = names(directory).into_iter().filter(|name| name != "to.part").count();
    assert_eq!(kept, 0, "{what}: {:?}", names(directory));
}

#[test]
fn a_source_that_resets_leaves_no_file_and_a_part_to_go_on_with() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let server = nginx(dir.path(), false);
    let (inside, root) = (dir.path().join("in"), dir.path().join("root"));
    std::fs::create_dir(&inside).unwrap();
    let put = format!("http://{}/to", server.address());
    let to = inside.join("to");
    let head = format!("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: {LEN}\r\n\r\n");
    for is_http in [false, true] {
        for (flags, sink) in [(&[][..], utf8(&to)), (&["--resume"], utf8(&to)), (&[], &put)] {
            let address = resetting(is_http.then(|| head.clone()));
            let source = if is_http { "http" } else { "tcp" };
            let source = format!("{source}://{address}{}", if is_http { "/x" } else { "" });
            let (code, line) = failure(&[flags, &[&source, sink]].concat());
            assert_eq!((code, line.lines().count()), (Some(1), 1), "{line}");
            assert!(line.contains("reset by peer"), "{line}");
            assert_nothing_is_named(&to, &line);
            assert_eq!(names(&root), [""; 0], "{line}");
            let part = std::fs::read(inside.join("to.part"));
            assert_eq!(part.is_ok(), !flags.is_empty(), "{line}");
            if let Ok(part) = part {
                let len = part.len() as u64;
                assert!(len <= BEFORE && line.contains(&format!("after {len} ")), "{line}");
                assert_eq!(payload::difference(&part, 0, len), None);
                std::fs::remove_file(inside.join("to.part")).unwrap();
            }
        }
    }
}

#[test]
fn a_put_that_is_cut_makes_no_file_at_the_server() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let server = nginx(dir.path(), false);
    let put = format!("http://{}/to", server.address());
    let begun = || {
        let body = std::fs::read_dir(dir.path().join("body")).ok()?.next()?.ok()?;
        (body.metadata().ok()?.len() > 0).then_some(())
    };
    for (is_signal, code, part) in [
        (true, 130, "ended by SIGINT after "),
        (false, 1, " bytes are missing; the source is shorter"),
    ] {
        let from = patterned(dir.path(), "from", LEN);
        let arguments = ["--limit-rate", "5M", "--stability", "none", utf8(&from), &put];
        let child = command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        wait::until(Duration::from_secs(10), begun).expect("the server writes it");
        if is_signal {
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        } else {
            File::options().write(true).open(&from).unwrap().set_len(1_000).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(line.contains(part) && line.lines().count() == 1, "{line}");
        let is_gone = || begun().is_none().then_some(());
        wait::until(Duration::from_secs(10), is_gone).expect("the server drops it");
        assert_eq!(names(&dir.path().join("root")), [""; 0]);
    }
}

#[test]
fn a_source_that_shrinks_while_it_is_sent_is_an_error_and_the_peer_has_what_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", LEN);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let end = format!("tcp://{}", listener.local_addr().unwrap());
    let arguments = ["--limit-rate", "5M", "--stability", "none", utf8(&from), &end];
    let child = command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut peer = listener.accept().unwrap().0;
    let mut got = vec![0; 100_000];
    peer.read_exact(&mut got).unwrap();
    File::options().write(true).open(&from).unwrap().set_len(1_000).unwrap();
    peer.read_to_end(&mut got).unwrap();
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    let told = format!("after {} of {LEN} bytes", got.len());
    assert!(line.contains(&told), "{told}: {line}");
    // Pages that sendfile has queued lose their bytes with the file (see `--stability`).
    assert_eq!(payload::difference(&got[..100_000], 0, 100_000), None);
}

#[test]
fn a_disk_that_fills_up_keeps_a_part_of_what_came_over_any_number_of_connections() {
    require!(Capability::Program("nginx"));
    let disk = require!(Disk::new(FileSystem::Ext4, 16 << 20));
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let server = nginx(dir.path(), false);
    patterned(&dir.path().join("root"), "from", 2 * LEN);
    let url = format!("http://{}/from", server.address());
    let to = disk.path().join("to");
    let before = names(disk.path());
    for (flags, is_kept) in [
        (&[][..], false),
        (&["--parallel", "4"], false),
        (&["--resume"], true),
        (&["--resume", "--parallel", "4"], true),
    ] {
        let (code, line) = failure(&[flags, &[&url, utf8(&to)]].concat());
        assert_eq!((code, line.lines().count()), (Some(1), 1), "{flags:?}: {line}");
        assert!(line.contains("No space left on device"), "{flags:?}: {line}");
        assert_eq!(line.contains("; what arrived is in "), is_kept, "{flags:?}: {line}");
        let part = disk.path().join("to.part");
        assert_eq!((to.exists(), part.exists()), (false, is_kept), "{flags:?}: {line}");
        if is_kept {
            std::fs::remove_file(part).unwrap();
        }
        assert_eq!(names(disk.path()), before);
    }
}
