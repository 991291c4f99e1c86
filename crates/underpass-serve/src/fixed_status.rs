//! Paths that are answered with an error whatever is there: gone for good, or closed for a while.
//!
//! Source: RFC 9110 §15.5.11 (410), §15.6.4 (503); RFC 7725 (451).

use std::str::FromStr;

use http::StatusCode;

use crate::answer::Answer;
use crate::lookup::Lookup;
use crate::pattern::{Pattern, PatternError};
use crate::stations::Asked;

/// A status, and the paths that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedStatus {
    paths: Pattern,
    status: StatusCode,
}

/// Why a text is not a status for some paths.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FixedStatusError {
    /// Not two words.
    #[error("give 'PATTERN STATUS', such as 'old/** 410'")]
    Words,
    /// The pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Not one of an error that needs no more fields.
    #[error("the status is one of 403, 404, 410, 451 and 503")]
    Status,
}

impl FromStr for FixedStatus {
    type Err = FixedStatusError;

    fn from_str(text: &str) -> Result<Self, FixedStatusError> {
        let words = text.trim().rsplit_once([' ', '\t']);
        let (pattern, status) = words.ok_or(FixedStatusError::Words)?;
        let is_one = |it: &StatusCode| matches!(it.as_u16(), 403 | 404 | 410 | 451 | 503);
        let status = status.parse().ok().filter(is_one).ok_or(FixedStatusError::Status)?;
        Ok(Self { paths: pattern.trim().parse()?, status })
    }
}

/// Those of a site: of several for a path the first one holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FixedStatuses(Vec<FixedStatus>);

impl FixedStatuses {
    /// These, in this order.
    #[must_use]
    pub const fn new(statuses: Vec<FixedStatus>) -> Self {
        Self(statuses)
    }

    /// The answer to a request whose path has one.
    pub(crate) fn answer(&self, asked: &Asked<'_>, lookup: &Lookup) -> Option<Answer> {
        if self.0.is_empty() {
            return None;
        }
        self.of(&asked.path(), lookup).map(Answer::error)
    }

    fn of(&self, path: &[u8], lookup: &Lookup) -> Option<StatusCode> {
        self.0.iter().find(|it| lookup.is_meant(&it.paths, path)).map(|it| it.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_a_path_has_decides() {
        let statuses = ["old/keep 404", "old/** 410", "*.bak 403", "about.html 451"];
        let statuses = FixedStatuses::new(statuses.map(|text| text.parse().unwrap()).into());
        let lookup = Lookup { clean_urls: true, ..Lookup::default() };
        for (path, status) in [
            ("old/keep", Some(404)),
            ("old/a", Some(410)),
            ("old", Some(410)),
            ("a.bak", Some(403)),
            ("about", Some(451)),
            ("a", None),
            ("", None),
        ] {
            let found = statuses.of(path.as_bytes(), &lookup);
            assert_eq!(found.map(|it| it.as_u16()), status, "{path}");
        }
    }

    #[test]
    fn what_is_no_status_of_an_error_is_refused() {
        for (text, reason) in [
            ("410", "give 'PATTERN STATUS'"),
            ("a 200", "the status is one of"),
            ("a 401", "the status is one of"),
            ("a gone", "the status is one of"),
            ("a[ 410", "'a[' is not a pattern"),
        ] {
            let error = text.parse::<FixedStatus>().unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
    }
}
