//! `underpass compare`: figures as JSON, as text and as a page, and what is left of one that was
//! interrupted.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use underpass_testkit::disk::disk_dir;
use underpass_testkit::payload::pattern;
use underpass_testkit::skip::Capability::{Program, Root};
use underpass_testkit::{require, wait};

use crate::command::underpass;
use crate::running::{as_nobody, for_everybody};

/// Longer than what is moved of it.
const FILE_LEN: u64 = 4_194_307;
const MOVED: u64 = 1 << 20;

/// A directory on a disk, with a file `data` in it.
fn directory() -> TempDir {
    let directory = TempDir::new_in(disk_dir().unwrap().canonicalize().unwrap()).unwrap();
    std::fs::write(directory.path().join("data"), pattern(0..FILE_LEN)).unwrap();
    directory
}

fn compare(directory: &Path) -> Command {
    // What a shell starts in the background ignores SIGINT, and all that it starts: the tests too.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(env!("CARGO_BIN_EXE_underpass")).arg("compare");
    command.current_dir(directory).env("TMPDIR", directory).stdin(Stdio::null());
    command
}

fn value(figure: &Value) -> Option<f64> {
    figure.get("measured").or_else(|| figure.pointer("/derived/value"))?.as_f64()
}

fn row<'r>(report: &'r Value, pair: &str, method: &str) -> &'r Value {
    let mut rows = report["rows"].as_array().unwrap().iter();
    let is = |row: &&Value| {
        row["pair"] == pair && row["method"] == method && row["transfer_bytes"] == MOVED
    };
    rows.find(is).unwrap_or_else(|| panic!("no {method}, {pair} in {report:#}"))
}

#[test]
fn json_has_every_pair_with_what_was_copied_and_by_what_that_is_known() {
    require!(Root);
    let directory = directory();
    let output = compare(directory.path())
        .args(["data", "--size", "1MiB", "--repeats", "2", "--transfers", "64KiB", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let inode = directory.path().join("data").metadata().unwrap().ino();
    assert_eq!(report["conditions"]["inode"], inode);
    assert_eq!(report["conditions"]["file_bytes"], FILE_LEN);
    assert_eq!(report["machine"]["tier"], "A");
    for pair in ["file-tcp", "file-unix", "file-pipe", "file-file", "socket-socket"] {
        let copy = row(&report, pair, "copy");
        assert_eq!(value(&copy["sender_copies"]), Some(2.0), "{copy:#}");
        assert!(copy["verdict"]["copied"]["why"].is_string(), "{copy:#}");
        assert_eq!(copy["textbook"].is_null(), pair != "file-tcp", "{pair}");
    }
    for pair in ["file-tcp", "file-unix", "file-pipe"] {
        let sendfile = row(&report, pair, "sendfile");
        assert!(value(&sendfile["sender_copies"]).unwrap() < 0.01, "{sendfile:#}");
        // A machine that hides its init process from tracing may hide a packet with it.
        let by_reference = value(&sendfile["by_reference_bytes"]).unwrap();
        assert!((900_000.0..=1_048_576.0).contains(&by_reference), "{sendfile:#}");
        if pair != "file-pipe" {
            assert_eq!(sendfile["by_reference_inode"], inode, "{sendfile:#}");
        }
        assert_eq!(sendfile["calls"][0]["name"], "sendfile");
    }
    let sendfile = row(&report, "file-tcp", "sendfile");
    assert!(value(&sendfile["receiver_copies"]).unwrap() > 0.9, "{sendfile:#}");
    assert_eq!(value(&sendfile["discarded"]["receiver_copies"]), Some(0.0), "{sendfile:#}");
    assert!(value(&sendfile["discarded"]["gb_per_s"]["median"]).unwrap() > 0.0, "{sendfile:#}");
    assert!(value(&sendfile["watched_gb_per_s"]).unwrap() > 0.0, "{sendfile:#}");
    assert!(row(&report, "file-unix", "sendfile")["discarded"].is_null());
    let small = report["rows"].as_array().unwrap().iter();
    let small = small.filter(|row| row["transfer_bytes"] == 65_536 && row["bytes"] == MOVED);
    let small: Vec<&Value> = small.collect();
    assert!(small.len() >= 5, "methods of file to TCP in transfers of 64 KiB");
    // Each of 16 looks at the file, maps it, writes and unmaps.
    let mapped = small.iter().find(|row| row["method"] == "mmap-write").unwrap();
    assert_eq!(mapped["calls"][0]["calls"]["measured"], 16.0, "{mapped:#}");
    assert!(value(&mapped["crossings"]).unwrap() >= 16.0 * 2.0 * 4.0, "{mapped:#}");
    // One call, and not what starting and ending a process takes.
    let at_once = value(&sendfile["crossings"]).unwrap();
    assert!((2.0..=30.0).contains(&at_once), "{sendfile:#}");
    let eyes = report["eyes"]["rows"].as_array().unwrap();
    assert_eq!(eyes.len(), 8, "two tasks in two orders, both ways");
    assert!(report["claims"].is_null());
    let data = std::fs::read(directory.path().join("data")).unwrap();
    assert!(data == pattern(0..FILE_LEN), "the file is only read");
}

#[test]
fn a_file_in_memory_is_never_cold_and_what_is_copied_of_it_is_known() {
    let directory = TempDir::new_in("/dev/shm").unwrap();
    std::fs::write(directory.path().join("data"), pattern(0..MOVED)).unwrap();
    let output = compare(directory.path())
        .args(["data", "--cold", "--repeats", "1", "--transfers", "1MiB", "--json"])
        .args(["--pairs", "file-file,file-eyes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert!(rows.len() >= 3, "{report:#}");
    for row in rows {
        assert_eq!(row["cache"], "warm");
        assert!(row["verdict"]["copied"]["why"].is_string(), "{row:#}");
        assert!(value(&row["sender_copies"]).unwrap() >= 1.0, "{row:#}");
    }
    assert_eq!(report["conditions"]["notes"][0], "no row is cold: the file is on tmpfs, in memory");
    for row in report["eyes"]["rows"].as_array().unwrap() {
        let is_absent = row["gb_per_s"]["median"]["unavailable"].is_string();
        assert_eq!(is_absent, row["cache"] == "cold", "{row:#}");
    }
}

#[test]
fn somebody_elses_file_is_cold_only_if_the_disk_gave_it() {
    require!(Root);
    require!(Program("setpriv"));
    let (_dir, path) = for_everybody();
    // Everybody has it mapped, so that it is never cold.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let library = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6"));
    let output = as_nobody(&[], &path)
        .args(["compare", library.unwrap(), "--cold", "--repeats", "1", "--json"])
        .args(["--pairs", "file-pipe", "--methods", "copy,sendfile"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let caches = report["rows"].as_array().unwrap().iter().map(|row| &row["cache"]);
    assert_eq!(caches.collect::<Vec<_>>(), ["warm", "warm"]);
    let why = report["absent"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("the file was not cold: of "), "{why}");
    let note = report["conditions"]["notes"][0].as_str().unwrap();
    assert!(note.starts_with("the page cache cannot be looked at: "), "{note}");
}

/// What a comparison says of four pairs and five methods without BPF.
fn by_counters(directory: &Path) -> Value {
    let methods = "copy,mmap-write,sendfile,splice,zero-copy-send";
    let output = compare(directory)
        .args(["data", "--size", "1MiB", "--repeats", "1", "--transfers", "1MiB", "--json"])
        .args(["--pairs", "file-tcp,file-unix,file-pipe,socket-socket", "--methods", methods])
        .args(["--tier", "C"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn without_bpf_the_share_of_a_call_that_may_lend_is_not_known() {
    let directory = directory();
    let counters = by_counters(directory.path());
    assert_eq!(counters["machine"]["tier"], "C");
    let why = counters["machine"]["tier_reason"].as_str().unwrap();
    assert!(why.starts_with("tier C was asked for; only a process's own counters"), "{why}");
    for row in counters["rows"].as_array().unwrap() {
        let says = |verdict: &str| row["verdict"].get(verdict).is_some();
        match row["method"].as_str().unwrap() {
            "copy" | "mmap-write" => assert!(says("copied"), "{row:#}"),
            _ if row["pair"] == "file-pipe" => assert!(says("by-reference"), "{row:#}"),
            "sendfile" | "splice" => assert!(says("unknown"), "{row:#}"),
            _ => assert!(says("copied") || says("unknown"), "{row:#}"),
        }
        assert!(row["by_reference_inode"].is_null(), "only pages are proof: {row:#}");
    }
    assert!(row(&counters, "file-tcp", "sendfile")["verdict"]["unknown"].is_object());
}

#[test]
fn a_page_appears_whole_and_alone_and_text_has_claims_when_asked() {
    let directory = directory();
    let small = ["--size", "1MiB", "--repeats", "1", "--transfers", "1MiB"];
    let output = compare(directory.path())
        .args(["--pairs", "file-tcp,file-eyes", "--methods", "copy,sendfile"])
        .args(small)
        .args(["--html", "page.html"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
    let path = directory.path().join("page.html");
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    for part in ["sendfile", "id=\"eyes\"", "file → TCP over loopback, warm", "class=\"bars\""] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(names(directory.path()), ["data", "page.html"]);
    let output = compare(directory.path())
        .args(["data", "--pairs", "file-tcp,file-eyes", "--methods", "copy,sendfile", "--claims"])
        .args(small)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "file → TCP over loopback, warm: 1 MiB",
        "sequential sum, warm",
        "DOES NOT HOLD: mmap goes around the page cache.",
        "HOLDS IF: sendfile needs a file as its input.",
        "No mark: measured.",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("starts this program again"), "{text}");
    let wide: Vec<_> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn what_cannot_be_compared_is_said_in_one_line_before_anything_is_measured() {
    let directory = directory();
    std::fs::write(directory.path().join("empty"), "").unwrap();
    std::os::unix::fs::symlink("data", directory.path().join("link")).unwrap();
    for (arguments, code, part) in [
        (&["missing"][..], 1, "missing cannot be compared: No such file or directory"),
        (&["empty"], 1, "empty cannot be compared: it is empty"),
        (&["."], 1, ". cannot be compared: it is not a regular file"),
        (&["data", "--html", "no/page.html"], 1, "no/page.html cannot be written"),
        (&["data", "--html", "."], 1, ". cannot be written: it is a directory"),
        (&["data", "--html", "link"], 1, "link cannot be written: it is the file to compare"),
        (&["data", "--html", "/dev/null"], 1, "/dev/null cannot be written: it is not a regular"),
        (&["data", "--size", "4095"], 1, "takes 4096 bytes at least, and there are 4095"),
        (&["data", "--methods", "clone", "--pairs", "file-tcp"], 1, "none of these methods moves"),
        (&["data", "--methods", "copyy"], 2, "[possible values: copy,"),
        (&["data", "--pairs", "file"], 2, "file-eyes]"),
        (&["data", "--over", "eth0"], 2, "[possible values: lo, veth, veth-no-sg]"),
        (&["data", "--size", "1.5MiB"], 2, "give a number of bytes"),
        (&["data", "--repeats", "0"], 2, "give a number from 1 to 1000"),
        (&["data", "--json", "--html", "page.html"], 2, "cannot be used with"),
    ] {
        let output = compare(directory.path()).args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
        if code == 1 {
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(names(directory.path()), ["data", "empty", "link"]);
    let help = String::from_utf8(underpass(&["compare", "--help"]).stdout).unwrap();
    for part in ["--claims", "--html <FILE>", "underpass compare --over veth,veth-no-sg", "Tier A"]
    {
        assert!(help.contains(part), "{part} in {help}");
    }
}

#[test]
fn a_file_that_somebody_shortens_is_told_as_that() {
    let directory = directory();
    let arguments = ["data", "--pairs", "file-tcp", "--repeats", "1000"];
    let child = compare(directory.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let runs =
        wait::until(Duration::from_secs(60), || (descendants(child.id()).len() >= 2).then_some(()));
    assert!(runs.is_some());
    std::fs::write(directory.path().join("data"), "short").unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let expected = "underpass compare: the file had 4,194,307 bytes that were to be moved and has \
                    5 now; compare one that stays as it is\n";
    assert_eq!((output.status.code(), stderr.as_str()), (Some(1), expected));
}

#[test]
fn a_full_disk_takes_one_row_and_a_file_that_cannot_be_made_is_told_with_its_place() {
    require!(Root);
    let directory = directory();
    // A disk of three megabytes in a separate namespace, with a file that takes two of them.
    let full = |script: &str| {
        let script = format!("mount -t tmpfs -o size=3m none disk && cd disk && {script}");
        std::fs::create_dir_all(directory.path().join("disk")).unwrap();
        Command::new("unshare")
            .args(["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_underpass")])
            .current_dir(directory.path())
            .output()
            .unwrap()
    };
    let pairs = "--pairs file-file,file-pipe --methods copy --size 2MiB --repeats 1 --json";
    let output = full(&format!("head -c 2097152 ../data > data && \"$0\" compare data {pairs}"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(report["absent"][0]["pair"], "file-file");
    let why = report["absent"][0]["why"].as_str().unwrap();
    assert!(why.contains("No space left on device"), "{why}");
    let output = full("mount --bind . /var/tmp && TMPDIR=. \"$0\" compare --size 4MiB");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("name one, or give a smaller --size: 4 MiB cannot be"), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Descendants of a process that are alive.
fn descendants(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut queue = vec![process];
    while let Some(parent) = queue.pop() {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().map(|word| word.parse::<u32>().unwrap());
        for child in children {
            found.push(child);
            queue.push(child);
        }
    }
    found
}

/// Control groups that a process made for its claims.
fn groups(process: u32) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let places = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup").then_some(at)
    });
    let name = format!("underpass-claims-{process}-");
    let mut found = Vec::new();
    for place in places {
        let mut left = vec![std::path::PathBuf::from(place)];
        while let Some(group) = left.pop() {
            let Ok(entries) = std::fs::read_dir(group) else { continue };
            for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(&name) {
                    found.push(entry.path().display().to_string());
                }
                left.push(entry.path());
            }
        }
    }
    found
}

fn has_ended(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// Network devices: the near end of a pair is one of them, and goes with the far end's namespace.
fn devices() -> Vec<String> {
    names(Path::new("/sys/class/net"))
}

/// Whether a process stands still, all its threads, after `SIGSTOP`; `None` if it has ended.
fn stands_still(process: u32) -> Option<bool> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let stats = threads.flatten().map(|thread| std::fs::read_to_string(thread.path().join("stat")));
    let stats: Vec<String> = stats.filter_map(Result::ok).collect();
    let is_over = stats.iter().any(|stat| stat.contains(") Z "));
    (!is_over).then(|| stats.iter().all(|stat| stat.contains(") T ")))
}

/// Stops a comparison where `is_under_way`: what is seen of one that runs may be over by the time
/// that a signal comes.
fn stopped(child: &Child, is_under_way: &dyn Fn(&Child) -> bool) {
    let pid = Pid::from_child(child);
    let begun = wait::until(Duration::from_secs(60), || {
        assert!(!has_ended(child.id()), "it was over before it was seen under way");
        if !is_under_way(child) {
            return None;
        }
        kill_process(pid, Signal::STOP).unwrap();
        let still = || stands_still(child.id()).map_or(Some(false), |still| still.then_some(true));
        let is_there = wait::until(Duration::from_secs(60), still).expect("SIGSTOP stops it");
        assert!(is_there, "it was over before it was seen under way");
        if is_under_way(child) {
            return Some(());
        }
        kill_process(pid, Signal::CONT).unwrap();
        None
    });
    assert!(begun.is_some(), "it never came so far");
}

/// Ends a comparison that `is_under_way`, and looks for what it left.
fn interrupted(arguments: &[&str], signal: Signal, is_under_way: &dyn Fn(&Child) -> bool) {
    let (directory, before) = (directory(), devices());
    let mut child = compare(directory.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    stopped(&child, is_under_way);
    let workers = descendants(child.id());
    kill_process(Pid::from_child(&child), signal).unwrap();
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success(), "{status}");
    let gone = wait::until(Duration::from_secs(20), || {
        let ended = workers.iter().all(|&worker| has_ended(worker));
        (ended && groups(child.id()).is_empty() && devices() == before).then_some(())
    });
    let left: Vec<_> = workers.iter().filter(|&&worker| !has_ended(worker)).collect();
    let groups = groups(child.id());
    assert!(gone.is_some(), "{signal:?}: {left:?} {groups:?} {:?}", devices());
    assert_eq!(names(directory.path()), ["data"], "{signal:?}");
}

#[test]
fn an_interrupted_comparison_leaves_no_process_file_device_or_group() {
    require!(Root);
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let runs = |child: &Child| descendants(child.id()).len() >= 2;
        // More runs than can be over before it is seen.
        let html = ["--pairs", "file-tcp", "--html", "page.html"];
        let over = [&["data", "--over", "veth", "--repeats", "1000"][..], &html].concat();
        interrupted(&over, signal, &runs);
        let has_group = |child: &Child| !groups(child.id()).is_empty();
        let claims = ["--claims", "--pairs", "file-eyes", "--size", "64KiB", "--repeats", "1"];
        interrupted(&claims, signal, &has_group);
    }
}
