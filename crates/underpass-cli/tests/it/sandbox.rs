//! Confinement: a server opens its own files and no others, once it runs.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::wait;

use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What the kernel says of each thread of a process: whether it may gain privileges, and how many
/// filters its system calls pass.
fn restrictions(process: &str) -> Vec<(u32, u32)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of = |task: fs::DirEntry| {
        // A thread may have ended meanwhile.
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let number = |name: &str| {
            let after = status.lines().find_map(|line| line.strip_prefix(name));
            after.expect("Linux 5.9 says it").trim().parse::<u32>().unwrap()
        };
        Some((number("NoNewPrivs:"), number("Seccomp_filters:")))
    };
    tasks.filter_map(|task| of(task.ok()?)).collect()
}

#[test]
fn no_thread_of_a_server_makes_other_system_calls_than_servers_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    let own = restrictions("self")[0];
    for arguments in [
        &["serve", utf8(dir.path()), "--listen", "0"][..],
        &["relay", "0", "1", "--check", "off"],
        &["echo", "0"],
        &["log", "--data", utf8(&dir.path().join("data")), "--listen", "0"],
    ] {
        let arguments = [arguments, &["--workers", "2"]].concat();
        let confined = Running::start(program().args(&arguments));
        let process = confined.id().to_string();
        let are_all = || {
            let all = restrictions(&process);
            (all.len() > 2 && all.iter().all(|it| *it == (1, own.1 + 1))).then_some(())
        };
        wait::until(PATIENCE, are_all).unwrap_or_else(|| {
            panic!("{arguments:?}: {:?}", restrictions(&process));
        });
        // Of a log's directory there is one server at a time.
        drop(confined);
        let free = Running::start(program().args(&arguments).arg("--no-sandbox"));
        let process = free.id().to_string();
        let has_workers = || Some(restrictions(&process)).filter(|all| all.len() > 2);
        let all = wait::until(PATIENCE, has_workers).unwrap();
        assert!(all.iter().all(|it| *it == own), "{arguments:?}: {all:?}");
    }
}

/// A log that an attacker has made a link to a file elsewhere is opened there if anything is.
#[test]
fn a_log_that_leads_elsewhere_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["own", "elsewhere"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let (log, elsewhere) = (dir.path().join("own/log"), dir.path().join("elsewhere/file"));
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let served = dir.path().join("own");
    for (arguments, flag) in [
        (&["serve", utf8(&served), "--listen", "0", "--access-log"][..], None),
        (&["relay", "0", &target, "--log"], None),
        (&["echo", "0", "--log"], None),
        (&["echo", "0", "--log"], Some("--no-sandbox")),
    ] {
        let mut command = program();
        let mut server = Running::start(command.args(arguments).arg(&log).args(flag));
        // READY comes later than the line; a server that answers signals has been confined.
        fs::rename(&log, dir.path().join("own/old")).unwrap();
        server.signal(Signal::USR1);
        wait::until(PATIENCE, || log.exists().then_some(())).expect("its own log is made again");
        fs::remove_file(&log).unwrap();
        symlink(&elsewhere, &log).unwrap();
        server.signal(Signal::USR1);
        if flag.is_none() {
            let warning = server.next_line();
            let denied = "the log stays where it was: Permission denied";
            assert!(warning.contains(denied), "{arguments:?}: {warning}");
            assert!(!elsewhere.exists());
        } else {
            let made = || elsewhere.exists().then_some(());
            wait::until(PATIENCE, made).expect("without a sandbox it is made");
        }
        fs::remove_file(&log).unwrap();
    }
}

#[test]
fn a_confined_server_still_serves_reloads_and_removes_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let (served, socket) = (dir.path().join("served"), dir.path().join("socket"));
    fs::create_dir(&served).unwrap();
    fs::write(served.join("small"), "small").unwrap();
    fs::write(served.join("large"), vec![b'x'; 1 << 20]).unwrap();
    let config = dir.path().join("settings.toml");
    fs::write(&config, "workers = 2\n").unwrap();
    let listen = format!("unix:{}", socket.display());
    let arguments = ["serve", utf8(&served), "--listen", &listen, "--config", utf8(&config)];
    let mut server = Running::start(program().args(arguments));
    for (path, len) in [("/small", 5), ("/large", 1 << 20), ("/", 1)] {
        let mut client = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{path}");
        assert!(answer.len() > len, "{path}");
    }
    server.signal(Signal::HUP);
    let line = server.next_line();
    assert!(line.ends_with("says what it said at the start\n"), "{line}");
    server.signal(Signal::TERM);
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
    assert!(!socket.exists());
}

#[test]
fn a_confined_relay_reads_its_targets_again_and_names_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("targets");
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = target.local_addr().unwrap().port();
    fs::write(&file, "1").unwrap();
    let arguments = ["relay", "0", "--targets-file", utf8(&file), "--check", "off"];
    let relay = Running::start(program().args(arguments));
    let replaced = dir.path().join("new");
    fs::write(&replaced, format!("tcp://localhost:{port}")).unwrap();
    fs::rename(&replaced, &file).unwrap();
    relay.signal(Signal::HUP);
    target.set_nonblocking(true).unwrap();
    let address = relay.line.split(' ').nth(1).unwrap();
    let reached = || {
        let _client = TcpStream::connect(address).unwrap();
        target.accept().ok()
    };
    wait::until(PATIENCE, reached).expect("the new target is reached");
}

#[test]
fn files_behind_links_are_read_and_written_again() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["links", "files"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let [targets, log] = ["targets", "log"].map(|name| {
        let (link, file) =
            (dir.path().join("links").join(name), dir.path().join("files").join(name));
        symlink(&file, &link).unwrap();
        (link, file)
    });
    fs::write(&targets.1, "1\n").unwrap();
    let arguments = ["relay", "0", "--check", "off", "--targets-file", utf8(&targets.0)];
    let mut relay = Running::start(program().args(arguments).args(["--log", utf8(&log.0)]));
    fs::remove_file(&log.1).unwrap();
    fs::write(&targets.1, "none\n").unwrap();
    relay.signal(Signal::HUP);
    let warning = relay.next_line();
    assert!(warning.contains("targets, line 1: "), "{warning}");
    wait::until(PATIENCE, || log.1.exists().then_some(())).expect("the log is made again");
}

/// What is next to the served directory may be read, since it may be replaced; the rest may not.
#[test]
fn a_confined_server_follows_links_wherever_they_lead_if_asked_to() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let served = dir.path().join("site/served");
    fs::create_dir_all(&served).unwrap();
    fs::write(elsewhere.path().join("file"), "elsewhere").unwrap();
    symlink(elsewhere.path(), served.join("link")).unwrap();
    for (policy, status) in [("inside", "404"), ("all", "200")] {
        let arguments = ["serve", utf8(&served), "--listen", "0", "--symlinks", policy];
        let server = Running::start(program().args(arguments));
        let mut client = TcpStream::connect(server.address()).unwrap();
        client
            .write_all(b"GET /link/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer[9..12], *status, "{policy}");
        assert_eq!(answer.ends_with("elsewhere"), policy == "all");
    }
}
