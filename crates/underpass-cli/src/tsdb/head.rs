//! `underpass tsdb head`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use underpass_tsdb::chunk::head::{HeadChunk, HeadFile};
use underpass_tsdb::time::Rfc3339;
use underpass_tsdb::{Damage, Encoding, Samples, Section, Window, chunk};

use super::losses::Losses;
use super::place::Place;
use crate::exit::print;

/// Read the chunks of the head that are on disk: 'chunks_head', which no block has yet.
///
/// PATH is a data directory, its 'chunks_head', or one file of it. Every checksum is compared and
/// every sample decoded. Labels are in the write-ahead log alone, so series are counted and not
/// named. A running server may be in the middle of the last chunk.
#[derive(Debug, Args)]
pub(crate) struct HeadArguments {
    #[command(flatten)]
    place: Place,

    /// Print a JSON object for each file, one a line.
    #[arg(long)]
    json: bool,
}

/// What a file has.
#[derive(Debug, Default)]
struct Found {
    chunks: u64,
    out_of_order: u64,
    series: HashSet<u64>,
    samples: u64,
    times: Option<(i64, i64)>,
}

/// Prints a line for each file.
///
/// # Errors
///
/// If there is none, or something is damaged.
pub(crate) fn run(wanted: &HeadArguments) -> anyhow::Result<()> {
    let mut losses = Losses::of("head");
    for path in files(&wanted.place.path)? {
        let mut found = Found::default();
        match HeadFile::open(&path, wanted.place.backend()) {
            Ok(file) => losses.tell(found.read(&file)),
            Err(damage) => losses.tell([damage]),
        }
        let line = if wanted.json { found.json(&path) } else { found.text(&path) };
        print(line.as_bytes())?;
    }
    losses.end()
}

/// The file, or those of the directory, or of the `chunks_head` in it.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let below = path.join("chunks_head");
    let dir = if below.is_dir() { &below } else { path };
    let read = || dir.display().to_string();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(read)? {
        let entry = entry.with_context(read)?;
        let is_number = entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if is_number {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    ensure!(!files.is_empty(), "there are no files of chunks in {}", dir.display());
    Ok(files)
}

impl Found {
    /// Reads all chunks, and gives what is damaged.
    fn read(&mut self, file: &HeadFile) -> Vec<Damage> {
        let mut damages: Vec<Damage> = file.check_header().err().into_iter().collect();
        let (mut chunks, mut window) = (file.chunks(), Window::ahead(Window::AHEAD));
        let mut samples = Samples::default();
        while let Some(next) = chunks.next(&mut window) {
            let added = next.and_then(|chunk| self.add(&chunk, file, &mut samples));
            damages.extend(added.err());
        }
        damages
    }

    fn add(
        &mut self,
        chunk: &HeadChunk<'_>,
        file: &HeadFile,
        samples: &mut Samples,
    ) -> Result<(), Damage> {
        samples.clear();
        let damage = |fault| file.file().damage(chunk.start, Section::Chunk, fault);
        let encoding = Encoding::try_from(chunk.encoding).map_err(damage)?;
        chunk::decode(encoding, chunk.data, samples).map_err(|wrong| damage(wrong.fault))?;
        self.chunks += 1;
        self.out_of_order += u64::from(chunk.is_out_of_order);
        self.samples += samples.len() as u64;
        self.series.insert(chunk.series);
        let (min, max) = self.times.unwrap_or((chunk.min_time, chunk.max_time));
        self.times = Some((min.min(chunk.min_time), max.max(chunk.max_time)));
        Ok(())
    }

    fn text(&self, path: &Path) -> String {
        let Self { chunks, out_of_order, series, samples, times } = self;
        let span =
            |(min, max): &(i64, i64)| format!(", from {} to {}", Rfc3339(*min), Rfc3339(*max));
        format!(
            "{}: {chunks} chunks ({out_of_order} out of order) of {} series, {samples} samples{}\n",
            path.display(),
            series.len(),
            times.as_ref().map(span).unwrap_or_default()
        )
    }

    fn json(&self, path: &Path) -> String {
        let line = json!({
            "path": path.to_string_lossy(),
            "numChunks": self.chunks,
            "numOutOfOrderChunks": self.out_of_order,
            "numSeries": self.series.len(),
            "numSamples": self.samples,
            "minTime": self.times.map(|times| times.0),
            "maxTime": self.times.map(|times| times.1),
        });
        format!("{line}\n")
    }
}
