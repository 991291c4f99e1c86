//! `underpass log check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use underpass_log::check::{self, Checked};
use underpass_measure::printable;

use crate::exit::print;

/// Check the files of a log: every batch and its checksum, and that indexes agree with them.
///
/// Nothing is written. What is wrong is printed with its file and byte; missing offsets are notes,
/// because compaction leaves such. The exit code is 0 if nothing is wrong, and 1 otherwise. A log
/// that is appended to meanwhile may look cut short at its end.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// A data directory, or that of one partition.
    #[arg(value_name = "DIR")]
    path: PathBuf,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Checks each log and prints what was found.
///
/// # Errors
///
/// If there is no log, or something is wrong with one.
pub(crate) fn run(wanted: &CheckArguments) -> anyhow::Result<()> {
    let logs = check::partitions(&wanted.path)?;
    let path = printable(&wanted.path.to_string_lossy());
    let remedy = "give a data directory, or that of a partition";
    anyhow::ensure!(!logs.is_empty(), "there is no log in {path}: {remedy}");
    let checked: Vec<Checked> = logs.iter().map(|dir| check::check(dir)).collect();
    print(&match wanted.json {
        true => as_json(&checked),
        false => as_text(&checked),
    })?;
    let damaged = checked.iter().filter(|checked| !checked.is_sound()).count();
    anyhow::ensure!(damaged == 0, "damaged logs: {damaged} of {}", checked.len());
    Ok(())
}

fn as_text(checked: &[Checked]) -> Vec<u8> {
    let mut lines = Vec::new();
    for log in checked {
        lines.push(head(log));
        lines.extend(log.findings.iter().map(|finding| format!("  {finding}")));
        if log.further > 0 {
            lines.push(format!("  and {} further places", log.further));
        }
        lines.extend(log.notes.iter().map(|note| format!("  note: {note}")));
    }
    let lines = lines.iter().map(|line| printable(line) + "\n");
    lines.collect::<String>().into_bytes()
}

/// One line about a log.
fn head(log: &Checked) -> String {
    let Checked { start, end, segments, batches, records, bytes, .. } = log;
    let name = log.dir.file_name().unwrap_or(log.dir.as_os_str()).to_string_lossy();
    let verdict = if log.is_sound() { "ok" } else { "DAMAGED" };
    format!(
        "{name}: {verdict}, offsets {start} to {end}, {segments} segments, {batches} batches, \
         {records} records, {bytes} bytes"
    )
}

fn as_json(checked: &[Checked]) -> Vec<u8> {
    let logs: Vec<Value> = checked.iter().map(log_json).collect();
    let is_sound = checked.iter().all(Checked::is_sound);
    (json!({ "ok": is_sound, "logs": logs }).to_string() + "\n").into_bytes()
}

fn log_json(log: &Checked) -> Value {
    let findings = log.findings.iter().map(|finding| {
        json!({
            "file": finding.path.to_string_lossy(),
            "byte": finding.position,
            "what": finding.what,
        })
    });
    json!({
        "dir": log.dir.to_string_lossy(),
        "ok": log.is_sound(),
        "start_offset": log.start,
        "end_offset": log.end,
        "segments": log.segments,
        "batches": log.batches,
        "records": log.records,
        "bytes": log.bytes,
        "findings": findings.collect::<Vec<_>>(),
        "further_findings": log.further,
        "notes": log.notes,
    })
}
