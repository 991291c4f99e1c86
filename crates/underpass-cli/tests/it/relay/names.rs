//! Targets by name, in a mount namespace where /etc/hosts is the test's; other ways to write ends;
//! peers that may have gone.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use underpass_testkit::skip::Capability::Root;
use underpass_testkit::{require, wait};

use super::{PATIENCE, accept, address, connect, listener, start};
use crate::running::{Running, program};

/// A relay that finds its hosts in this file.
fn start_among(hosts: &Path, arguments: &[&str]) -> Running {
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(hosts).arg(program().get_program());
    Running::start(command.args(["relay", "0"]).args(arguments).args(["--workers", "1"]))
}

/// A target that says this byte to each client, for ever; gives its port.
fn says(byte: u8, listen: (&str, u16)) -> u16 {
    let target = TcpListener::bind(listen).unwrap();
    let port = target.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut server in target.incoming().flatten() {
            server.write_all(&[byte]).unwrap_or_default();
        }
    });
    port
}

/// Waits until the relay's target is the one that says this byte.
fn wait_for(relay: &Running, byte: u8) {
    let said = || {
        let mut got = [0];
        connect(relay).read_exact(&mut got).ok().filter(|()| got == [byte])
    };
    wait::until(PATIENCE, said).unwrap_or_else(|| panic!("{byte} is not said"));
}

#[test]
fn every_address_of_a_name_is_tried_and_names_are_looked_up_again() {
    require!(Root);
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    let port = says(b'1', ("127.0.0.9", 0));
    says(b'2', ("127.0.0.10", port));
    // Nothing listens at the first address.
    fs::write(&hosts, "127.0.0.8 two.test\n127.0.0.9 two.test\n").unwrap();
    let target = format!("two.test:{port}");
    let relay = start_among(&hosts, &[&target, "--look-up", "1s"]);
    assert!(relay.line.contains(&format!(" to {target} ")), "{}", relay.line);
    let mut got = [0];
    connect(&relay).read_exact(&mut got).unwrap();
    assert_eq!(got, *b"1");
    fs::write(&hosts, "127.0.0.10 two.test\n").unwrap();
    wait_for(&relay, b'2');
}

#[test]
fn a_name_that_is_not_found_at_the_start_is_found_later() {
    require!(Root);
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    fs::write(&hosts, "").unwrap();
    let target = format!("late.test:{}", says(b'1', ("127.0.0.1", 0)));
    // Looked up again because connections to it fail.
    let mut relay = start_among(&hosts, &[&target, "--look-up", "off"]);
    assert!(relay.line.contains(&format!("{target}: the host was not found")), "{}", relay.line);
    relay.line = relay.next_line();
    connect(&relay).read(&mut [0]).unwrap_err();
    fs::write(&hosts, "127.0.0.1 late.test\n").unwrap();
    wait_for(&relay, b'1');
    let found = relay.next_line();
    assert!(found.ends_with(&format!("{target} is found\n")), "{found}");
}

#[test]
fn a_name_of_the_relay_itself_is_refused() {
    let (_taken, address) = listener();
    let port = address.rsplit_once(':').unwrap().1;
    let itself = format!("localhost:{port}");
    let relay = Running::start(program().args(["relay", port, &itself]));
    assert_eq!(
        relay.line,
        format!(
            "underpass relay: the target {itself} is where the relay listens itself; each \
             connection would make another; name another port or path\n"
        )
    );
    assert_eq!(relay.end().0, Some(1));
}

#[test]
fn abstract_sockets_are_listened_at_and_connected_to() {
    let [echo, relay] = ["echo", "relay"].map(|end| format!("@{end}-{}", std::process::id()));
    let _echo = start(&["echo", &format!("unix:{echo}")]);
    let server = start(&["relay", &format!("unix:{relay}"), &format!("unix:{echo}")]);
    assert!(server.line.starts_with(&format!("relaying unix:{relay} to unix:{echo} ")));
    // copy is at both ends of another one.
    let through = format!("unix-listen://{relay}-copy");
    let mut listening = program();
    let listening = Running::start(listening.args(["copy", &through, "-"]));
    assert_eq!(listening.line, format!("listening at unix://{relay}-copy\n"));
    let mut copy = program();
    copy.args(["copy", "-q", "-", &format!("unix://{relay}-copy")]).stdin(Stdio::piped());
    let mut copy = copy.spawn().unwrap();
    copy.stdin.take().unwrap().write_all(b"through").unwrap();
    assert!(copy.wait().unwrap().success());
    assert_eq!(listening.end().1, b"through");
    assert!(!Path::new(&relay).exists() && !Path::new(&echo).exists(), "a file was made");
    let mut client = program();
    client.args(["copy", "-q", &format!("unix://{relay}"), "-"]).stderr(Stdio::null());
    drop(server);
    assert!(!client.status().unwrap().success(), "the name ends with its server");
}

#[test]
fn a_star_is_every_address_to_listen_at_and_no_target() {
    let (target, endpoint) = listener();
    let relay = start(&["relay", "*:0", &endpoint]);
    let port = relay.line.split(' ').nth(1).unwrap().rsplit_once(':').unwrap().1;
    let mut client = TcpStream::connect(format!("127.0.0.2:{port}")).unwrap();
    client.write_all(b"x").unwrap();
    accept(&target).read_exact(&mut [0]).unwrap();
    let relay = Running::start(program().args(["relay", "0", "*:80"]));
    let problem = "the target *:80 is every address of this machine: give the one to connect to";
    assert_eq!(relay.line, format!("underpass relay: {problem}\n"));
}

/// The timers of the established sockets of a port: 2 is keep-alive (net/ipv4/tcp_ipv4.c).
fn timers(port: u16) -> Vec<String> {
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{port:04X}");
    let fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_port = fields.filter(|fields| {
        fields.get(1..4).is_some_and(|it| (it[0] == local || it[1] == local) && it[2] == "01")
    });
    of_port.map(|fields| fields[5].split_once(':').unwrap().0.to_owned()).collect()
}

fn wait_for_timers(port: u16, wanted: &[&str]) {
    let sorted = || {
        let mut found = timers(port);
        found.sort();
        (found == wanted).then_some(())
    };
    wait::until(PATIENCE, sorted).unwrap_or_else(|| panic!("{:?} at {port}", timers(port)));
}

#[test]
fn peers_are_asked_whether_they_are_there() {
    let (target, endpoint) = listener();
    let port = target.local_addr().unwrap().port();
    for (arguments, ours) in [(&[][..], "02"), (&["--keep-alive", "off"], "00")] {
        let relay = start(&[&["relay", "0", &endpoint], arguments].concat());
        let (client, server) = (connect(&relay), accept(&target));
        // The other one is the test's.
        wait_for_timers(address(&relay).port(), &["00", ours]);
        wait_for_timers(port, &["00", ours]);
        drop((client, server));
    }
    let copy = Running::quiet(program().args(["copy", &format!("tcp://{endpoint}"), "-"]));
    let server = accept(&target);
    wait_for_timers(port, &["00", "02"]);
    drop(server);
    assert_eq!(copy.end().0, Some(0));
    let copy = Running::start(program().args(["copy", "tcp-listen://0", "-"]));
    let listening = copy.line.trim_end().rsplit_once('/').unwrap().1;
    let client = TcpStream::connect(listening).unwrap();
    wait_for_timers(client.peer_addr().unwrap().port(), &["00", "02"]);
}

#[test]
fn a_relay_without_connections_ends_when_told_to() {
    let (target, endpoint) = listener();
    let limit = Duration::from_millis(200);
    let relay = start(&["relay", "0", &endpoint, "--exit-idle", "200ms"]);
    let (mut client, mut server) = (connect(&relay), accept(&target));
    let begun = Instant::now();
    while begun.elapsed() < 4 * limit {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        thread::park_timeout(limit / 20);
    }
    drop((client, server));
    let (code, _, stderr) = relay.end();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}
