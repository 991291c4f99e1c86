//! The ids of idempotent producers: none is given twice, whatever happens in between.
//!
//! The file `producer-ids` holds the first id that was not reserved, as text. A block of ids is
//! reserved before its first is given, so a start begins with the next block, and a crash loses
//! what is left of one. Without the file, ids start from the clock: the log may hold batches under
//! any smaller number, and a producer with an id of another would be taken for that other.
//!
//! Source: Kafka's ProducerIdManager (blocks of 1,000).

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::whole_file;

/// Ids that one write to the disk reserves.
const BLOCK: i64 = 1_000;

/// Gives ids.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    /// Reserved, and not given yet.
    free: Mutex<Range<i64>>,
    /// The first that is not reserved. It is held while more are.
    unreserved: Mutex<i64>,
}

/// Why ids cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdsError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{} does not hold a number: write one above every producer id that was given, or remove it",
        path.display()
    )]
    Damaged { path: PathBuf },
    #[error("cannot reserve producer ids in {}", path.display())]
    Reserve { path: PathBuf, source: io::Error },
    #[error("there are no more producer ids after {0}")]
    Exhausted(i64),
}

impl ProducerIds {
    /// Reads which ids were reserved. `now_ms` is where they start if that is not known.
    pub(crate) fn open(path: &Path, now_ms: i64) -> Result<Self, IdsError> {
        let first = match std::fs::read_to_string(path) {
            Ok(text) => number(&text).ok_or_else(|| IdsError::Damaged { path: path.to_owned() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => now_ms.max(0),
            Err(source) => return Err(IdsError::Read { path: path.to_owned(), source }),
        };
        let (free, unreserved) = (Mutex::new(first..first), Mutex::new(first));
        Ok(Self { path: path.to_owned(), free, unreserved })
    }

    /// An id that is reserved already.
    pub(crate) fn reserved(&self) -> Option<i64> {
        lock(&self.free).next()
    }

    /// An id, after reserving a block on the disk if there is none.
    pub(crate) fn reserve(&self) -> Result<i64, IdsError> {
        let mut unreserved = lock(&self.unreserved);
        if let Some(id) = self.reserved() {
            return Ok(id);
        }
        let first = *unreserved;
        let end = first.checked_add(BLOCK).ok_or(IdsError::Exhausted(first))?;
        whole_file::replace(&self.path, format!("{end}\n").as_bytes())
            .map_err(|source| IdsError::Reserve { path: self.path.clone(), source })?;
        *unreserved = end;
        *lock(&self.free) = first + 1..end;
        Ok(first)
    }
}

fn number(text: &str) -> Option<i64> {
    let number: i64 = text.trim_ascii().parse().ok()?;
    (number >= 0).then_some(number)
}

/// A thread that panicked left nothing half done: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn give(ids: &ProducerIds) -> i64 {
        ids.reserved().unwrap_or_else(|| ids.reserve().unwrap())
    }

    #[test]
    fn a_start_begins_with_the_block_after_those_that_were_reserved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("producer-ids");
        std::fs::write(&path, "7000\n").unwrap();
        let ids = ProducerIds::open(&path, 9).unwrap();
        assert_eq!(ids.reserved(), None);
        assert_eq!(give(&ids), 7_000);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "8000\n");
        assert_eq!((give(&ids), give(&ids)), (7_001, 7_002));
        assert_eq!(give(&ProducerIds::open(&path, 9).unwrap()), 8_000);
        for id in 7_003..8_000 {
            assert_eq!(ids.reserved(), Some(id));
        }
        assert_eq!(ids.reserved(), None);
    }

    #[test]
    fn what_cannot_be_reserved_is_not_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone/producer-ids");
        let ids = ProducerIds::open(&path, 5).unwrap();
        assert!(matches!(ids.reserve(), Err(IdsError::Reserve { .. })));
        assert_eq!(ids.reserved(), None);
        std::fs::create_dir(dir.path().join("gone")).unwrap();
        assert_eq!(ids.reserve().unwrap(), 5);
    }

    #[test]
    fn ids_start_from_the_clock_where_no_file_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("producer-ids");
        for (now_ms, first) in [(1_700_000_000_000, 1_700_000_000_000), (-1, 0)] {
            assert_eq!(give(&ProducerIds::open(&path, now_ms).unwrap()), first);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_file_without_a_number_is_refused_and_the_last_number_gives_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("producer-ids");
        for text in ["", "x", "-1", "1 2", "9223372036854775808"] {
            std::fs::write(&path, text).unwrap();
            let error = ProducerIds::open(&path, 0).unwrap_err();
            assert!(error.to_string().contains("producer-ids does not hold"), "{error}");
        }
        std::fs::write(&path, i64::MAX.to_string()).unwrap();
        let ids = ProducerIds::open(&path, 0).unwrap();
        assert!(matches!(ids.reserve(), Err(IdsError::Exhausted(i64::MAX))));
    }

    #[test]
    fn threads_that_ask_at_a_time_get_different_ids() {
        let dir = tempfile::tempdir().unwrap();
        let ids = ProducerIds::open(&dir.path().join("producer-ids"), 0).unwrap();
        let given = std::thread::scope(|scope| {
            let give = || (0..1_500).map(|_| give(&ids)).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(give)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<HashSet<_>>()
        });
        assert_eq!(given, (0..6_000).collect());
    }
}
