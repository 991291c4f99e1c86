//! Series are found past damage of what leads to them.

use std::ops::ControlFlow;

use tempfile::TempDir;
use underpass_testkit::block::bytes::crc32c;
use underpass_testkit::block::{self, Kind, Written};
use underpass_tsdb::names::Names;
use underpass_tsdb::query::{Loss, Selection};
use underpass_tsdb::{Backend, Block, Fault, TimeRange};

const SELECTORS: [&str; 5] = [
    "up{job=\"node\"}",
    "{instance=~\"a:.*\"}",
    "{job!=\"\",instance!=\"a:9090\"}",
    "{utf8=\"größe\"}",
    "{job=~\"node|prometheus\"}",
];

const PATTERNS: [u8; 3] = [0x01, 0x80, 0xff];

fn small(version: u8) -> (TempDir, Written) {
    let dir = TempDir::new().unwrap();
    let written = block::Block::small(version).write(dir.path()).unwrap();
    (dir, written)
}

/// The series that each selector finds, label names and values, and what was lost.
fn all(written: &Written) -> (Vec<Vec<String>>, Vec<Loss>) {
    let blocks = [Block::open(&written.dir, Backend::Map).unwrap()];
    let (mut found, mut losses) = (Vec::new(), Vec::new());
    for text in SELECTORS {
        let selection = Selection::new(&blocks, vec![text.parse().unwrap()], TimeRange::ALL);
        let mut merged = selection.series();
        found.push(merged.by_ref().map(|series| series.labels.to_string()).collect());
        losses.extend(merged.take_losses());
    }
    for names in [Names::Labels, Names::Values(b"job"), Names::Values(b"instance")] {
        let selection = Selection::new(&blocks, Vec::new(), TimeRange::ALL);
        let mut list = Vec::new();
        losses.extend(names.each(&selection, &mut |name| {
            list.push(name.escape_ascii().to_string());
            ControlFlow::Continue(())
        }));
        found.push(list);
    }
    (found, losses)
}

#[test]
fn damaged_postings_and_tables_hide_no_series_and_no_name() {
    for version in [1, 2] {
        let (_dir, written) = small(version);
        let (expected, losses) = all(&written);
        assert_eq!(losses, []);
        let index = written.file("index");
        for part in &index.parts {
            if !matches!(part.kind, Kind::Postings | Kind::PostingsTable) {
                continue;
            }
            for place in part.range.clone() {
                let mut bytes = index.bytes.0.clone();
                bytes[place] ^= PATTERNS[place % PATTERNS.len()];
                written.put("index", &bytes).unwrap();
                let (found, losses) = all(&written);
                assert_eq!(found, expected, "version {version}, byte {place}");
                let is_table = part.kind == Kind::PostingsTable;
                assert!(!is_table || !losses.is_empty(), "version {version}, byte {place}");
                assert!(losses.iter().all(|loss| loss.lost.is_none()), "{losses:?}");
            }
        }
    }
}

/// The checksums are right, so it is a writer that went wrong.
#[test]
fn what_a_list_out_of_order_hides_is_reported_as_lost() {
    let (_dir, written) = small(2);
    let (expected, _) = all(&written);
    let index = written.file("index");
    let mut hidden = 0;
    for part in index.parts.iter().filter(|part| part.kind == Kind::Postings) {
        let mut bytes = index.bytes.0.clone();
        let list = &mut bytes[part.range.clone()];
        let sum_at = list.len() - 4;
        list[8..sum_at].reverse();
        list[8..sum_at].chunks_mut(4).for_each(<[u8]>::reverse);
        let sum = crc32c(&list[4..sum_at]);
        list[sum_at..].copy_from_slice(&sum.to_be_bytes());
        written.put("index", &bytes).unwrap();
        let (found, losses) = all(&written);
        if found != expected {
            let lost =
                |loss: &Loss| matches!(loss.damage.fault, Fault::Order(_)) && loss.lost.is_some();
            assert!(losses.iter().any(lost), "{:?}: {losses:?}", part.range);
            hidden += 1;
        }
    }
    assert!(hidden > 0);
}
