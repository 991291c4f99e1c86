//! `underpass tsdb analyze`: what it prints, its exit codes, and that it writes nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;
use underpass_testkit::block::{Block, Chunk, Kind, START, Series, Written};

use crate::running::program;

/// A block of which the last has the name `NEWER`.
const NEWER: &str = "01HF7MQX0000000000000000ZZ";

fn data() -> (TempDir, Written) {
    let data = TempDir::new().unwrap();
    let written = Block::small(2).write(data.path()).unwrap();
    let chunk = Chunk::floats(&[(START + 200_000, 1.0), (START + 260_000, 2.0)]);
    let up = Series::new(&[("__name__", "up"), ("job", "new")], vec![chunk]);
    let newer = Block { ulid: NEWER.to_owned(), ..Block::new(3, vec![up]) };
    newer.write(data.path()).unwrap();
    (data, written)
}

fn analyze(data: &Path, arguments: &[&str]) -> Output {
    let mut command = program();
    command.current_dir(data).args(["tsdb", "analyze", "."]).args(arguments);
    command.output().unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_latest_block_is_counted_unless_one_is_named() {
    let (data, written) = data();
    let latest = analyze(data.path(), &[]);
    let latest = text(&latest.stdout);
    assert!(latest.contains(&format!("block                 {NEWER}\n")), "{latest}");
    let named = written.dir.file_name().unwrap().to_str().unwrap();
    for read in ["map", "pread"] {
        let found = json(&analyze(data.path(), &[named, "--json", "--read", read]));
        assert_eq!(found["block"], named);
        assert_eq!(found["depth"], "series");
        assert_eq!(found["total"]["series"], 6);
        assert_eq!(found["top"]["metrics_by_series"][0]["name"], "up");
        assert_eq!(found["top"]["metrics_by_series"][0]["series"], 3);
        assert!(found["fill"].is_null());
    }
    let path = written.dir.to_str().unwrap();
    let mut command = program();
    let found = command.args(["tsdb", "analyze", path, "--json", "--extended"]).output().unwrap();
    let found = json(&found);
    assert_eq!((&found["samples"], &found["total"]["chunks"]), (&19.into(), &8.into()));
}

#[test]
fn lists_are_as_long_as_asked_and_of_what_matches() {
    let (data, written) = data();
    let block = written.dir.file_name().unwrap().to_str().unwrap();
    let found = json(&analyze(data.path(), &[block, "--json", "--limit", "1"]));
    for list in ["series_by_bytes", "label_pairs_by_series", "label_names_by_values"] {
        assert_eq!(found["top"][list].as_array().unwrap().len(), 1, "{list}");
    }
    let matching = ["--match", "up{job=\"node\"}", "--match", "{quote=~\".+\"}"];
    let found = json(&analyze(data.path(), &[&[block, "--json"], &matching[..]].concat()));
    assert_eq!(found["total"]["series"], 3);
    assert_eq!(found["selectors"], serde_json::json!(["up{job=\"node\"}", "{quote=~\".+\"}"]));
    let found = json(&analyze(data.path(), &[block, "--json", "--quick"]));
    assert_eq!((&found["total"]["series"], &found["depth"]), (&6.into(), &"postings".into()));
}

#[test]
fn two_blocks_are_compared_by_name_and_by_path() {
    let (data, written) = data();
    let name = written.dir.file_name().unwrap().to_str().unwrap();
    for against in [name, written.dir.to_str().unwrap()] {
        let found = json(&analyze(data.path(), &["--against", against, "--json"]));
        assert_eq!(
            (&found["before"]["block"], &found["after"]["block"]),
            (&name.into(), &NEWER.into())
        );
        assert_eq!(found["series"], serde_json::json!({"kept": 0, "gone": 6, "new": 1}));
    }
}

#[test]
fn a_page_appears_whole_and_nothing_else_does() {
    let (data, _) = data();
    let out = TempDir::new().unwrap();
    let page = out.path().join("page.html");
    let before = names(data.path());
    let output = analyze(data.path(), &["--extended", "--html", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    let written = std::fs::read_to_string(&page).unwrap();
    assert!(written.starts_with("<!DOCTYPE html>") && written.ends_with("</html>"));
    assert!(written.contains(NEWER) && written.contains("id=\"activity\""));
    assert_eq!(page.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(names(out.path()), ["page.html"]);
    assert_eq!(names(data.path()), before);
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries.map(name).map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_damaged_is_told_with_file_and_byte_and_the_rest_is_counted() {
    let (data, written) = data();
    let name = written.dir.file_name().unwrap().to_str().unwrap();
    let file = written.file("chunks/000001");
    let part = file.parts.iter().find(|part| matches!(part.kind, Kind::Chunk { .. })).unwrap();
    let mut bytes = file.bytes.0.clone();
    bytes[part.range.start + 4] ^= 1;
    written.put("chunks/000001", &bytes).unwrap();
    let output = analyze(data.path(), &[name, "--extended", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["total"]["series"], 6);
    let stderr = text(&output.stderr);
    let line = format!("chunks/000001: byte {}: chunk: checksum ", part.range.start);
    assert!(stderr.contains(&line), "{stderr}");
    assert!(
        stderr.ends_with("underpass tsdb: there is damage, which is named above\n"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    assert_eq!(analyze(data.path(), &[name]).status.code(), Some(0), "no chunk is read for it");
}

#[test]
fn what_cannot_be_counted_is_said_in_one_line() {
    let (data, _) = data();
    for (arguments, code, part) in [
        (&["01HF"][..], 1, "01HF is not a block in ., nor the path of one"),
        (&["--against", "nowhere"], 1, "nowhere is not a block in ."),
        (&["--html", "no/page.html"], 1, "no/page.html cannot be written"),
        (&["--html", "."], 1, ". cannot be written: it is a directory"),
        (&["--match", "up{"], 2, "the selector is wrong at byte 3"),
        (&["--quick", "--extended"], 2, "cannot be used with"),
        (&["--quick", "--match", "up"], 2, "cannot be used with"),
        (&["--json", "--html", "page.html"], 2, "cannot be used with"),
    ] {
        let output = analyze(data.path(), arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty() && (code == 2 || stderr.lines().count() == 1), "{stderr}");
    }
}
