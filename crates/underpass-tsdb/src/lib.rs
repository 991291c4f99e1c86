//! Reads the blocks of Prometheus' time series database, without writing a byte near them.
//!
//! Opening a block touches a page or two; everything else is read when it is asked for, through a
//! map or by pread(2) ([`Backend`]). What is damaged is reported as [`Damage`], and the rest is
//! read.
#![forbid(unsafe_code)]

pub mod analyze;
pub mod block;
mod checksum;
pub mod chunk;
#[cfg(feature = "parquet")]
pub mod columns;
mod cursor;
pub mod damage;
pub mod directory;
pub mod dump;
pub mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod index;
pub mod labels;
pub mod matcher;
pub mod meta;
pub mod names;
pub mod query;
pub mod remote;
pub mod sample;
pub mod selector;
pub mod time;
pub mod tombstones;
pub mod usage;
pub mod verify;

pub use block::{Block, RawChunk};
pub use chunk::Encoding;
pub use damage::{Damage, Fault, Malformed, Section};
pub use directory::Directory;
pub use file::{Backend, BlockFile, Pattern, Window};
pub use index::{ChunkMeta, Index, SeriesEntry, SeriesId};
pub use labels::Labels;
pub use meta::Meta;
pub use query::{Loss, MergedSeries, Reader, Selection, Series};
pub use sample::{Float, Histogram, HistogramSample, Samples};
pub use selector::Selector;
pub use time::TimeRange;
pub use tombstones::{Interval, Tombstones};
pub use usage::Usage;
