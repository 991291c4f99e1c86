//! The condition on which a server does what is asked for.
//!
//! Source: RFC 9110 §13.1.1, §13.1.2, §13.1.5.

use crate::validator::Validator;

/// When a request is to be carried out. Entity-tags are as in their fields, with quotes; several
/// are separated by commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition<'a> {
    /// In any case.
    #[default]
    Always,
    /// If the representation has one of these tags, or with `*` if there is one; else the status is
    /// 412. Weak tags never match.
    IfMatch(&'a str),
    /// If it has no such tag, or with `*` if there is none; else the status is 304, and 412 for a
    /// method that changes something.
    IfNoneMatch(&'a str),
    /// The range if the representation still has this validator, and all of it otherwise. A weak
    /// one cannot be sent: then the range comes in any case, and is to be compared.
    IfRange(&'a Validator),
}

impl Condition<'_> {
    /// Its line in the head of a request that has a range or none; or why there cannot be one.
    pub(crate) fn line(self, has_range: bool) -> Result<String, &'static str> {
        let (name, text) = match self {
            Self::Always => return Ok(String::new()),
            Self::IfMatch(tags) => ("If-Match", tags),
            Self::IfNoneMatch(tags) => ("If-None-Match", tags),
            Self::IfRange(validator) => match validator.if_range().filter(|_| has_range) {
                Some(text) => ("If-Range", text),
                None => return Ok(String::new()),
            },
        };
        if text.trim().is_empty() || text.contains(char::is_control) {
            return Err("the condition it was to be asked on has no tag, or one of several lines");
        }
        Ok(format!("{name}: {text}\r\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_one_line_or_refused() {
        let (strong, weak) = (Validator::read("\"a\""), Validator::read("W/\"a\""));
        for (condition, line) in [
            (Condition::Always, ""),
            (Condition::IfMatch("\"a\", \"b\""), "If-Match: \"a\", \"b\"\r\n"),
            (Condition::IfNoneMatch("*"), "If-None-Match: *\r\n"),
            (Condition::IfRange(&strong), "If-Range: \"a\"\r\n"),
            (Condition::IfRange(&weak), ""),
        ] {
            assert_eq!(condition.line(true).as_deref(), Ok(line), "{condition:?}");
        }
        for tag in ["", " ", "\"a\"\r\nX: y", "\"a\n\""] {
            assert!(Condition::IfMatch(tag).line(false).is_err(), "{tag:?}");
        }
    }
}
