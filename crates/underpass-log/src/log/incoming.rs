//! A batch on its way into a log, and what came of it.

use bytes::Bytes;

use crate::batch::BatchHeader;
use crate::wire::ErrorCode;

/// A batch that is to be appended: checked, and as its producer sent it.
///
/// What the log assigns is written in front of `bytes` without their first 61: the frame that they
/// are a slice of is left as it is.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(super) bytes: Bytes,
    pub(super) header: BatchHeader,
    pub(super) outcome: Option<Outcome>,
}

/// What came of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the log.
    Appended {
        /// The offset of its first record.
        base_offset: i64,
        /// In ms since 1970, if the log assigns times; -1 otherwise.
        append_time: i64,
    },
    /// It was in the log already.
    Duplicate {
        /// The offset of its first record.
        base_offset: i64,
        /// The offset of its last record.
        last_offset: i64,
        /// In ms since 1970, if the log assigns times; -1 otherwise.
        append_time: i64,
    },
    /// It is not in the log.
    Refused(ErrorCode),
}

impl Incoming {
    /// A batch whose header and checksum were found right.
    #[must_use]
    pub(crate) const fn new(bytes: Bytes, header: BatchHeader) -> Self {
        Self { bytes, header, outcome: None }
    }

    /// Its header; with what was assigned, once it is appended.
    #[must_use]
    pub(crate) const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// What came of it; `None` if it was not looked at, because the disk failed before.
    #[must_use]
    pub(crate) const fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Takes back what was said of offsets from `end` on: they were not written. A duplicate of a
    /// batch in the same run is among them.
    pub(super) const fn refuse_from(&mut self, end: i64) {
        use Outcome::{Appended, Duplicate, Refused};
        if let Some(Appended { base_offset, .. } | Duplicate { base_offset, .. }) = self.outcome
            && base_offset >= end
        {
            self.outcome = Some(Refused(ErrorCode::KafkaStorageError));
        }
    }

    pub(super) const fn is_appended(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Appended { .. }))
    }
}
