//! `underpass tsdb verify` and `dump` on a damaged block, as a user meets them.

use std::process::Output;

use serde_json::Value;
use underpass_testkit::block::{Block, Kind, Written};

use crate::running::program;

fn made() -> (tempfile::TempDir, Written) {
    let root = tempfile::tempdir().unwrap();
    let written = Block::small(2).write(root.path()).unwrap();
    (root, written)
}

fn run(command: &str, written: &Written, flags: &[&str]) -> Output {
    let mut tsdb = program();
    tsdb.args(["tsdb", command]).args(flags).arg(&written.dir).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Flips the last byte of the second chunk of the first segment, and gives its offset and that of
/// the chunk. It is the only chunk of `odd_total`.
fn damage(written: &Written) -> (usize, usize) {
    let file = written.file("chunks/000001");
    let range = &file.parts[2].range;
    assert_eq!(file.parts[2].kind, Kind::Chunk { series: 1, chunk: 0 });
    let mut bytes = file.bytes.0.clone();
    bytes[range.end - 1] ^= 4;
    written.put("chunks/000001", &bytes).unwrap();
    (range.end - 1, range.start)
}

#[test]
fn a_sound_block_is_said_to_be_sound_and_a_damaged_one_ends_with_1() {
    let (_root, written) = made();
    for flags in [&[][..], &["--samples"], &["--read", "pread"]] {
        let output = run("verify", &written, flags);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(": sound: ") && said.contains("6 series, 8 chunks, 19 samples"));
    }
    let (_, start) = damage(&written);
    let output = run("verify", &written, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    let line = format!("chunks/000001: byte {start}: chunk: checksum ");
    assert!(said.contains("DAMAGED at 1 place") && said.contains(&line), "{said}");
    let lost = "lost: {__name__=\"odd_total\", ";
    let times = "from 2023-11-14T22:13:20.003Z to 2023-11-14T22:14:20.003Z";
    assert!(said.contains(lost) && said.contains(times), "{said}");
    let told = text(&output.stderr);
    assert_eq!(told, "underpass tsdb: damaged blocks: 1 of 1\n");
}

#[test]
fn findings_are_there_as_json() {
    let (_root, written) = made();
    let (_, start) = damage(&written);
    let output = run("verify", &written, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["sound"], false);
    let finding = &json["blocks"][0]["findings"][0];
    assert_eq!((&finding["section"], &finding["offset"]), (&"chunk".into(), &start.into()));
    assert_eq!(finding["lost"]["chunks"], 1);
    assert_eq!(finding["lost"]["minTime"], 1_700_000_000_003_i64);
    assert_eq!(finding["lost"]["maxTime"], 1_700_000_060_003_i64);
}

#[test]
fn a_dump_continues_past_damage_and_ends_with_1() {
    let (_root, written) = made();
    let whole = run("dump", &written, &[]);
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    let whole = text(&whole.stdout);
    let (_, start) = damage(&written);
    let output = run("dump", &written, &[]);
    assert_eq!(output.status.code(), Some(1));
    let left = whole.lines().filter(|line| !line.contains("odd_total"));
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), left.collect::<Vec<_>>());
    assert_eq!(text(&output.stdout).lines().count(), whole.lines().count() - 5);
    let told = text(&output.stderr);
    assert!(told.contains(&format!("chunks/000001: byte {start}: chunk: ")), "{told}");
}

#[test]
fn verify_writes_nothing_near_the_block() {
    let (root, written) = made();
    let list = || {
        let entries = ["", "chunks"].map(|dir| std::fs::read_dir(written.dir.join(dir)).unwrap());
        let names = entries.into_iter().flatten().map(|entry| {
            let entry = entry.unwrap();
            (entry.path(), entry.metadata().unwrap().modified().unwrap())
        });
        names.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = list();
    run("verify", &written, &["--samples"]);
    assert_eq!(list(), before);
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
}
