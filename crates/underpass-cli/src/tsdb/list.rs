//! `underpass tsdb list`.

use std::time::{Duration, SystemTime};

use clap::Args;
use humantime::format_rfc3339_seconds;
use serde_json::json;
use underpass_tsdb::directory::bytes_below;
use underpass_tsdb::{Block, Meta};

use super::place::Place;
use crate::exit::{print, say};

/// List blocks: their time ranges, sizes and samples, as their meta.json has them.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    place: Place,

    /// Print a JSON object on a line for each block.
    #[arg(long)]
    json: bool,
}

/// Prints a line for each block.
///
/// # Errors
///
/// If there is none, or standard output takes nothing.
pub(crate) fn run(wanted: &ListArguments) -> anyhow::Result<()> {
    let (blocks, damages) = wanted.place.open()?;
    let mut lines = String::new();
    if !wanted.json {
        lines.push_str(HEAD);
    }
    for block in &blocks {
        lines.push_str(&if wanted.json { as_json(block) } else { as_text(block) });
        lines.push('\n');
    }
    print(lines.as_bytes())?;
    damages.iter().for_each(|damage| say(&format!("underpass tsdb list: {damage}")));
    anyhow::ensure!(damages.is_empty(), "there is damage, which is named above");
    Ok(())
}

const HEAD: &str = "BLOCK                       FROM                  TO                    \
                    LEVEL     SAMPLES      SERIES       BYTES\n";

fn as_text(block: &Block) -> String {
    let name = block.name();
    let bytes = bytes_below(block.dir());
    let Some(meta) = block.meta() else { return format!("{name:26}  ?{bytes:>86}") };
    let (from, to) = (time(meta.min_time), time(meta.max_time));
    let (level, samples, series) =
        (meta.compaction.level, meta.stats.num_samples, meta.stats.num_series);
    format!("{name:26}  {from:20}  {to:20}  {level:>5} {samples:>11} {series:>11} {bytes:>11}")
}

fn as_json(block: &Block) -> String {
    let meta = block.meta();
    json!({
        "ulid": block.name(),
        "path": block.dir().to_string_lossy(),
        "minTime": meta.map(|meta| meta.min_time),
        "maxTime": meta.map(|meta| meta.max_time),
        "level": meta.map(|meta| meta.compaction.level),
        "numSamples": meta.map(|meta| meta.stats.num_samples),
        "numSeries": meta.map(|meta| meta.stats.num_series),
        "numChunks": meta.map(|meta| meta.stats.num_chunks),
        "numTombstones": meta.map(|meta| meta.stats.num_tombstones),
        "resolution": meta.map(Meta::resolution),
        "indexVersion": block.index().version(),
        "bytes": bytes_below(block.dir()),
    })
    .to_string()
}

/// Milliseconds since 1970 as RFC 3339, where that can say it.
fn time(millis: i64) -> String {
    let since = u64::try_from(millis).ok().map(Duration::from_millis);
    let time = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    // The year 10000 is past what RFC 3339 has.
    let time = time.filter(|_| millis < 253_402_300_800_000);
    time.map_or_else(|| millis.to_string(), |time| format_rfc3339_seconds(time).to_string())
}
