//! What the fuzz targets see of this crate's parsers; compiled for them alone.

use std::ops::Range;

use http::{HeaderMap, StatusCode};

use crate::conditional::{self, Validators, Verdict};
use crate::encoding::{self, Coding};
use crate::pattern::Pattern;
use crate::range::{self, Selection};

/// What a Range field selects: `None` is everything, and no part is nothing.
#[must_use]
pub fn select(field: &[u8], len: u64, ranges_max: usize) -> Option<Vec<Range<u64>>> {
    match range::select(field, len, ranges_max) {
        Selection::Whole => None,
        Selection::Part(part) => Some(vec![part]),
        Selection::Parts(parts) => Some(parts),
        Selection::Unsatisfiable => Some(vec![]),
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

/// The name of the coding that a client gets of these.
#[must_use]
pub fn coding(headers: &HeaderMap, available: &[Coding]) -> Option<&'static str> {
    let chosen = encoding::choose(headers, available.iter().copied());
    chosen.map(|at| available[at].name())
}

/// Whether a decoded path is one of a pattern.
#[must_use]
pub fn matches(pattern: &Pattern, path: &[u8]) -> bool {
    pattern.matches(path)
}
