//! `underpass tsdb verify`.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use underpass_measure::printable;
use underpass_tsdb::verify::{self, Depth, Finding, Report};
use underpass_tsdb::{Backend, Block};

use super::place::Place;
use crate::exit::print;

/// Verify blocks: every checksum of every file, and that the parts agree with one another.
///
/// Each fault is printed with its file, byte and section, and with the series and times that it
/// costs. Notes are about what is unusual but harmless. The exit code is 0 if nothing is wrong,
/// and 1 otherwise.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    place: Place,

    /// Also decode every sample, and compare counts and times with the index.
    #[arg(long)]
    samples: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Verifies each block and prints what was found.
///
/// # Errors
///
/// If there is no block, or something is wrong with one.
pub(crate) fn run(wanted: &VerifyArguments) -> anyhow::Result<()> {
    let found = wanted.place.find()?;
    let (depth, backend) = (wanted.depth(), wanted.place.backend());
    let total = found.blocks.iter().map(|path| verify::bytes_of(path)).sum();
    let (reports, overlaps) = watched(total, |done| {
        let (mut reports, mut blocks) = (Vec::new(), Vec::new());
        for path in &found.blocks {
            let (report, block) = verify_one(path, backend, depth, done);
            reports.push(report);
            blocks.extend(block);
        }
        (reports, verify::overlaps(&blocks))
    });
    print(&match wanted.json {
        true => as_json(&reports, &overlaps),
        false => as_text(&reports, &overlaps),
    })?;
    let damaged = reports.iter().filter(|report| !report.is_sound()).count();
    anyhow::ensure!(damaged == 0, "damaged blocks: {damaged} of {}", reports.len());
    Ok(())
}

impl VerifyArguments {
    const fn depth(&self) -> Depth {
        if self.samples { Depth::Samples } else { Depth::Checksums }
    }
}

fn verify_one(
    path: &Path,
    backend: Backend,
    depth: Depth,
    done: &AtomicU64,
) -> (Report, Option<Block>) {
    match Block::open(path, backend) {
        Ok(block) => (verify::verify(&block, depth, done), Some(block)),
        Err(damage) => (Report::of_unopened(path, damage), None),
    }
}

/// Runs `work`, with a bar where standard error is a terminal.
fn watched<T>(total: u64, work: impl FnOnce(&AtomicU64) -> T) -> T {
    let (done, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    if !std::io::stderr().is_terminal() {
        return work(&done);
    }
    thread::scope(|scope| {
        let drawer = scope.spawn(|| {
            let bar = bar(total);
            while !is_over.load(Ordering::Acquire) {
                bar.set_position(done.load(Ordering::Relaxed).min(total));
                thread::park_timeout(Duration::from_millis(100));
            }
            bar.finish_and_clear();
        });
        let outcome = work(&done);
        is_over.store(true, Ordering::Release);
        drawer.thread().unpark();
        outcome
    })
}

fn bar(total: u64) -> ProgressBar {
    let template = "{bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} \
                    eta {eta}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn as_text(reports: &[Report], overlaps: &[String]) -> Vec<u8> {
    let mut lines = Vec::new();
    for report in reports {
        lines.push(head(report));
        lines.extend(report.findings.iter().map(|finding| format!("  {finding}")));
        if report.further > 0 {
            lines.push(format!("  and {} further places", report.further));
        }
        lines.extend(report.notes.iter().map(|note| format!("  note: {note}")));
    }
    lines.extend(overlaps.iter().map(|line| format!("note: {line}")));
    // A line end in a name would make two lines of one.
    lines.iter().flat_map(|line| (printable(line) + "\n").into_bytes()).collect()
}

fn head(report: &Report) -> String {
    let Report { block, bytes, checksums, series, chunks, samples, .. } = report;
    let verdict = match report.findings.len() {
        0 => "sound".to_owned(),
        1 => "DAMAGED at 1 place".to_owned(),
        count => format!("DAMAGED at {} places", count as u64 + report.further),
    };
    format!(
        "{block}: {verdict}: {bytes} bytes, {checksums} checksums, {series} series, \
         {chunks} chunks, {samples} samples"
    )
}

fn as_json(reports: &[Report], overlaps: &[String]) -> Vec<u8> {
    let blocks: Vec<Value> = reports.iter().map(block_as_json).collect();
    let is_sound = reports.iter().all(Report::is_sound);
    let mut text = json!({ "sound": is_sound, "blocks": blocks, "overlaps": overlaps }).to_string();
    text.push('\n');
    text.into_bytes()
}

fn block_as_json(report: &Report) -> Value {
    json!({
        "block": report.block,
        "sound": report.is_sound(),
        "bytes": report.bytes,
        "checksums": report.checksums,
        "series": report.series,
        "chunks": report.chunks,
        "samples": report.samples,
        "findings": report.findings.iter().map(finding_as_json).collect::<Vec<_>>(),
        "further": report.further,
        "notes": report.notes,
    })
}

fn finding_as_json(finding: &Finding) -> Value {
    let Finding { damage, lost } = finding;
    json!({
        "file": damage.file.to_string_lossy(),
        "offset": damage.offset,
        "section": damage.section.name(),
        "fault": damage.fault.to_string(),
        "lost": {
            "series": lost.series,
            "chunks": lost.chunks,
            "labels": lost.labels,
            "minTime": lost.times.map(|(min, _)| min),
            "maxTime": lost.times.map(|(_, max)| max),
        },
    })
}
