//! What cannot be read because of a damage: whose chunks, and from when to when.

use std::fmt;

use crate::Labels;
use crate::file::Window;
use crate::index::{Index, SeriesEntry, SeriesId};
use crate::time::Rfc3339;

/// Series that are named; the others are counted.
const NAMED_MAX: usize = 10;

/// What cannot be read because of a damage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lost {
    /// Chunks; 0 where it is unknown.
    pub chunks: u64,
    /// Series; 0 where it is unknown.
    pub series: u64,
    /// Labels of the first of them.
    pub labels: Vec<String>,
    /// Times of the first and the last sample, in milliseconds since 1970.
    pub times: Option<(i64, i64)>,
    last: Option<SeriesId>,
}

impl Lost {
    /// A series of which nothing may be lost, and which is to be named.
    pub(super) fn of_series(index: &Index, id: SeriesId) -> Self {
        let mut lost = Self::default();
        lost.name(index, id);
        lost
    }

    /// Series whose labels are known from the postings alone.
    pub(super) fn of_labels<'l>(all: impl Iterator<Item = &'l Labels>) -> Self {
        let mut lost = Self::default();
        for labels in all {
            lost.series += 1;
            if lost.labels.len() < NAMED_MAX {
                lost.labels.push(labels.to_string());
            }
        }
        lost
    }

    pub(super) fn add_chunk(&mut self, index: &Index, id: SeriesId, times: (i64, i64)) {
        self.name(index, id);
        self.add_unnamed(Some(times));
    }

    /// A chunk of which no series is known.
    pub(super) fn add_unnamed(&mut self, times: Option<(i64, i64)>) {
        self.chunks += 1;
        let Some((min, max)) = times else { return };
        let (first, last) = self.times.unwrap_or((min, max));
        self.times = Some((first.min(min), last.max(max)));
    }

    /// Chunks of a series follow one another.
    fn name(&mut self, index: &Index, id: SeriesId) {
        if self.last.replace(id) == Some(id) {
            return;
        }
        self.series += 1;
        if self.labels.len() < NAMED_MAX {
            self.labels.push(labels_of(index, id));
        }
    }
}

fn labels_of(index: &Index, id: SeriesId) -> String {
    let (mut entry, mut window) = (SeriesEntry::default(), Window::exact());
    let mut labels = Labels::default();
    let read = index
        .series(id, &mut window, &mut entry)
        .and_then(|()| index.labels(&entry, &mut window, &mut labels));
    read.map_or_else(|_| format!("series {}", id.0), |()| labels.to_string())
}

impl fmt::Display for Lost {
    /// `{job="a"} and 2 other series from 2023-11-14T22:13:20Z to 2023-11-14T22:14:20Z`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.labels.first(), self.series) {
            (Some(first), 0 | 1) => f.write_str(first)?,
            (Some(first), count) => write!(f, "{first} and {} other series", count - 1)?,
            (None, _) => write!(f, "{} chunks", self.chunks)?,
        }
        if let Some((min, max)) = self.times {
            write!(f, " from {} to {}", Rfc3339(min), Rfc3339(max))?;
        }
        Ok(())
    }
}
