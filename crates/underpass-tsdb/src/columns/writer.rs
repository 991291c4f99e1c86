//! Writes encoded rows of one table: as an Arrow stream, an Arrow file, or Parquet.

use std::fmt;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::encoder::{Encoded, Encoder};
use super::{ColumnsError, Format, Table};

/// Bytes that are collected before a write, where a writer makes many small ones.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes one table.
pub(super) enum TableWriter<W: Write + Send> {
    Stream(StreamWriter<BufWriter<W>>),
    File(FileWriter<BufWriter<W>>),
    Parquet(SerializedFileWriter<W>),
}

impl<W: Write + Send> TableWriter<W> {
    /// Begins a table, and makes the encoder of its rows.
    pub(super) fn begin(
        table: Table,
        schema: Arc<Schema>,
        format: Format,
        sink: W,
    ) -> Result<(Self, Encoder), ColumnsError> {
        Ok(match format {
            Format::ArrowStream => {
                let writer = StreamWriter::try_new(buffered(sink), &schema)?;
                (Self::Stream(writer), Encoder::for_arrow(schema))
            }
            Format::ArrowFile => {
                let writer = FileWriter::try_new(buffered(sink), &schema)?;
                (Self::File(writer), Encoder::for_arrow(schema))
            }
            Format::Parquet => {
                let properties = Some(properties(table));
                let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), properties)?;
                let (writer, groups) = writer.into_serialized_writer()?;
                (Self::Parquet(writer), Encoder::for_parquet(schema, groups))
            }
        })
    }

    pub(super) fn write(&mut self, rows: Encoded) -> Result<(), ColumnsError> {
        match (self, rows) {
            (Self::Stream(writer), Encoded::Batch(batch)) => writer.write(&batch)?,
            (Self::File(writer), Encoded::Batch(batch)) => writer.write(&batch)?,
            (Self::Parquet(writer), Encoded::Group(columns)) => {
                let mut group = writer.next_row_group()?;
                columns
                    .into_iter()
                    .try_for_each(|column| column.append_to_row_group(&mut group))?;
                group.close()?;
            }
            (Self::Stream(_) | Self::File(_), Encoded::Group(_))
            | (Self::Parquet(_), Encoded::Batch(_)) => {
                unreachable!("rows come from the encoder that was made with this writer")
            }
        }
        Ok(())
    }

    /// Writes what belongs at the end, and gives the sink back.
    pub(super) fn finish(self) -> Result<W, ColumnsError> {
        match self {
            Self::Stream(mut writer) => {
                writer.finish()?;
                unbuffered(writer.into_inner()?)
            }
            Self::File(mut writer) => {
                writer.finish()?;
                unbuffered(writer.into_inner()?)
            }
            Self::Parquet(writer) => Ok(writer.into_inner()?),
        }
    }
}

impl<W: Write + Send> fmt::Debug for TableWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::File(_) => "File",
            Self::Parquet(_) => "Parquet",
        })
    }
}

fn buffered<W: Write>(sink: W) -> BufWriter<W> {
    BufWriter::with_capacity(BUFFER_BYTES, sink)
}

fn unbuffered<W: Write>(sink: BufWriter<W>) -> Result<W, ColumnsError> {
    let sink = sink.into_inner().map_err(std::io::IntoInnerError::into_error);
    Ok(sink.map_err(ArrowError::from)?)
}

/// Times are almost evenly spaced, and what values have in common is found by zstd: at level 1 a
/// table of floats is smaller than the chunks that it came from.
fn properties(table: Table) -> WriterProperties {
    let zstd = ZstdLevel::try_new(1).expect("1 is the first of zstd's levels");
    let properties = WriterProperties::builder()
        .set_created_by(concat!("underpass tsdb ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::ZSTD(zstd))
        .set_sorting_columns(Some((0..table.ordered_columns()).map(ascending).collect()));
    let times = |properties| encoded(properties, "timestamp", Encoding::DELTA_BINARY_PACKED);
    let plain = |properties, column| encoded(properties, column, Encoding::PLAIN);
    match table {
        Table::Series => properties.build(),
        Table::Samples => plain(times(properties), "value").build(),
        Table::Histograms => {
            let columns = ["count", "sum", "buckets.list.element.count"];
            columns.into_iter().fold(times(properties), plain).build()
        }
    }
}

const fn ascending(column: i32) -> SortingColumn {
    SortingColumn { column_idx: column, descending: false, nulls_first: false }
}

fn encoded(
    properties: WriterPropertiesBuilder,
    column: &str,
    encoding: Encoding,
) -> WriterPropertiesBuilder {
    let path = ColumnPath::new(column.split('.').map(str::to_owned).collect());
    properties
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path, encoding)
}
