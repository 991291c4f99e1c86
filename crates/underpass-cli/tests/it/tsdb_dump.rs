//! `underpass tsdb dump` as a user meets it: what is told of damage, exit codes, files that are
//! whole or not there.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use underpass_testkit::block::{Block, Chunk, Kind, START, Series, Written};
use underpass_testkit::wait;

use crate::command::underpass;
use crate::running::{as_nobody, for_everybody};

fn dump(data: &Path, arguments: &[&str]) -> Output {
    underpass(&[&["tsdb", "dump", data.to_str().unwrap()], arguments].concat())
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = entries.map(|it| it.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `count` series of one sample each.
fn floats(dir: &Path, count: u32) -> Written {
    let series = (0..count).map(|number| {
        let chunks = vec![Chunk::floats(&[(START, f64::from(number))])];
        Series::new(&[("__name__", "m"), ("n", &format!("{number:06}"))], chunks)
    });
    Block::new(2, series.collect()).write(dir).unwrap()
}

#[test]
fn samples_of_the_matching_series_and_times_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let written = Block::small(2).write(dir.path()).unwrap();
    let selected = ["--match", "up{job=\"node\",instance=~\"b.*\"}", "--match", "{job=\"x\"}"];
    for data in [dir.path(), &written.dir] {
        let output = dump(data, &[&selected[..], &["--min-time", "1700000015s"]].concat());
        let expected = "{__name__=\"up\", instance=\"b:9100\", job=\"node\"} 0.5 1700000015001\n\
                        {__name__=\"up\", instance=\"b:9100\", job=\"node\"} NaN 1700000030001\n";
        assert_eq!((text(&output.stdout), text(&output.stderr)), (expected, ""));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn what_is_lost_is_told_up_to_twenty_lines_and_the_rest_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let written = floats(dir.path(), 50);
    let segment = written.file("chunks/000001");
    let mut bytes = segment.bytes.0.clone();
    for part in &segment.parts {
        if matches!(part.kind, Kind::Chunk { series: 10..35, .. }) {
            bytes[part.range.end - 1] ^= 1;
        }
    }
    written.put("chunks/000001", &bytes).unwrap();
    let output = dump(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout).lines().count(), 25);
    let told: Vec<&str> = text(&output.stderr).lines().collect();
    let path = written.dir.join("chunks/000001");
    let first = segment.parts.iter().find(|one| one.kind == Kind::Chunk { series: 10, chunk: 0 });
    let begin = format!(
        "underpass tsdb dump: {}: byte {}: chunk: checksum ",
        path.display(),
        first.unwrap().range.start
    );
    let end = "; lost: {__name__=\"m\", n=\"000010\"} from 2023-11-14T22:13:20.000Z to \
               2023-11-14T22:13:20.000Z";
    assert!(told[0].starts_with(&begin) && told[0].ends_with(end), "{}", told[0]);
    assert_eq!(
        told[20..],
        [
            "underpass tsdb dump: and 5 more; 'tsdb verify' names all",
            "underpass tsdb: there is damage, which is named above"
        ]
    );
}

#[test]
fn openmetrics_without_the_histograms_is_told_to_be_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    Block::small(2).write(dir.path()).unwrap();
    let output = dump(dir.path(), &["--format", "openmetrics"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.ends_with(b"# EOF\n"));
    assert_eq!(
        text(&output.stderr),
        "underpass tsdb: OpenMetrics cannot hold native histograms: 1 left out; take --format \
         text, csv or json-lines\n"
    );
}

#[test]
fn a_selector_or_a_time_that_cannot_be_read_is_wrong_usage() {
    for arguments in [["--match", "{a=~\"(\"}"], ["--match", "{"], ["--min-time", "yesterday"]] {
        let output = dump(Path::new("/nowhere"), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(arguments[0]), "{}", text(&output.stderr));
    }
    let output = dump(Path::new("/nowhere"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nowhere"), "{}", text(&output.stderr));
}

#[test]
fn a_file_is_replaced_when_it_is_whole_and_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    floats(dir.path(), 3);
    let to = tempfile::tempdir().unwrap();
    let path = to.path().join("samples.csv");
    fs::write(&path, "what was there").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let link = to.path().join("link");
    std::os::unix::fs::symlink("samples.csv", &link).unwrap();
    let output = dump(dir.path(), &["-f", "csv", "-o", link.to_str().unwrap()]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(link.is_symlink());
    assert_eq!(names(to.path()), ["link", "samples.csv"]);
}

/// There is more than a pipe holds, so the program is in the middle when the reader goes.
#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let dir = tempfile::tempdir().unwrap();
    floats(dir.path(), 20_000);
    for threads in ["1", "4"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_underpass"))
            .args(["tsdb", "dump", dir.path().to_str().unwrap(), "--threads", threads])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "{__name__=\"m\", n=\"000000\"} 0 1700000000000\n");
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    }
}

/// Starts a dump, ends it by a signal as soon as its file is there, and returns what it said;
/// `None` if it was faster than the signal.
fn interrupted(data: &Path, path: &Path, signal: Signal) -> Option<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_underpass"))
        .args(["tsdb", "dump", data.to_str().unwrap(), "--threads", "1", "-o"])
        .arg(path)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_there = || (!names(path.parent().unwrap()).is_empty()).then_some(());
    wait::until(Duration::from_secs(10), is_there).unwrap();
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = child.wait().unwrap();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    if status.success() {
        fs::remove_file(path).unwrap();
        return None;
    }
    assert_eq!(status.code(), Some(128 + signal.as_raw()), "{told}");
    Some(told)
}

#[test]
fn a_signal_leaves_no_part_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    floats(dir.path(), 100_000);
    let to = tempfile::tempdir().unwrap();
    let path = to.path().join("samples.txt");
    for signal in [Signal::INT, Signal::TERM] {
        let mut attempts = std::iter::repeat_with(|| interrupted(dir.path(), &path, signal));
        let told = attempts.find_map(|told| told).unwrap();
        assert!(told.contains("samples.txt was not made"), "{told}");
        assert_eq!(names(to.path()), Vec::<String>::new());
    }
}

/// Root's number of threads is not limited, so another user dumps.
#[test]
fn threads_that_the_kernel_refuses_are_done_without() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let written = floats(dir.path(), 2_000);
    for directory in [dir.path(), &written.dir, &written.dir.join("chunks")] {
        fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (_program, path) = for_everybody();
    let output = as_nobody(&["prlimit", "--nproc=1"], &path)
        .args(["tsdb", "dump", dir.path().to_str().unwrap(), "--threads", "8"])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert_eq!(text(&output.stdout).lines().count(), 2_000);
}
