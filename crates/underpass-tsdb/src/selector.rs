//! Selectors as Prometheus' query language writes them: `metric{label="value", other!~"a|b"}`.
//!
//! Names of any characters stand in quotes, a metric's name by itself: `{"my.metric", "a.b"="c"}`.
//! Strings are quoted by `"`, `'` with Go's escapes, or by backticks without any. `{}` selects
//! every series.
//!
//! Source: Prometheus' `promql/parser`: `lex.go`, `generated_parser.y`; `util/strutil/quote.go`.

mod quoted;

use std::str::FromStr;

use crate::labels::Labels;
use crate::matcher::{Matcher, Operator, PatternError};
use quoted::Quoted;

/// The label that holds a metric's name.
pub const METRIC_NAME: &[u8] = b"__name__";

/// Series whose labels satisfy every matcher.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the selector is wrong at byte {at}: {fault}")]
pub struct SelectorError {
    /// Offset in the text, in bytes.
    pub at: usize,
    /// What is wrong there.
    pub fault: SelectorFault,
}

/// What can be wrong with a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorFault {
    /// Something else must stand here.
    #[error("{0} is expected")]
    Expected(&'static str),
    /// A string does not end.
    #[error("the string has no closing {0}")]
    Open(char),
    /// A backslash with something unknown behind it.
    #[error("the escape is not one of Go's")]
    Escape,
    /// The value is not a regular expression.
    #[error(transparent)]
    Pattern(PatternError),
    /// There is more behind it, as in a query.
    #[error("the selector ends here; times are given by --min-time and --max-time")]
    End,
}

impl Selector {
    /// A selector of these matchers; of every series if there are none.
    #[must_use]
    pub const fn new(matchers: Vec<Matcher>) -> Self {
        Self { matchers }
    }

    /// All of which a series must satisfy.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Whether a series with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let satisfies =
            |matcher: &Matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default());
        self.matchers.iter().all(satisfies)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { text, at: 0 };
        let mut matchers = Vec::new();
        parser.pass_spaces();
        if let Some(name) = parser.identifier(true) {
            matchers.push(equal(METRIC_NAME, name.as_bytes()));
        }
        parser.pass_spaces();
        if parser.take('{') {
            parser.matchers(&mut matchers)?;
        } else if matchers.is_empty() {
            return parser.expected("a metric's name or {");
        }
        parser.pass_spaces();
        if parser.rest().is_empty() {
            Ok(Self { matchers })
        } else {
            parser.error(SelectorFault::End)
        }
    }
}

fn equal(name: &[u8], value: &[u8]) -> Matcher {
    Matcher::new(name, Operator::Equal, value).expect("only regular expressions can be wrong")
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error<T>(&self, fault: SelectorFault) -> Result<T, SelectorError> {
        Err(SelectorError { at: self.at, fault })
    }

    fn expected<T>(&self, what: &'static str) -> Result<T, SelectorError> {
        self.error(SelectorFault::Expected(what))
    }

    /// Passes spaces and comments.
    fn pass_spaces(&mut self) {
        loop {
            let rest = self.rest().trim_start_matches([' ', '\t', '\n', '\r']);
            let is_comment = rest.starts_with('#');
            let len = if is_comment { rest.find('\n').unwrap_or(rest.len()) } else { 0 };
            self.at = self.text.len() - rest.len() + len;
            if !is_comment {
                return;
            }
        }
    }

    fn take(&mut self, char: char) -> bool {
        let is_there = self.rest().starts_with(char);
        self.at += if is_there { char.len_utf8() } else { 0 };
        is_there
    }

    /// A name without quotes; one of a metric may have colons.
    fn identifier(&mut self, is_metric: bool) -> Option<&'a str> {
        let rest = self.rest();
        let is_part =
            |char: char| char.is_ascii_alphanumeric() || char == '_' || (is_metric && char == ':');
        let name = rest.split_once(|char| !is_part(char)).map_or(rest, |(name, _)| name);
        if name.is_empty() || name.starts_with(|char: char| char.is_ascii_digit()) {
            return None;
        }
        self.at += name.len();
        Some(name)
    }

    /// The matchers up to the closing brace; one comma may follow the last.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), SelectorError> {
        loop {
            self.pass_spaces();
            if self.take('}') {
                return Ok(());
            }
            matchers.push(self.matcher()?);
            self.pass_spaces();
            if !self.take(',') && !self.rest().starts_with('}') {
                return self.expected("a comma or }");
            }
        }
    }

    fn matcher(&mut self) -> Result<Matcher, SelectorError> {
        let name = match self.identifier(false) {
            Some(name) => Quoted { bytes: name.as_bytes().to_vec(), is_quoted: false },
            None => self.string("a label's name or }")?,
        };
        self.pass_spaces();
        let Some(operator) = self.operator() else {
            let is_metric = name.is_quoted && self.rest().starts_with([',', '}']);
            return if is_metric {
                Ok(equal(METRIC_NAME, &name.bytes))
            } else {
                self.expected("=, !=, =~ or !~")
            };
        };
        self.pass_spaces();
        let at = self.at;
        let value = self.string("a string in quotes")?;
        let fault = |error| SelectorError { at, fault: SelectorFault::Pattern(error) };
        Matcher::new(name.bytes, operator, value.bytes).map_err(fault)
    }

    fn operator(&mut self) -> Option<Operator> {
        let operators = [Operator::Regex, Operator::NotRegex, Operator::NotEqual, Operator::Equal];
        let operator =
            operators.into_iter().find(|operator| self.rest().starts_with(operator.name()))?;
        self.at += operator.name().len();
        Some(operator)
    }

    fn string(&mut self, wanted: &'static str) -> Result<Quoted, SelectorError> {
        let Some(quote) = self.rest().chars().next().filter(|char| "\"'`".contains(*char)) else {
            return self.expected(wanted);
        };
        let begin = self.at;
        self.at += 1;
        let (bytes, len) = quoted::unquote(self.rest(), quote)
            .map_err(|(at, fault)| SelectorError { at: begin + 1 + at, fault })?;
        self.at += len;
        Ok(Quoted { bytes, is_quoted: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let selector: Selector = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        selector.matchers().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn selectors_are_read_as_prometheus_reads_them() {
        for (text, matchers) in [
            ("up", vec![r#"__name__="up""#]),
            ("job:rate:5m", vec![r#"__name__="job:rate:5m""#]),
            ("{}", vec![]),
            ("up{}", vec![r#"__name__="up""#]),
            (r#"{a="b"}"#, vec![r#"a="b""#]),
            (
                r#"up{a="b",c!="d",e=~"f|g",h!~"i"}"#,
                vec![r#"__name__="up""#, r#"a="b""#, r#"c!="d""#, r#"e=~"f|g""#, r#"h!~"i""#],
            ),
            (" up { a = 'b' , } ", vec![r#"__name__="up""#, r#"a="b""#]),
            ("{a=`b\\d`}", vec![r#"a="b\\d""#]),
            (r#"{"my.metric","l.x"="v"}"#, vec![r#"__name__="my.metric""#, r#"l.x="v""#]),
            (r#"{"l.x"=~"v.*", 'm'}"#, vec![r#"l.x=~"v.*""#, r#"__name__="m""#]),
            (r#"{__name__=~"a|b"}"#, vec![r#"__name__=~"a|b""#]),
            ("up # the metric\n{a=\"b\"}#end", vec![r#"__name__="up""#, r#"a="b""#]),
            (r#"{by="x"}"#, vec![r#"by="x""#]),
            ("sum", vec![r#"__name__="sum""#]),
        ] {
            assert_eq!(shown(text), matchers, "{text}");
        }
    }

    #[test]
    fn escapes_are_those_of_go() {
        for (text, value) in [
            (r#""a\"b""#, &b"a\"b"[..]),
            (r"'a\'b'", b"a'b"),
            (r#""\a\b\f\n\r\t\v\\""#, b"\x07\x08\x0c\n\r\t\x0b\\"),
            (r#""\x41\xff\101\377""#, b"A\xffA\xff"),
            (r#""\u00e9\U0001F600""#, "\u{e9}\u{1f600}".as_bytes()),
            ("`a\\n\"'`", b"a\\n\"'"),
            ("\"\u{e9}\"", "\u{e9}".as_bytes()),
            ("`a\nb`", b"a\nb"),
        ] {
            let selector: Selector = format!("{{a={text}}}").parse().unwrap();
            assert_eq!(selector.matchers()[0].value(), value, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_selector_is_told_with_its_place() {
        for (text, at, reason) in [
            ("", 0, "a metric's name or { is expected"),
            ("1up", 0, "a metric's name or { is expected"),
            ("up{", 3, "a label's name or } is expected"),
            ("up{a}", 4, "=, !=, =~ or !~ is expected"),
            ("up{a=}", 5, "a string in quotes is expected"),
            ("up{a=b}", 5, "a string in quotes is expected"),
            (r#"up{a="b" c="d"}"#, 9, "a comma or } is expected"),
            (r#"up{,a="b"}"#, 3, "a label's name or } is expected"),
            (r#"up{a="b",,}"#, 9, "a label's name or } is expected"),
            (r#"{a:b="c"}"#, 2, "=, !=, =~ or !~ is expected"),
            (r#"{a="b}"#, 6, "the string has no closing \""),
            (r#"{a="\q"}"#, 4, "the escape is not one of Go's"),
            (r#"{a="\'"}"#, 4, "the escape is not one of Go's"),
            (r#"{a="\400"}"#, 4, "the escape is not one of Go's"),
            (r#"{a="\uD800"}"#, 4, "the escape is not one of Go's"),
            ("{a=\"b\nc\"}", 5, "the string has no closing \""),
            ("up[5m]", 2, "the selector ends here; times are given by --min-time and --max-time"),
            (r#"{a=~"b("}"#, 4, "the regular expression is wrong at byte 0: unclosed group"),
        ] {
            let error = text.parse::<Selector>().unwrap_err();
            assert_eq!((error.at, error.fault.to_string()), (at, reason.to_owned()), "{text}");
        }
    }
}
