//! Makes batches of rows into what a file takes as it is, so that several threads can.
//!
//! An Arrow file takes batches. Parquet takes row groups, which cost most of the time: they are
//! encoded and compressed here, and later only copied. A row group is the unit that a reader skips
//! or gives to a thread; each costs some hundred bytes in the footer, which stays in memory until
//! the end.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::ParquetError;

/// Rows after which a row group ends, wherever that is. DuckDB recommends 100,000 to 1,000,000.
const GROUP_ROWS_MAX: usize = 1 << 19;

/// Rows of a table that were not encoded yet.
pub(super) trait Rows {
    fn len(&self) -> usize;
    /// Whether they should be encoded before more are added.
    fn is_full(&self) -> bool;
    /// Makes a batch of them, and has none then.
    fn take(&mut self, schema: &Arc<Schema>) -> RecordBatch;
}

/// A batch of columns that rows were added to.
pub(super) fn batch(schema: &Arc<Schema>, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::clone(schema), columns)
        .expect("each row was added to all columns, whose types are the schema's")
}

/// How the rows of a table are encoded. Threads share it.
#[derive(Debug)]
pub(super) struct Encoder {
    schema: Arc<Schema>,
    groups: Option<ArrowRowGroupWriterFactory>,
}

/// Rows as a file takes them.
pub(super) enum Encoded {
    Batch(RecordBatch),
    Group(Vec<ArrowColumnChunk>),
}

/// What takes encoded rows.
pub(super) type Take<'t, E> = dyn FnMut(Encoded) -> Result<(), E> + 't;

/// Rows on their way through an encoder.
#[derive(Debug)]
pub(super) struct Encoding<R> {
    pub(super) rows: R,
    encoder: Arc<Encoder>,
    group: Option<Group>,
}

/// A row group that is being encoded.
struct Group {
    rows: usize,
    columns: Vec<ArrowColumnWriter>,
}

impl Encoder {
    pub(super) const fn for_arrow(schema: Arc<Schema>) -> Self {
        Self { schema, groups: None }
    }

    pub(super) const fn for_parquet(
        schema: Arc<Schema>,
        groups: ArrowRowGroupWriterFactory,
    ) -> Self {
        Self { schema, groups: Some(groups) }
    }
}

impl<R: Rows> Encoding<R> {
    pub(super) const fn new(rows: R, encoder: Arc<Encoder>) -> Self {
        Self { rows, encoder, group: None }
    }

    /// Encodes the rows if there are many. To be called after each addition.
    pub(super) fn encode_if_full<E: From<ParquetError>>(
        &mut self,
        take: &mut Take<'_, E>,
    ) -> Result<(), E> {
        if !self.rows.is_full() {
            return Ok(());
        }
        self.encode(take)?;
        match &self.group {
            Some(group) if group.rows >= GROUP_ROWS_MAX => self.end_group(take),
            Some(_) | None => Ok(()),
        }
    }

    /// Encodes the rows that are left, and ends the row group.
    pub(super) fn finish<E: From<ParquetError>>(
        &mut self,
        take: &mut Take<'_, E>,
    ) -> Result<(), E> {
        if self.rows.len() > 0 {
            self.encode(take)?;
        }
        self.end_group(take)
    }

    fn encode<E: From<ParquetError>>(&mut self, take: &mut Take<'_, E>) -> Result<(), E> {
        let batch = self.rows.take(&self.encoder.schema);
        let Some(groups) = &self.encoder.groups else { return take(Encoded::Batch(batch)) };
        if self.group.is_none() {
            // The number of a row group matters to encryption only.
            self.group = Some(Group { rows: 0, columns: groups.create_column_writers(0)? });
        }
        self.group.as_mut().map_or(Ok(()), |group| group.add(&batch)).map_err(E::from)
    }

    fn end_group<E: From<ParquetError>>(&mut self, take: &mut Take<'_, E>) -> Result<(), E> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let columns = group.columns.into_iter().map(ArrowColumnWriter::close);
        take(Encoded::Group(columns.collect::<Result<_, _>>()?))
    }
}

impl Group {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let mut columns = self.columns.iter_mut();
        for (field, values) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, values)? {
                let column = columns.next().expect("each leaf of the schema has a column");
                column.write(&leaf)?;
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("rows", &self.rows).finish_non_exhaustive()
    }
}
