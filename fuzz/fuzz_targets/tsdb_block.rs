//! A damaged block: every sample that is read was in the block, with the labels it had there; what
//! is missing is told; and verify finds the damage.
//!
//! Input: the version of the block's index, a selector's number, then up to two changes, each of
//! another file: the file, two bytes of an offset, and what the byte there is xored with, where 0
//! cuts the file. A file in which one byte is wrong is recovered as far as what is printed is
//! right; what is guessed of one with several can be wrong.
#![no_main]

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use libfuzzer_sys::fuzz_target;
use underpass_fuzz::place;
use underpass_testkit::block::{Block as Made, Written};
use underpass_tsdb::verify::{Depth, Report, verify};
use underpass_tsdb::{Backend, Block, Samples, Selection, Selector, Series, TimeRange};

const SELECTORS: [&str; 8] = [
    "{}",
    "up",
    r#"{job="node"}"#,
    r#"{job!="node"}"#,
    r#"{job=~"node|prom.*",instance!~"b.*"}"#,
    r#"{instance=""}"#,
    r#"{__name__=~".+",job=~"n?ode|"}"#,
    r#"{quote=~"(?s).+"}"#,
];

const CHANGES_MAX: usize = 2;

struct Fixture {
    written: Written,
    /// For each selector: every sample that a series has, and those that were not deleted.
    all: Vec<Found>,
    kept: Vec<Found>,
}

/// Labels and samples, as text.
type Found = BTreeSet<String>;

static FIXTURES: LazyLock<[Fixture; 3]> = LazyLock::new(|| [1, 2, 3].map(fixture));

fn fixture(version: u8) -> Fixture {
    let folder = place(&format!("block-{version}"));
    fs::create_dir_all(&folder).expect("a folder in memory");
    let written = Made::small(version).write(&folder).expect("a block in memory");
    let found = || {
        let block = Block::open(&written.dir, Backend::Map).expect("an index");
        SELECTORS.map(|selector| samples(&block, selector).0).to_vec()
    };
    let kept = found();
    fs::remove_file(written.dir.join("tombstones")).expect("a file in memory");
    let all = found();
    written.mend("tombstones").expect("a file in memory");
    Fixture { written, all, kept }
}

fuzz_target!(|bytes: &[u8]| {
    let [version, selector, changes @ ..] = bytes else { return };
    let fixture = &FIXTURES[usize::from(version % 3)];
    let selector = usize::from(*selector) % SELECTORS.len();
    let changed = change(&fixture.written, changes);
    let mapped = outcome(fixture, selector, &changed, Backend::Map);
    let read = outcome(fixture, selector, &changed, Backend::Pread);
    for file in &fixture.written.files {
        fixture.written.mend(&file.name).expect("a file in memory");
    }
    assert_eq!(mapped, read, "the two ways to read differ");
});

/// The names of files that are not as they were. Versions 2 and 3 of an index are the same format.
fn change<'w>(written: &'w Written, changes: &[u8]) -> BTreeSet<&'w str> {
    for change in changes.chunks_exact(4).take(CHANGES_MAX) {
        let [number, high, low, flip] = change.try_into().expect("four bytes");
        let file = &written.files[usize::from(number) % written.files.len()];
        let path = written.dir.join(&file.name);
        let mut bytes = fs::read(&path).expect("a file in memory");
        if bytes != file.bytes.0 {
            continue;
        }
        let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len().max(1);
        match (flip, bytes.get_mut(at)) {
            (0, _) => bytes.truncate(at),
            (flip, Some(byte)) => *byte ^= flip,
            (_, None) => {}
        }
        fs::write(&path, bytes).expect("a file in memory");
    }
    let is_changed = |name: &&str| {
        let mut bytes = fs::read(written.dir.join(name)).expect("a file in memory");
        let before = &written.file(name).bytes.0;
        if let (&"index", 2..=3, Some(version @ 2..=3)) = (name, before[4], bytes.get_mut(4)) {
            *version = before[4];
        }
        bytes != *before
    };
    written.files.iter().map(|file| &*file.name).filter(is_changed).collect()
}

/// What is found, and what is said of it.
fn outcome(
    fixture: &Fixture,
    selector: usize,
    changed: &BTreeSet<&str>,
    backend: Backend,
) -> Option<(Found, Vec<String>, Report)> {
    let block = Block::open(&fixture.written.dir, backend).ok()?;
    let (found, losses) = samples(&block, SELECTORS[selector]);
    let invented: Vec<_> = found.difference(&fixture.all[selector]).collect();
    assert!(invented.is_empty(), "{invented:?}");
    let missing: Vec<_> = fixture.kept[selector].difference(&found).collect();
    // Nothing tells a wrong time in meta.json from a right one.
    let is_told = !losses.is_empty() || !block.damages().is_empty();
    assert!(missing.is_empty() || is_told || changed.contains("meta.json"), "{missing:?}");
    let report = verify(&block, Depth::Samples, &AtomicU64::new(0));
    let is_like_before = changed.iter().all(|name| *name == "meta.json");
    assert!(!report.is_sound() || is_like_before, "{changed:?}: {report:?}");
    assert!(report.is_sound() || !changed.is_empty(), "{report:?}");
    Some((found, losses, report))
}

fn samples(block: &Block, selector: &str) -> (Found, Vec<String>) {
    let selector: Selector = selector.parse().expect("a selector");
    let blocks = std::slice::from_ref(block);
    let selection = Selection::new(blocks, vec![selector], TimeRange::ALL);
    let (mut merged, mut reader) = (selection.series(), selection.reader());
    let (mut series, mut found) = (Series::default(), Found::new());
    while merged.next_into(&mut series) {
        let mut samples = Samples::default();
        reader.read(&series).read_all(&mut samples);
        let floats = samples.floats.iter().map(|float| {
            format!("{} {} {:016x}", series.labels, float.time, float.value.to_bits())
        });
        found.extend(floats);
        let histograms = samples.histograms.iter();
        found.extend(histograms.map(|sample| format!("{} {sample:?}", series.labels)));
    }
    let losses = merged.take_losses().into_iter().chain(reader.take_losses());
    (found, losses.map(|loss| loss.to_string()).collect())
}
