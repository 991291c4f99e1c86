//! `underpass explain`: exit codes, JSON, commands, and what it says without privileges.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::Value;
use underpass_testkit::payload::pattern;
use underpass_testkit::require;
use underpass_testkit::skip::Capability::{Program, Root};

use crate::command::underpass;
use crate::hidden::tried;
use crate::running::{Running, as_nobody, copy_program, for_everybody, program};

/// Neither a multiple of a page nor of a call.
const LEN: u64 = 4_194_307;

/// Interrupts it and waits for its end.
fn interrupt(watch: Running) -> (Option<i32>, String, String) {
    watch.signal(Signal::INT);
    watch.end_of_text()
}

fn explain(arguments: &[&str]) -> Running {
    // Expected bytes are those of everything, however busy the machine is with other tests.
    let watch = Running::start(program().args(["explain", "--budget", "100"]).args(arguments));
    assert!(watch.line.starts_with("watching "), "{}", watch.line);
    watch
}

/// Serves a directory by `underpass serve`.
fn serve(dir: &tempfile::TempDir) -> (Running, SocketAddr) {
    let mut command = program();
    command.arg("serve").arg(dir.path()).args(["--listen", "127.0.0.1:0"]);
    let server = Running::start(&mut command);
    let address = server.address();
    (server, address)
}

fn get(server: SocketAddr, path: &str) -> Vec<u8> {
    let mut peer = TcpStream::connect(server).unwrap();
    write!(peer, "GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    answer
}

fn site(len: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(dir.path().join("a.bin")).unwrap();
    file.write_all(&pattern(0..len)).unwrap();
    file.sync_all().unwrap();
    dir
}

/// Whether as much as that was seen to leave.
fn has_left(json: &str, bytes: u64) -> bool {
    let summary: Value = serde_json::from_str(json).unwrap();
    let total = &summary["report"]["total"];
    let parts = ["by_reference_bytes", "copied_bytes", "unknown_bytes", "other_bytes"];
    parts.iter().map(|part| total[part].as_u64().unwrap()).sum::<u64>() >= bytes
}

#[test]
fn our_own_server_lends_large_files_and_copies_small_ones_on_purpose() {
    require!(Root);
    for (len, by_reference, copied) in [(LEN, LEN, 0), (5_000, 0, 5_000)] {
        let dir = site(len);
        let once = || {
            let (server, address) = serve(&dir);
            let watch = explain(&[&server.id().to_string(), "--json", "--min-by-reference", "95"]);
            assert!(get(address, "a.bin").ends_with(&pattern(0..len)));
            interrupt(watch)
        };
        let (code, stdout, stderr) = tried(once, |(_, stdout, _)| has_left(stdout, len));
        let summary: Value = serde_json::from_str(&stdout).unwrap();
        let total = &summary["report"]["total"];
        assert_eq!(total["by_reference_bytes"], by_reference, "{stdout}");
        assert_eq!(total["copied_bytes"], copied, "{stdout}");
        let name = dir.path().canonicalize().unwrap().join("a.bin").display().to_string();
        assert_eq!(summary["report"]["files"][0]["name"], name);
        assert_eq!(code, Some(i32::from(copied > 0)), "{stderr}");
        if copied > 0 {
            assert!(stderr.starts_with("underpass explain: 0 % of 5,000 file bytes"), "{stderr}");
            assert_eq!(summary["report"]["findings"][0]["reason"], "R1");
            assert!(stdout.contains("small pieces are copied on purpose"), "{stdout}");
        }
    }
}

#[test]
fn a_watch_of_a_busy_server_keeps_to_its_budget_and_says_how_much_it_saw() {
    require!(Root);
    let dir = site(LEN);
    let (server, address) = serve(&dir);
    let is_over = AtomicBool::new(false);
    let summary: Value = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert!(get(address, "a.bin").ends_with(&pattern(LEN - 9..LEN)));
            }
        });
        let arguments =
            ["explain", &server.id().to_string(), "--budget", "0.1", "--for", "2", "--json"];
        let output = underpass(&arguments);
        is_over.store(true, Ordering::Relaxed);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    });
    assert_eq!(summary["budget_percent"], 0.1);
    let looked = summary["looked_percent"].as_f64().unwrap();
    assert!((0.5..80.0).contains(&looked), "looked at {looked} %");
    assert_eq!(summary["by_reference_interval"]["high"], 100.0, "{summary}");
    assert!(summary["report"]["total"]["by_reference_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn a_check_of_a_program_that_sends_nothing_fails_and_says_so() {
    require!(Root);
    let output = underpass(&["explain", "--min-by-reference", "95", "--", "true"]);
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout.contains("No file bytes were seen to leave a TCP socket."), "{stdout}");
    let said = stderr.lines().nth(1).unwrap();
    assert!(said.starts_with("underpass explain: no file bytes were seen"), "{stderr}");
}

#[test]
fn a_command_is_watched_from_its_start_and_its_failure_is_ours() {
    require!(Root);
    let output = underpass(&["explain", "--", "sh", "-c", "echo said; exit 3"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.starts_with(b"said\n"));
    assert!(stderr.ends_with("underpass explain: sh ended with exit status: 3\n"), "{stderr}");
    // It is over before anybody looks.
    let output = underpass(&["explain", "--", "true"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.starts_with("true ("), "{stdout}");
}

#[test]
fn a_command_that_cannot_be_run_is_told_in_one_line_and_nothing_is_watched() {
    for (command, why) in [
        ("/no/such/program", "cannot run /no/such/program: No such file"),
        ("no-such-program", "cannot run 'no-such-program': no directory of PATH has such"),
        ("/etc/passwd", "cannot run /etc/passwd: it is not executable; 'chmod +x' makes it so"),
        ("/tmp", "cannot run /tmp: it is not a file"),
        ("", "cannot run '': no directory of PATH"),
    ] {
        let output = underpass(&["explain", "--", command]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.starts_with(&format!("underpass explain: {why}")), "{stderr}");
        assert!(output.stdout.is_empty(), "{command}");
    }
}

/// Runs `explain` with this standard output.
fn explained_to(stdout: impl Into<Stdio>, arguments: &[&str]) -> (Option<i32>, String) {
    let output = program().arg("explain").args(arguments).stdout(stdout).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_check_fails_whether_its_report_is_read_or_not() {
    let unread = || std::io::pipe().unwrap().1;
    let (code, stderr) = explained_to(unread(), &["--tier", "C", "--", "true"]);
    assert_eq!((code, stderr.lines().count()), (Some(0), 1), "{stderr}");
    let check = ["--tier", "C", "--min-by-reference", "95", "--every", "0.1", "--", "sleep", "1"];
    let (code, stderr) = explained_to(unread(), &check);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("the share by reference is not known in tier C"), "{stderr}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (code, stderr) = explained_to(full, &["--tier", "C", "--", "true"]);
    assert_eq!(code, Some(1), "{stderr}");
    let said = stderr.lines().nth(1).unwrap();
    let why = "underpass explain: standard output cannot be written: No space left on device";
    assert!(said.starts_with(why), "{stderr}");
}

#[test]
fn a_watch_of_no_process_or_of_two_things_is_refused() {
    let output = underpass(&["explain", "4194304"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.starts_with("underpass explain: there is no process 4194304"), "{stderr}");
    for arguments in [&["explain"][..], &["explain", "1", "--", "true"], &["explain", "nginx"]] {
        assert_eq!(underpass(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn in_a_pid_namespace_it_sees_every_byte_of_its_child_and_of_that_ones_child() {
    require!(Root);
    require!(Program("unshare"));
    require!(Program("python3"));
    let dir = site(LEN);
    let program = "
import os, socket, threading
listener = socket.create_server(('127.0.0.1', 0))
peer = socket.create_connection(listener.getsockname())
sink = listener.accept()[0]
file = os.open('a.bin', os.O_RDONLY)
size = os.fstat(file).st_size
threading.Thread(target=lambda: sink.recv(2 * size, socket.MSG_WAITALL)).start()
def send():
    at = 0
    while at < size:
        at += os.sendfile(peer.fileno(), file, at, size - at)
send()
if os.fork() == 0:
    send()
    os._exit(0)
os.wait()
";
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_underpass")]);
    command
        .args(["explain", "--json", "--budget", "100", "--", "python3", "-c", program])
        .current_dir(dir.path());
    let output = command.output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr, "watching python3 in tier A\n");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["report"]["total"]["by_reference_bytes"], 2 * LEN, "{stdout}");
    let processes = summary["report"]["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 2, "{stdout}");
}

#[test]
fn where_proc_shows_other_numbers_nothing_is_watched() {
    require!(Root);
    require!(Program("unshare"));
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--fork", env!("CARGO_BIN_EXE_underpass"), "explain", "--", "true"]);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with("underpass explain: /proc shows the numbers of another"),
        "{stderr}"
    );
}

#[test]
fn what_is_no_process_to_watch_is_named() {
    // kthreadd, where the first PID namespace is seen.
    let comm = std::fs::read_to_string("/proc/2/comm").unwrap_or_default();
    if comm == "kthreadd\n" {
        refused(2, "process 2 (kthreadd) is a thread of the kernel");
    }
    let (end, begin) = (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel());
    let other = std::thread::spawn(move || {
        begin.0.send(rustix::thread::gettid().as_raw_pid().cast_unsigned()).unwrap();
        end.1.recv().unwrap_err();
    });
    let thread = begin.1.recv().unwrap();
    refused(thread, &format!("{thread} is a thread of process {} (it-", std::process::id()));
    drop(end.0);
    other.join().unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let process = child.id();
    let state = || std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let patience = std::time::Duration::from_secs(10);
    underpass_testkit::wait::until(patience, || state().contains(") Z ").then_some(())).unwrap();
    refused(process, &format!("process {process} (true) has ended, and only its parent"));
    child.wait().unwrap();
}

fn refused(process: u32, why: &str) {
    let output = underpass(&["explain", &process.to_string()]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.starts_with(&format!("underpass explain: {why}")), "{stderr}");
}

#[test]
fn without_privileges_it_says_its_tier_and_what_it_cannot_know() {
    require!(Root);
    require!(Program("setpriv"));
    let (_dir, path) = for_everybody();
    let check = ["explain", "--min-by-reference", "95", "--", "true"];
    let output = as_nobody(&[], &path).args(check).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("watching true in tier C (bpf is not permitted"), "{stderr}");
    assert!(stderr.contains("the share by reference is not known in tier C"), "{stderr}");
    for part in ["tier C (same user, without BPF)", "not known:", "Only calls are counted"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    assert!(!stdout.contains('%'), "no share is known: {stdout}");

    let dir = site(LEN);
    let (server, _) = serve(&dir);
    let output = as_nobody(&[], &path)
        .args(["explain", &server.id().to_string(), "--for", "0.2"])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout.starts_with(&format!("underpass ({}), ", server.id())), "{stdout}");
    assert!(stdout.contains("tier D (no privilege over the process)"), "{stdout}");
    assert!(stdout.contains("the counters of another user's process are closed"), "{stdout}");
}

#[test]
fn a_lesser_tier_that_is_asked_for_is_named_and_of_the_one_that_is_gone_it_says_so() {
    let output = underpass(&["explain", "--tier", "C", "--", "true"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("watching true in tier C (tier C was asked for)"), "{stderr}");
    let output = underpass(&["explain", "--tier", "B", "--", "true"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("tier B (tracepoints without BPF) was removed"), "{stderr}");
}

#[test]
fn a_programs_name_does_nothing_to_the_terminal() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let path = dir.path().join("\u{1b}]0;x\u{7}\nfix: y");
    copy_program("/bin/true", &path);
    let output = underpass(&["explain", "--tier", "C", "--", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    for text in [output.stdout, output.stderr] {
        let text = String::from_utf8(text).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.lines().all(|line| !line.starts_with("fix:")), "{text}");
    }
}

#[test]
fn two_capabilities_suffice_for_nobody_to_see_pages() {
    require!(Root);
    require!(Program("setpriv"));
    let (_dir, path) = for_everybody();
    let capabilities = ["--inh-caps=+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon"];
    let dir = site(LEN);
    let (server, address) = serve(&dir);
    let once = || {
        let mut command = as_nobody(&capabilities, &path);
        let process = server.id().to_string();
        command.stdout(Stdio::piped());
        command.args(["explain", &process, "--budget", "100", "--json"]);
        let watch = Running::start(&mut command);
        assert!(watch.line.ends_with("in tier A\n"), "{}", watch.line);
        assert!(get(address, "a.bin").ends_with(&pattern(0..LEN)));
        interrupt(watch)
    };
    let (code, stdout, stderr) = tried(once, |(_, stdout, _)| has_left(stdout, LEN));
    assert_eq!(code, Some(0), "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["report"]["total"]["by_reference_bytes"], LEN, "{stdout}");
}
