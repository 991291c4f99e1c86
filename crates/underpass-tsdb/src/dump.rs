//! Samples of blocks as text: promtool's, OpenMetrics, CSV, JSON lines.
//!
//! To write a sample's text takes longer than to read and decode it. So what is the same in all
//! lines of a series is made once, and several threads work on different series; what they make is
//! written in the order of the series. Damage ends nothing: it is told, and the rest is dumped.

mod clock;
mod histogram;
mod lines;
mod number;
mod page;
mod pipeline;
mod printable;
pub(crate) mod quote;
mod series;

use std::io::{self, Write};
use std::num::NonZero;
use std::ops::ControlFlow;

use self::lines::Lines;
use self::page::Page;
use self::pipeline::{Count, Piece, Stopped, in_order};
use crate::query::{Loss, MergedSeries, Reader, Selection, Series};
use crate::sample::Samples;

/// A form of text for samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As `promtool tsdb dump`.
    Text,
    /// As `promtool tsdb dump-openmetrics`, of which Prometheus makes blocks again. It has no
    /// native histograms.
    OpenMetrics,
    /// Comma-separated values, with a line of names for the columns: RFC 4180.
    Csv,
    /// A JSON object a line.
    JsonLines,
}

/// What a dump has done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Dumped {
    /// Series, with those of which no sample could be read.
    pub series: u64,
    /// Samples that were written.
    pub samples: u64,
    /// Samples that were not, since the format has no native histograms.
    pub left_out: u64,
    /// Places that could not be read.
    pub losses: u64,
}

/// What happens while a dump is made.
#[derive(Debug)]
pub enum Event<'e> {
    /// Something could not be read.
    Loss(&'e Loss),
    /// What is done so far.
    Progress(&'e Dumped),
}

/// Why a dump ended before all was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The output took no more.
    #[error("the output cannot be written")]
    Write(#[from] io::Error),
    /// The caller asked for it.
    #[error("the dump was stopped")]
    Stopped,
}

/// Writes the samples of a selection, those of each series together, by `threads` threads. `watch`
/// is told what happens, and ends the dump by breaking.
///
/// # Errors
///
/// If `out` takes no more, or `watch` ended it. What could not be read is counted, and the dump
/// continues.
pub fn dump(
    selection: &Selection<'_>,
    format: Format,
    threads: NonZero<usize>,
    out: &mut dyn Write,
    watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Dumped, DumpError> {
    out.write_all(lines::head(format))?;
    let mut dumped = Dumped::default();
    let mut refused = None;
    let mut deliver = |piece: Piece<'_, Loss>| {
        let event = match piece {
            Piece::Text(text) => {
                return out.write_all(text).map_err(|error| {
                    refused = Some(error);
                    Stopped
                });
            }
            Piece::Loss(loss) => {
                dumped.losses += 1;
                watch(Event::Loss(&loss))
            }
            Piece::Done(count) => {
                dumped.add(count);
                watch(Event::Progress(&dumped))
            }
        };
        if event.is_break() { Err(Stopped) } else { Ok(()) }
    };
    let series = Source { series: selection.series() };
    let worker = || {
        let mut worker = Worker::new(selection, format);
        move |next: Next, page: &mut Page<'_, '_, Loss>| worker.write(next, page)
    };
    let ended = in_order(threads.get(), series, Next::chunks, worker, &mut deliver);
    match (ended, refused) {
        (_, Some(error)) => return Err(DumpError::Write(error)),
        (Err(Stopped), None) => return Err(DumpError::Stopped),
        (Ok(()), None) => {}
    }
    out.write_all(lines::end(format))?;
    out.flush()?;
    Ok(dumped)
}

impl Dumped {
    const fn add(&mut self, count: Count) {
        self.series += count.series;
        self.samples += count.samples;
        self.left_out += count.left_out;
    }
}

/// The next series, and what was found damaged on the way to it. Behind the last series there may
/// be one without labels and chunks.
#[derive(Debug)]
struct Next {
    series: Series,
    losses: Vec<Loss>,
}

impl Next {
    fn chunks(&self) -> usize {
        self.series.parts.iter().map(|part| part.chunks.len()).sum()
    }
}

struct Source<'s> {
    series: MergedSeries<'s>,
}

impl Iterator for Source<'_> {
    type Item = Next;

    fn next(&mut self) -> Option<Next> {
        let mut series = Series::default();
        let is_there = self.series.next_into(&mut series);
        let losses = self.series.take_losses();
        (is_there || !losses.is_empty()).then_some(Next { series, losses })
    }
}

/// What a thread needs to make series into text.
struct Worker<'s> {
    reader: Reader<'s>,
    samples: Samples,
    lines: Lines,
}

impl<'s> Worker<'s> {
    fn new(selection: &Selection<'s>, format: Format) -> Self {
        let (reader, lines) = (selection.reader(), Lines::new(format));
        Self { reader, samples: Samples::default(), lines }
    }

    fn write(&mut self, next: Next, page: &mut Page<'_, '_, Loss>) -> Result<(), Stopped> {
        next.losses.into_iter().try_for_each(|loss| page.loss(loss))?;
        if next.series.parts.is_empty() {
            return Ok(());
        }
        self.lines.set_series(&next.series.labels);
        let mut count = Count { series: 1, ..Count::default() };
        let mut batches = self.reader.read(&next.series);
        while batches.next_into(&mut self.samples) {
            let left_out = self.lines.write(&self.samples, page)?;
            count.left_out += left_out;
            count.samples += self.samples.len() as u64 - left_out;
        }
        self.reader.take_losses().into_iter().try_for_each(|loss| page.loss(loss))?;
        page.done(count)
    }
}
