//! Tombstones, `meta.json` and the directory, against what was found in the index and the chunks.

use super::series::SeriesFacts;
use super::{Checks, of_file};
use crate::block::Block;
use crate::damage::{Damage, Fault, Section};
use crate::file::Window;
use crate::index::SeriesEntry;
use crate::meta::Meta;

/// A block's name: 26 of Crockford's base 32 digits.
const ULID_LEN: usize = 26;

/// Milliseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Tombstones are of series that there are. Their checksum was compared when the block was opened.
pub(super) fn check_tombstones(block: &Block, facts: &SeriesFacts, checks: &mut Checks<'_>) {
    let path = block.dir().join("tombstones");
    let Ok(stat) = std::fs::metadata(&path) else { return };
    checks.advance(stat.len());
    checks.compared();
    let (mut window, mut entry) = (Window::exact(), SeriesEntry::default());
    let mut ids: Vec<_> = block.tombstones().series().collect();
    ids.sort_unstable();
    for id in ids {
        let offset = block.index().offset_of(id);
        if facts.damaged.iter().any(|(range, _)| range.contains(&offset)) {
            continue;
        }
        if block.index().series(id, &mut window, &mut entry).is_err() {
            let fault = Fault::Reference { what: "series", reference: id.0.into() };
            let file = path.as_path().into();
            checks.add(Damage { file, offset: 0, section: Section::Tombstones, fault });
        }
    }
}

/// `meta.json` has no checksum: what it says of the block is compared with the block.
pub(super) fn check_meta(
    block: &Block,
    facts: &SeriesFacts,
    samples: Option<u64>,
    checks: &mut Checks<'_>,
) {
    let path = block.dir().join("meta.json");
    checks.advance(std::fs::metadata(&path).map_or(0, |stat| stat.len()));
    let Some(meta) = block.meta() else { return };
    let mut wrong = |text| checks.add(of_file(&path, Section::Meta, text));
    if meta.version != 1 {
        wrong(format!("\"version\" is {}, and only 1 is known", meta.version));
    }
    if is_ulid(block.name()) && meta.ulid != block.name() {
        wrong(format!("\"ulid\" is \"{}\", and the directory is {}", meta.ulid, block.name()));
    }
    let is_complete = facts.damaged.is_empty() && checks.report.findings.is_empty();
    if is_complete {
        check_counts(block, meta, facts, samples, checks);
    }
    check_times(block, meta, facts, checks);
    check_sources(meta, checks);
}

/// Where something is damaged, counts differ because of that.
fn check_counts(
    block: &Block,
    meta: &Meta,
    facts: &SeriesFacts,
    samples: Option<u64>,
    checks: &mut Checks<'_>,
) {
    let (stats, path) = (&meta.stats, block.dir().join("meta.json"));
    let counts = [
        ("numSeries", stats.num_series, Some(facts.count)),
        ("numChunks", stats.num_chunks, Some(facts.chunks)),
        ("numSamples", stats.num_samples, samples),
    ];
    for (key, said, found) in counts {
        if let Some(found) = found.filter(|found| *found != said) {
            let text = format!("\"{key}\" is {said}, and the block holds {found}");
            checks.add(of_file(&path, Section::Meta, text));
        }
    }
    // Prometheus writes the tombstones before it counts them, and Thanos deletes the file.
    let found = block.tombstones().records();
    if stats.num_tombstones != found {
        let said = stats.num_tombstones;
        checks.note(format!("meta.json: \"numTombstones\" is {said}, and the file holds {found}"));
    }
}

/// All samples are from the first time on and before the last.
fn check_times(block: &Block, meta: &Meta, facts: &SeriesFacts, checks: &mut Checks<'_>) {
    let Some((min, max)) = facts.times else { return };
    if min < meta.min_time || meta.max_time <= max {
        let text = format!(
            "\"minTime\" {} and \"maxTime\" {} leave out samples, which are from {min} to {max}",
            meta.min_time, meta.max_time
        );
        checks.add(of_file(&block.dir().join("meta.json"), Section::Meta, text));
    }
    let spare = min.saturating_sub(meta.min_time).max(meta.max_time.saturating_sub(max));
    if spare > DAY.max(max.saturating_sub(min)) {
        let days = spare / DAY;
        checks.note(format!("meta.json: the block's time range goes {days} days past its samples"));
    }
}

/// A block that was not compacted is made of itself.
fn check_sources(meta: &Meta, checks: &mut Checks<'_>) {
    let compaction = &meta.compaction;
    if compaction.level == 0 {
        checks.note("meta.json: \"level\" of \"compaction\" is 0 or missing".into());
    }
    if compaction.level == 1 && !compaction.sources.contains(&meta.ulid) {
        checks.note("meta.json: the block is not among its own \"sources\"".into());
    }
}

fn is_ulid(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    name.len() == ULID_LEN && name.bytes().all(is_digit)
}

/// Files that are not part of a block are named, and left alone.
pub(super) fn check_files(block: &Block, checks: &mut Checks<'_>) {
    let mut unknown = Vec::new();
    for entry in std::fs::read_dir(block.dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !["index", "chunks", "tombstones", "meta.json"].contains(&&*name) {
            unknown.push(name);
        }
    }
    for entry in std::fs::read_dir(block.dir().join("chunks")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_segment = name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit());
        if !is_segment {
            unknown.push(format!("chunks/{name}"));
        }
    }
    unknown.sort();
    for name in unknown {
        checks.note(format!("{name}: not a file that Prometheus puts into a block; left alone"));
    }
}
