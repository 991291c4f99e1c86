//! `underpass tsdb dump`.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use underpass_copy::{Interrupt, catch_signals};
use underpass_tsdb::dump::{DumpError, Dumped, Event, Format, dump};
use underpass_tsdb::{Block, Pattern};

use super::losses::Losses;
use super::place::Place;
use super::selecting::Selecting;
#[cfg(feature = "parquet")]
use super::tables::{self, TableArgument};
use super::target::Target;
use super::usage::UsageArgument;
use crate::exit::Ended;

/// Print samples: as promtool does, as OpenMetrics, CSV or JSON.
///
/// Series are in the order of their labels, and the samples of each in the order of time; those of
/// several blocks are merged, and what tombstones delete is left out. Damage is named on standard
/// error with the samples that it costs, everything else is printed, and the exit code is 1.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct DumpArguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    selecting: Selecting,

    #[command(flatten)]
    usage: UsageArgument,

    /// How samples are written.
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    format: Form,

    /// Write to this file, which gets its name when it is complete.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[cfg(feature = "parquet")]
    #[command(flatten)]
    table: TableArgument,

    /// How many threads read and format [default: one for each processor].
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZero<usize>>,

    /// Show no progress.
    #[arg(long, short)]
    quiet: bool,
}

const HELP: &str = "\
Examples:
  underpass tsdb dump /var/lib/prometheus/metrics2 --match 'up{job=\"node\"}'
  underpass tsdb dump BLOCK --min-time 2026-01-01T00:00:00Z --format csv -o january.csv
  underpass tsdb dump BLOCK --format openmetrics -o samples.om
  promtool tsdb create-blocks-from openmetrics samples.om NEW
";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// As 'promtool tsdb dump' prints them.
    Text,
    /// As 'promtool tsdb dump-openmetrics', to make blocks of; without native histograms.
    #[value(name = "openmetrics")]
    OpenMetrics,
    /// Comma-separated values: metric, labels, timestamp_ms, value, histogram.
    Csv,
    /// A JSON object on a line for each sample.
    #[value(alias = "json")]
    JsonLines,
    /// Tables as Arrow IPC files, which other programs can map and use in place.
    #[cfg(feature = "parquet")]
    Arrow,
    /// Tables as Parquet, compressed with zstd.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// What samples become.
enum Kind {
    Text(Format),
    #[cfg(feature = "parquet")]
    Tables(tables::Form),
}

impl Form {
    const fn kind(self) -> Kind {
        Kind::Text(match self {
            Self::Text => Format::Text,
            Self::OpenMetrics => Format::OpenMetrics,
            Self::Csv => Format::Csv,
            Self::JsonLines => Format::JsonLines,
            #[cfg(feature = "parquet")]
            Self::Arrow => return Kind::Tables(tables::Form::Arrow),
            #[cfg(feature = "parquet")]
            Self::Parquet => return Kind::Tables(tables::Form::Parquet),
        })
    }
}

/// Dumps samples.
///
/// # Errors
///
/// If nothing can be read or written, or not everything was.
pub(crate) fn run(wanted: &DumpArguments) -> anyhow::Result<()> {
    let usage = wanted.usage.begin();
    let (blocks, damages) = wanted.place.open()?;
    let mut screen = Screen::new(wanted, &blocks);
    damages.iter().for_each(|damage| screen.lost(damage));
    // Of some series the kernel finds out by itself; to be told, each segment has to be opened.
    if wanted.selecting.is_all() {
        blocks.iter().for_each(|block| block.advise(Pattern::Sequential));
    }
    let dumped = match wanted.format.kind() {
        Kind::Text(format) => as_text(wanted, format, &blocks, &mut screen),
        #[cfg(feature = "parquet")]
        Kind::Tables(form) => as_tables(wanted, form, &blocks, &mut screen),
    };
    let all_read = screen.end();
    let dumped = dumped?;
    usage.tell("dump", wanted.place.backend());
    if dumped.left_out > 0 {
        bail!(
            "OpenMetrics cannot hold native histograms: {} left out; take --format text, csv or \
             json-lines",
            dumped.left_out
        );
    }
    all_read
}

fn as_text(
    wanted: &DumpArguments,
    format: Format,
    blocks: &[Block],
    screen: &mut Screen,
) -> anyhow::Result<Dumped> {
    #[cfg(feature = "parquet")]
    wanted.table.require_unused()?;
    match &wanted.output {
        Some(path) => into_file(wanted, format, blocks, path, screen),
        None => {
            let mut out = super::stdout()?;
            write(wanted, format, blocks, &mut out, &mut |event| screen.show(&event))
                .map_err(|error| told(error, "standard output"))
        }
    }
}

#[cfg(feature = "parquet")]
fn as_tables(
    wanted: &DumpArguments,
    form: tables::Form,
    blocks: &[Block],
    screen: &mut Screen,
) -> anyhow::Result<Dumped> {
    let (selection, threads) = (wanted.selecting.of(blocks), wanted.threads());
    let interrupt = catch_signals()?;
    let written = tables::write(form, wanted.table, wanted.output.as_deref(), &mut |tables| {
        tables.write(&selection, threads, &mut |event| {
            screen.show(&event)?;
            unless_ended(&interrupt)
        })
    });
    written.map_err(|error| match interrupt.signal() {
        Some(signal) => {
            Ended { signal, line: "a signal ended it, and no table was made".into() }.into()
        }
        None => error,
    })
}

impl DumpArguments {
    fn threads(&self) -> NonZero<usize> {
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok());
        threads.unwrap_or(NonZero::<usize>::MIN)
    }
}

fn write(
    wanted: &DumpArguments,
    format: Format,
    blocks: &[Block],
    out: &mut dyn Write,
    watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Dumped, DumpError> {
    dump(&wanted.selecting.of(blocks), format, wanted.threads(), out, watch)
}

fn unless_ended(interrupt: &Interrupt) -> ControlFlow<()> {
    match interrupt.signal() {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    }
}

/// Dumps into a file, which gets its name if neither an error nor a signal comes before the end.
fn into_file(
    wanted: &DumpArguments,
    format: Format,
    blocks: &[Block],
    path: &Path,
    screen: &mut Screen,
) -> anyhow::Result<Dumped> {
    let name = path.display().to_string();
    let interrupt = catch_signals()?;
    let mut target = Target::open(path).with_context(|| name.clone())?;
    let written = write(wanted, format, blocks, target.file(), &mut |event| {
        screen.show(&event)?;
        unless_ended(&interrupt)
    });
    match (written, interrupt.signal()) {
        (Err(DumpError::Stopped), Some(signal)) => {
            Err(Ended { signal, line: format!("a signal ended it, and {name} was not made") }
                .into())
        }
        (written, _) => {
            let dumped = written.map_err(|error| told(error, &name))?;
            target.finish().with_context(|| name.clone())?;
            Ok(dumped)
        }
    }
}

fn told(error: DumpError, name: &str) -> anyhow::Error {
    match error {
        DumpError::Write(error) => {
            anyhow::Error::from(error).context(format!("{name} cannot be written"))
        }
        DumpError::Stopped | _ => error.into(),
    }
}

/// Standard error: a bar if it is a terminal that does not show the samples, and what is lost.
struct Screen {
    bar: Option<ProgressBar>,
    losses: Losses,
}

impl Screen {
    fn new(wanted: &DumpArguments, blocks: &[Block]) -> Self {
        let is_shown = wanted.output.is_none() && io::stdout().is_terminal();
        let bar = (!wanted.quiet && !is_shown && io::stderr().is_terminal())
            .then(|| bar(total(wanted, blocks)));
        Self { bar, losses: Losses::of("dump") }
    }

    fn show(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Loss(loss) => self.lost(loss),
            Event::Progress(dumped) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(dumped.samples + dumped.left_out);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn lost(&mut self, what: impl Display) {
        let tell = || self.losses.tell([what]);
        match &self.bar {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }
    }

    /// Fails if something could not be read.
    fn end(self) -> anyhow::Result<()> {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.losses.end()
    }
}

/// How many samples there will be, where the blocks say so.
fn total(wanted: &DumpArguments, blocks: &[Block]) -> Option<u64> {
    let samples = |block: &Block| block.meta().map(|meta| meta.stats.num_samples);
    wanted.selecting.is_all().then(|| blocks.iter().map(samples).sum::<Option<u64>>()).flatten()
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{bar:24} {human_pos}/{human_len} samples, eta {eta}")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {human_pos} samples, {elapsed}"),
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
