//! Matchers: what a label's value must be for a series to be selected.
//!
//! A label that a series does not have counts as one with an empty value, so `{a!="b"}` and
//! `{a=""}` select series without `a`. Regular expressions match the whole value.
//!
//! Source: Prometheus' documentation, "Querying basics"; `model/labels/matcher.go`.

mod go_regex;
mod pattern;

use std::fmt;

pub use go_regex::PatternError;

use pattern::Pattern;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl Operator {
    /// As a selector has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    /// Whether it selects what it does not name.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotRegex)
    }
}

/// One condition of a selector.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: Box<[u8]>,
    value: Box<[u8]>,
    operator: Operator,
    test: Test,
}

/// What a value is compared with, before the operator negates it.
#[derive(Debug, Clone)]
enum Test {
    Equal,
    Regex(Pattern),
}

/// The values that a matcher names, as far as they are known without a look at any block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// These and no others, in order.
    Values(Vec<&'a [u8]>),
    /// Every value, the empty one too.
    All,
    /// Values that begin so.
    Prefix(&'a [u8]),
}

impl Matcher {
    /// A matcher of the label `name`.
    ///
    /// # Errors
    ///
    /// If the value is to be a regular expression and is not.
    pub fn new(
        name: impl Into<Box<[u8]>>,
        operator: Operator,
        value: impl Into<Box<[u8]>>,
    ) -> Result<Self, PatternError> {
        let (name, value) = (name.into(), value.into());
        let test = match operator {
            Operator::Equal | Operator::NotEqual => Test::Equal,
            Operator::Regex | Operator::NotRegex => Test::Regex(Pattern::new(&value)?),
        };
        Ok(Self { name, value, operator, test })
    }

    /// The label's name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The value or regular expression.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// How it compares.
    #[must_use]
    pub const fn operator(&self) -> Operator {
        self.operator
    }

    /// Whether a series with this value of the label is selected; empty for a label it lacks.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        self.names(value) != self.operator.is_negative()
    }

    /// Whether series without the label are selected.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches(b"")
    }

    /// Whether the value is one that the operator takes or, if it is negative, refuses.
    pub(crate) fn names(&self, value: &[u8]) -> bool {
        match &self.test {
            Test::Equal => *value == *self.value,
            Test::Regex(pattern) => pattern.is_match(value),
        }
    }

    /// What is known of the values for which [`names`](Self::names) is true.
    pub(crate) fn named(&self) -> Named<'_> {
        match &self.test {
            Test::Equal => Named::Values(vec![&self.value]),
            Test::Regex(pattern) => pattern.named(),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = (self.name.escape_ascii(), self.value.escape_ascii());
        write!(f, "{name}{}\"{value}\"", self.operator.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(operator: Operator, value: &str) -> Matcher {
        Matcher::new(*b"a", operator, value.as_bytes()).unwrap()
    }

    fn named(value: &str) -> (Vec<String>, bool) {
        let matcher = matcher(Operator::Regex, value);
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        match matcher.named() {
            Named::Values(values) => (values.into_iter().map(text).collect(), true),
            Named::Prefix(prefix) => (vec![text(prefix)], false),
            Named::All => (Vec::new(), false),
        }
    }

    #[test]
    fn each_operator_says_what_it_matches() {
        for (operator, value, matched, unmatched) in [
            (Operator::Equal, "b", vec!["b"], vec!["", "bb", "B"]),
            (Operator::NotEqual, "b", vec!["", "bb", "B"], vec!["b"]),
            (Operator::Regex, "b.?", vec!["b", "bb", "b\n"], vec!["", "xb", "bbb"]),
            (Operator::NotRegex, "b.?", vec!["", "xb", "bbb"], vec!["b", "bb", "b\n"]),
            (Operator::Equal, "", vec![""], vec!["b"]),
            (Operator::NotEqual, "", vec!["b"], vec![""]),
        ] {
            let matcher = matcher(operator, value);
            for text in matched {
                assert!(matcher.matches(text.as_bytes()), "{matcher} and {text:?}");
            }
            for text in unmatched {
                assert!(!matcher.matches(text.as_bytes()), "{matcher} and {text:?}");
            }
        }
    }

    #[test]
    fn values_that_are_not_utf_8_are_compared_by_their_bytes() {
        let equal = Matcher::new(*b"a", Operator::Equal, *b"\xff").unwrap();
        assert!(equal.matches(b"\xff"));
        assert!(!equal.matches(b"\xfe"));
    }

    /// Go reads each byte that is not of a character as U+FFFD.
    #[test]
    fn a_regular_expression_takes_a_stray_byte_for_one_character() {
        let one = matcher(Operator::Regex, "a.c");
        assert!(one.matches(b"a\xffc"));
        assert!(!one.matches(b"a\xe2\x82c"));
        assert!(matcher(Operator::Regex, "a..c").matches(b"a\xe2\x82c"));
    }

    #[test]
    fn literals_in_a_regular_expression_are_known_values() {
        let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (value, known) in [
            ("b", vec!["b"]),
            ("c|b|a", vec!["a", "b", "c"]),
            ("(?:x|y)z|w", vec!["w", "xz", "yz"]),
            ("a|a", vec!["a"]),
            ("node-[12]", vec!["node-1", "node-2"]),
            ("ab?", vec!["a", "ab"]),
            ("", vec![""]),
            ("a|", vec!["", "a"]),
            (r"10\.0\.0\.1:9100", vec!["10.0.0.1:9100"]),
            ("(?i:a)", vec!["A", "a"]),
        ] {
            assert_eq!(named(value), (strings(&known), true), "{value}");
        }
    }

    #[test]
    fn other_regular_expressions_have_a_prefix() {
        for (value, prefix) in [
            ("prometheus_.*", "prometheus_"),
            ("abc|abd.*", "ab"),
            (".+b", ""),
            ("^ab.+", "ab"),
            ("(?i)k.*", ""),
        ] {
            assert_eq!(named(value), (vec![prefix.to_owned()], false), "{value}");
        }
        assert_eq!(matcher(Operator::Regex, ".*").named(), Named::All);
    }

    #[test]
    fn anchors_within_a_regular_expression_are_respected() {
        let inside = matcher(Operator::Regex, r"a\bb|c");
        assert!(!inside.matches(b"ab"));
        assert!(inside.matches(b"c"));
        assert_eq!(named(r"a\bb|c"), (vec!["c".to_owned()], true));
        assert_eq!(named("^(?:a|b)$"), (vec!["a".to_owned(), "b".to_owned()], true));
    }

    /// What has thousands of values is not made a list of them.
    #[test]
    fn long_lists_of_values_stay_values_and_products_do_not() {
        let names: Vec<String> = (0..1000).map(|number| format!("host-{number:04}")).collect();
        assert_eq!(named(&names.join("|")), (names, true));
        assert!(!named("[a-z][a-z][a-z]").1);
    }
}
