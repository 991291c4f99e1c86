//! `underpass tsdb dump --format arrow` and `--format parquet`: where tables go.

use std::error::Error;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::iter::successors;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use underpass_tsdb::columns::{ColumnsError, Folder, Format, Table, Tables};
use underpass_tsdb::dump::Dumped;

use super::target::Target;

/// How tables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Arrow,
    Parquet,
}

impl Form {
    /// In files whose columns can be mapped.
    const fn of_a_file(self) -> Format {
        match self {
            Self::Arrow => Format::ArrowFile,
            Self::Parquet => Format::Parquet,
        }
    }

    /// Where a reader need not wait for the end.
    const fn of_a_stream(self) -> Format {
        match self {
            Self::Arrow => Format::ArrowStream,
            Self::Parquet => Format::Parquet,
        }
    }
}

/// Which table is written.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TableArgument {
    /// With arrow and parquet: write only this table, to standard output or to a file.
    ///
    /// Without it '--output' names a directory, which is made for all three.
    #[arg(long, value_name = "TABLE")]
    table: Option<Wanted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// Floats: series, timestamp, value, stale.
    Samples,
    /// Series: series, metric, labels, samples, histograms, min_time, max_time.
    Series,
    /// Histograms: series, timestamp, count, sum, stale, counter_reset, schema, zero_threshold,
    /// buckets.
    Histograms,
}

impl TableArgument {
    /// Fails if a table is named where there is none.
    pub(crate) fn require_unused(self) -> anyhow::Result<()> {
        ensure!(self.table.is_none(), "--table needs '--format arrow' or '--format parquet'");
        Ok(())
    }

    fn table(self) -> Option<Table> {
        self.table.map(|wanted| match wanted {
            Wanted::Samples => Table::Samples,
            Wanted::Series => Table::Series,
            Wanted::Histograms => Table::Histograms,
        })
    }
}

/// What fills tables.
pub(crate) type Fill<'f> = dyn FnMut(&mut Tables<File>) -> Result<Dumped, ColumnsError> + 'f;

/// Writes one table to standard output or into a file, or all of them into a directory.
///
/// # Errors
///
/// If there is nowhere to write them, or it refuses.
pub(crate) fn write(
    form: Form,
    table: TableArgument,
    output: Option<&Path>,
    fill: &mut Fill<'_>,
) -> anyhow::Result<Dumped> {
    match (table.table(), output) {
        (Some(table), Some(path)) => {
            let name = || path.display().to_string();
            let mut target = Target::open(path).with_context(name)?;
            let sink = target.file().try_clone()?;
            let dumped = write_one(table, form.of_a_file(), sink, fill).map_err(told)?;
            target.finish().with_context(name)?;
            Ok(dumped)
        }
        (Some(table), None) => {
            ensure!(
                !io::stdout().is_terminal(),
                "standard output is a terminal; give --output FILE"
            );
            write_one(table, form.of_a_stream(), super::stdout()?, fill).map_err(told)
        }
        (None, Some(path)) => write_all(form.of_a_file(), path, fill),
        (None, None) => bail!(
            "there are three tables; give --output DIRECTORY for all of them, or one with --table"
        ),
    }
}

fn write_one(
    wanted: Table,
    format: Format,
    sink: File,
    fill: &mut Fill<'_>,
) -> Result<Dumped, ColumnsError> {
    let mut sink = Some(sink);
    let mut tables = Tables::begin(format, |table| {
        Ok::<_, ColumnsError>(if table == wanted { sink.take() } else { None })
    })?;
    let dumped = fill(&mut tables)?;
    tables.finish()?;
    Ok(dumped)
}

fn write_all(format: Format, path: &Path, fill: &mut Fill<'_>) -> anyhow::Result<Dumped> {
    let folder = Folder::create(path)?;
    let mut tables =
        Tables::begin(format, |table| Ok::<_, anyhow::Error>(Some(folder.file(table, format)?)))?;
    let dumped = fill(&mut tables).map_err(told)?;
    tables.finish().map_err(told)?;
    folder.finish()?;
    Ok(dumped)
}

/// A reader that closes standard output has what it wanted, which only the kernel's error says.
fn told(error: ColumnsError) -> anyhow::Error {
    let causes = successors(Some(&error as &dyn Error), |&error| error.source());
    let mut kinds =
        causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    if kinds.any(|kind| kind == io::ErrorKind::BrokenPipe) {
        return io::Error::from(io::ErrorKind::BrokenPipe).into();
    }
    error.into()
}
