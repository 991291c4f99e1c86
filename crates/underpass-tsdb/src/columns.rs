//! Series and their samples as tables, for programs that read columns: Arrow IPC and Parquet.
//!
//! Three tables, so that the one with most rows stays narrow: `samples` has floats, `histograms`
//! has native histograms, and `series` says what a number in their column `series` stands for. Rows
//! are in the order of the series' labels, then of time; a row group of Parquet ends with a series,
//! so a reader that wants one metric skips the others by the groups' minimum and maximum.
//!
//! Source: Arrow Columnar Format, "Serialization and Interprocess Communication"; Apache Parquet,
//! LogicalTypes.md (MAP, LIST, TIMESTAMP) and Encodings.md.

mod encoder;
mod float_rows;
mod folder;
mod histogram_rows;
mod run;
mod series_rows;
mod turns;
mod writer;

use std::io::Write;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_schema::{ArrowError, Schema};
use parquet::errors::ParquetError;

use crate::dump::{Dumped, Event};
use crate::labels::Labels;
use crate::query::Selection;

use self::encoder::{Encoded, Encoding};
use self::run::{Encoders, Piece};
use self::series_rows::{SeriesRows, Written};
use self::writer::TableWriter;

pub use folder::{Folder, FolderError};

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Floats: series, timestamp, value, and whether it is a stale marker.
    Samples,
    /// Series: number, metric, other labels, how many samples and from when to when.
    Series,
    /// Native histograms: series, timestamp, count, sum, and buckets as a list.
    Histograms,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Samples, Self::Series, Self::Histograms];

    /// Its name, which is also that of its file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Series => "series",
            Self::Histograms => "histograms",
        }
    }

    fn schema(self) -> Arc<Schema> {
        Arc::new(match self {
            Self::Samples => float_rows::schema(),
            Self::Series => series_rows::schema(),
            Self::Histograms => histogram_rows::schema(),
        })
    }

    /// How many of its columns, from the first on, its rows are in the order of.
    const fn ordered_columns(self) -> i32 {
        match self {
            Self::Series => 1,
            Self::Samples | Self::Histograms => 2,
        }
    }
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Arrow IPC as a stream, which can be read while it is written.
    ArrowStream,
    /// Arrow IPC as a file, whose columns other programs map and use in place.
    ArrowFile,
    /// Parquet, compressed.
    Parquet,
}

impl Format {
    /// What its files' names end with.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::ArrowStream => "arrows",
            Self::ArrowFile => "arrow",
            Self::Parquet => "parquet",
        }
    }
}

/// Tables that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// By the writer of Arrow IPC: its sink refused.
    #[error("Arrow IPC was not written")]
    Arrow(#[from] ArrowError),
    /// By the writer of Parquet: its sink refused.
    #[error("Parquet was not written")]
    Parquet(#[from] ParquetError),
    /// The caller did not want to continue.
    #[error("stopped before the end")]
    Stopped,
}

/// The tables that are being written, or those of them that are wanted.
#[derive(Debug)]
pub struct Tables<W: Write + Send> {
    floats: Option<TableWriter<W>>,
    histograms: Option<TableWriter<W>>,
    series: Option<(TableWriter<W>, Encoding<SeriesRows>)>,
    encoders: Encoders,
    done: Dumped,
}

impl<W: Write + Send> Tables<W> {
    /// Begins the tables for which `sink` gives a sink.
    ///
    /// # Errors
    ///
    /// Those of `sink`, or of a sink that refuses a table's header.
    pub fn begin<E: From<ColumnsError>>(
        format: Format,
        mut sink: impl FnMut(Table) -> Result<Option<W>, E>,
    ) -> Result<Self, E> {
        let mut begin = |table: Table| -> Result<_, E> {
            let Some(sink) = sink(table)? else { return Ok((None, None)) };
            let (writer, encoder) = TableWriter::begin(table, table.schema(), format, sink)?;
            Ok((Some(writer), Some(Arc::new(encoder))))
        };
        let (floats, of_floats) = begin(Table::Samples)?;
        let (histograms, of_histograms) = begin(Table::Histograms)?;
        let (series, of_series) = begin(Table::Series)?;
        let series_rows = of_series.map(|encoder| Encoding::new(SeriesRows::new(), encoder));
        Ok(Self {
            floats,
            histograms,
            series: series.zip(series_rows),
            encoders: Encoders { floats: of_floats, histograms: of_histograms },
            done: Dumped::default(),
        })
    }

    /// Writes the samples of a selection, decoded and encoded by `threads` threads. `watch` is told
    /// what happens, and ends it by breaking.
    ///
    /// # Errors
    ///
    /// A sink's; [`ColumnsError::Stopped`] if `watch` ended it. What could not be read is counted,
    /// and the rest is written.
    pub fn write(
        &mut self,
        selection: &Selection<'_>,
        threads: NonZero<usize>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Dumped, ColumnsError> {
        let encoders = self.encoders.clone();
        turns::each(selection, threads.get(), &encoders, &mut |piece| self.take(piece, watch))?;
        Ok(self.done)
    }

    fn take(
        &mut self,
        piece: Piece,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), ColumnsError> {
        let told = match piece {
            Piece::Floats(rows) => return write_to(&mut self.floats, rows),
            Piece::Histograms(rows) => return write_to(&mut self.histograms, rows),
            Piece::Series { number, labels, written } => {
                self.add_series(number, &labels, &written)?;
                self.done.series += 1;
                self.done.samples += written.samples();
                watch(Event::Progress(&self.done))
            }
            Piece::Loss(loss) => {
                self.done.losses += 1;
                watch(Event::Loss(&loss))
            }
        };
        if told.is_break() { Err(ColumnsError::Stopped) } else { Ok(()) }
    }

    fn add_series(
        &mut self,
        number: u32,
        labels: &Labels,
        written: &Written,
    ) -> Result<(), ColumnsError> {
        let Some((writer, encoding)) = &mut self.series else { return Ok(()) };
        encoding.rows.push(number, labels, written);
        encoding.encode_if_full(&mut |rows| writer.write(rows))
    }

    /// Writes the rows that are left, and what belongs at the end of each table.
    ///
    /// # Errors
    ///
    /// A sink's.
    pub fn finish(self) -> Result<Vec<W>, ColumnsError> {
        let mut writers = Vec::from_iter(self.floats);
        writers.extend(self.histograms);
        if let Some((mut writer, mut encoding)) = self.series {
            encoding.finish(&mut |rows| writer.write(rows))?;
            writers.push(writer);
        }
        writers.into_iter().map(TableWriter::finish).collect()
    }
}

fn write_to<W: Write + Send>(
    writer: &mut Option<TableWriter<W>>,
    rows: Encoded,
) -> Result<(), ColumnsError> {
    writer.as_mut().map_or(Ok(()), |writer| writer.write(rows))
}
