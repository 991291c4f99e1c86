//! What the fuzz targets see of this crate's parsers; compiled for them alone.

use std::ops::Range;

use http::{HeaderMap, StatusCode};

use crate::conditional::{self, Validators, Verdict};
use crate::range::{self, Selection};

/// What a Range field selects: `None` is everything, an empty range is nothing.
#[must_use]
pub fn select(field: &[u8], len: u64) -> Option<Range<u64>> {
    match range::select(field, len) {
        Selection::Whole => None,
        Selection::Part(part) => Some(part),
        Selection::Unsatisfiable => Some(len..len),
    }
}

/// The status that preconditions lead to, and whether a Range applies.
#[must_use]
pub fn evaluate(headers: &HeaderMap, current: &Validators) -> (StatusCode, bool) {
    let status = match conditional::evaluate(headers, current) {
        Verdict::Proceed => StatusCode::OK,
        Verdict::NotModified => StatusCode::NOT_MODIFIED,
        Verdict::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
    };
    (status, conditional::range_applies(headers, current))
}
