//! A regular expression, anchored at both ends as Prometheus does, and what can be known of the
//! values it matches without trying them.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;
use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};

use super::Named;
use super::go_regex::{PatternError, translate};

/// A longer list of values is compared by the regular expression.
const VALUES_MAX: usize = 4096;

/// Characters of a class that become values, as `[0-9]` has.
const CLASS_MAX: usize = 64;

/// Bytes of a value; more than a label's value has, in practice.
const VALUE_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    known: Known,
}

#[derive(Debug, Clone)]
enum Known {
    Values(Vec<Vec<u8>>),
    All,
    Prefix(Vec<u8>),
}

impl Pattern {
    /// # Errors
    ///
    /// If `text` is not a regular expression.
    pub(super) fn new(text: &[u8]) -> Result<Self, PatternError> {
        let text = std::str::from_utf8(text).map_err(|error| PatternError {
            at: error.valid_up_to(),
            reason: "it is not UTF-8".into(),
        })?;
        let translated = translate(text)?;
        let refused = |reason: String| PatternError { at: 0, reason };
        let regex = RegexBuilder::new(&format!(r"\A(?s:{translated})\z"))
            .build()
            .map_err(|error| refused(reason(&error)))?;
        let hir = ParserBuilder::new()
            .utf8(false)
            .dot_matches_new_line(true)
            .build()
            .parse(&translated)
            .map_err(|error| refused(error.to_string()))?;
        let known = Known::of(text, &hir, &regex);
        Ok(Self { regex, known })
    }

    pub(super) fn is_match(&self, value: &[u8]) -> bool {
        match &self.known {
            Known::Values(values) => values.binary_search_by(|known| (**known).cmp(value)).is_ok(),
            Known::All => true,
            Known::Prefix(prefix) => {
                value.starts_with(prefix) && self.regex.is_match(&with_characters_alone(value))
            }
        }
    }

    pub(super) fn named(&self) -> Named<'_> {
        match &self.known {
            Known::Values(values) => Named::Values(values.iter().map(Vec::as_slice).collect()),
            Known::All => Named::All,
            Known::Prefix(prefix) => Named::Prefix(prefix),
        }
    }
}

impl Known {
    fn of(text: &str, hir: &Hir, regex: &Regex) -> Self {
        if text == ".*" {
            return Self::All;
        }
        let literals = literals(hir);
        match literals.literals() {
            Some(found) if literals.is_exact() => {
                let mut values: Vec<_> = found.iter().map(|one| one.as_bytes().to_vec()).collect();
                // Look-arounds count as empty literals there, so some of these may not match.
                values.retain(|value| regex.is_match(value));
                values.sort_unstable();
                values.dedup();
                Self::Values(values)
            }
            _ => Self::Prefix(literals.longest_common_prefix().unwrap_or_default().to_vec()),
        }
    }
}

/// The literals that a value begins with.
fn literals(hir: &Hir) -> Seq {
    let mut extractor = Extractor::new();
    extractor
        .kind(ExtractKind::Prefix)
        .limit_class(CLASS_MAX)
        .limit_repeat(VALUE_BYTES_MAX)
        .limit_literal_len(VALUE_BYTES_MAX)
        .limit_total(VALUES_MAX);
    extractor.extract(hir)
}

/// The value with each byte that is not of a character replaced by U+FFFD, as Go reads it.
fn with_characters_alone(value: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(value).is_ok() {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text.into_bytes())
}

/// What the crate says, without its drawing of the place: the pattern is a translation.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
