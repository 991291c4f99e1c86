//! The file of settings: what it sets, what overrides it, and what is said of a wrong one.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::command::underpass;
use crate::running::{Running, program};

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("settings.toml");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_file_sets_what_is_not_typed() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("directory = {:?}\nlisten = 0\nworkers = 3\n", dir.path());
    let path = file(dir.path(), &text);
    let server = Running::start(program().args(["serve", "--config", utf8(&path)]));
    let shown = dir.path().display();
    assert_eq!(
        server.line,
        format!("serving {shown} at http://{}/ (3 workers)\n", server.address())
    );
    let typed = ["serve", "--config", utf8(&path), "--workers", "1"];
    let server = Running::start(program().args(typed));
    assert!(server.line.ends_with("(1 worker)\n"), "{}", server.line);
}

#[test]
fn lists_switches_and_arguments_without_a_flag_can_be_set() {
    let dir = tempfile::tempdir().unwrap();
    let text = "listen = 0\ntargets = [\"1\", \"2\"]\naccept-proxy-from = [\"10.0.0.0/8\"]\n";
    let path = file(dir.path(), text);
    let relay = Running::start(program().args(["relay", "--config", utf8(&path)]));
    assert!(relay.line.contains(" to 127.0.0.1:1, 127.0.0.1:2 ("), "{}", relay.line);
    // A target on the command line replaces a file of targets.
    let path = file(dir.path(), "targets-file = \"/no/such\"\naccept-proxy = true\n");
    let typed = ["relay", "0", "3", "--config", utf8(&path)];
    let relay = Running::start(program().args(typed));
    assert!(relay.line.contains(" to 127.0.0.1:3 ("), "{}", relay.line);
}

#[test]
fn an_argument_without_a_flag_may_begin_with_a_dash() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("-dir")).unwrap();
    let path = file(dir.path(), "directory = \"-dir\"\nlisten = 0\n");
    let mut command = program();
    command.current_dir(dir.path()).args(["serve", "--config", utf8(&path)]);
    let server = Running::start(&mut command);
    assert!(server.line.contains("/-dir at http://"), "{}", server.line);
    let typed = ["serve", "--config", utf8(&path), "--metrics"];
    let stderr = String::from_utf8(underpass(&typed).stderr).unwrap();
    assert!(stderr.contains("a value is required for '--metrics <ADDR>'"), "{stderr}");
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    for (command, text, problem) in [
        (
            "serve",
            "listen = 0\nacess-log = \"off\"",
            "2:1: there is no key 'acess-log'; did you mean 'access-log'?",
        ),
        (
            "serve",
            "  workers = 0",
            "1:13: invalid value '0' for 'workers': give a number from 1 to 1024",
        ),
        (
            "serve",
            "stability = \"maybe\"",
            "1:13: invalid value 'maybe' for 'stability': give one of none, guard, lease, copy",
        ),
        (
            "serve",
            "redirect = [\"/a /b\", \"/a b\"]",
            "1:22: invalid value '/a b' for 'redirect': TO is a path such as /new, or a URL such \
             as https://example.org/new",
        ),
        (
            "serve",
            "index = [\"index.html\", \"a/b\"]",
            "1:24: invalid value 'a/b' for 'index': give names of files, such as \
             index.html,index.htm",
        ),
        ("serve", "workers = [1, 2]", "1:1: 'workers' takes one value, and not a list"),
        ("serve", "grace = 5s", "1:9: string values must be quoted, expected literal string"),
        ("relay", "accept-proxy = 1", "1:16: 'accept-proxy' is either true or false"),
        (
            "echo",
            "\n\nidle-timeout = \"soon\"",
            "3:16: invalid value 'soon' for 'idle-timeout': expected number at 0; give a time such \
             as 500ms, 5s or 10m",
        ),
    ] {
        let path = file(dir.path(), text);
        let output = underpass(&[command, "--config", utf8(&path)]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("underpass {command}: {}:{problem}\n", path.display()));
        assert_eq!(output.status.code(), Some(1), "{text}");
    }
    let output = underpass(&["serve", "--config", "/no/such"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let line = "underpass serve: cannot read /no/such: No such file or directory (os error 2)\n";
    assert_eq!(stderr, line);
}

#[test]
fn a_check_ends_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "listen = \"192.0.2.1:1\"\n");
    let output = underpass(&["serve", "--config", utf8(&path), "--check-config"]);
    let line = format!("the flags and {} are in order\n", path.display());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_reload_reads_the_file_again_and_says_what_a_restart_would_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "listen = 0\ngrace = \"1s\"\n");
    let typed = ["serve", utf8(dir.path()), "--config", utf8(&path)];
    let mut server = Running::start(program().args(typed));
    let shown = path.display();
    for (text, line) in [
        ("listen = 0\ngrace = \"1s\"\n", format!("{shown} says what it said at the start\n")),
        (
            "grace = \"2s\"\nworkers = 1\n",
            format!("{shown} was read; a restart would change: grace, listen, workers\n"),
        ),
        (
            "worker = 1\n",
            format!(
                "the settings stay what they were: {shown}:1:1: there is no key 'worker'; did you \
                 mean 'workers'?\n"
            ),
        ),
    ] {
        fs::write(&path, text).unwrap();
        server.signal(Signal::HUP);
        assert_eq!(server.next_line(), line);
    }
    let mut client = TcpStream::connect(server.address()).unwrap();
    client.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
}
