//! The file of settings: TOML, whose keys are the names of the flags.
//!
//! An error names the line and the column, and for a key that there is not the nearest one that
//! there is.
//!
//! Source: TOML 1.0; strsim, `jaro_winkler` (which clap uses for flags).

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Words as near as this are taken for the same word, misspelt; clap's threshold.
const NEAR: f64 = 0.7;

/// One key of the file and what it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value, or those of a list.
    pub values: Vec<Value>,
    /// Whether the value is a list.
    pub is_list: bool,
    /// Where the key is.
    pub place: Place,
}

/// A value, as it would be typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The text.
    pub text: String,
    /// Where it is.
    pub place: Place,
}

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Characters, counted from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a file of settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{}:{place}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What.
        problem: String,
    },
}

/// The keys that a program knows.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'k> {
    /// At the top of the file.
    pub top: &'k [&'k str],
    /// What tables are called that have names, as in `[host."www.example.org"]`, and their keys.
    pub table: Option<(&'k str, &'k [&'k str])>,
}

/// What a file says, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// At its top.
    pub top: Vec<Setting>,
    /// In tables.
    pub tables: Vec<Table>,
}

/// A table that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Where that is.
    pub place: Place,
    /// What is in it.
    pub settings: Vec<Setting>,
}

/// Reads the settings of a program that knows these keys.
///
/// # Errors
///
/// [`ConfigError`].
pub fn read(path: &Path, keys: Keys<'_>) -> Result<Settings, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.into(), source })?;
    parse(&text, keys).map_err(|(place, problem)| {
        let path = path.into();
        ConfigError::Wrong { path, place, problem }
    })
}

/// What a file with this text says, or where it is wrong and why.
///
/// # Errors
///
/// Where, and what.
#[cfg(fuzzing)]
pub fn read_text(text: &str, keys: Keys<'_>) -> Result<Settings, (Place, String)> {
    parse(text, keys)
}

type Problem = (Place, String);

type Entry<'t> = (Spanned<Cow<'t, str>>, Spanned<DeValue<'t>>);

fn parse(text: &str, keys: Keys<'_>) -> Result<Settings, Problem> {
    let table = DeTable::parse(text).map_err(|error| {
        let place = place(text, &error.span().unwrap_or_default());
        (place, error.message().replace('\n', ", "))
    })?;
    let mut read = Settings::default();
    for (key, value) in in_order(table.into_inner()) {
        match (keys.table, value.get_ref()) {
            (Some((kind, keys)), DeValue::Table(_)) if *key.get_ref() == kind => {
                read.tables = tables(text, kind, keys, value)?;
            }
            _ => read.top.push(setting(text, keys.top, &key, &value)?),
        }
    }
    Ok(read)
}

fn in_order(table: DeTable<'_>) -> Vec<Entry<'_>> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The tables of a kind, each of which has a name.
fn tables(
    text: &str,
    kind: &str,
    keys: &[&str],
    all: Spanned<DeValue<'_>>,
) -> Result<Vec<Table>, Problem> {
    let DeValue::Table(all) = all.into_inner() else { return Ok(Vec::new()) };
    let table = |(key, value): Entry<'_>| {
        let (name, place) = (key.get_ref().to_string(), place(text, &key.span()));
        let DeValue::Table(table) = value.into_inner() else {
            return Err((place, format!("'{kind}' has tables: write [{kind}.\"NAME\"]")));
        };
        let setting = |(key, value): Entry<'_>| {
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            if is_table && !keys.contains(&&**key.get_ref()) {
                // [host.www.example.org] is a table in a table in a table.
                let wanted = format!("put a name with a dot in quotes: [{kind}.\"NAME\"]");
                return Err((place, wanted));
            }
            setting(text, keys, &key, &value)
        };
        let settings = in_order(table).into_iter().map(setting).collect::<Result<_, _>>()?;
        Ok(Table { name, place, settings })
    };
    in_order(all).into_iter().map(table).collect()
}

fn setting(
    text: &str,
    keys: &[&str],
    key: &Spanned<impl AsRef<str>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Setting, Problem> {
    let (name, place) = (key.get_ref().as_ref(), place(text, &key.span()));
    if !keys.contains(&name) {
        return Err((place, unknown(name, keys)));
    }
    let list = value.get_ref().as_array();
    let values = match list {
        Some(values) => values.iter().map(|one| scalar(text, name, one)).collect(),
        None => scalar(text, name, value).map(|one| vec![one]),
    };
    Ok(Setting { key: name.into(), values: values?, is_list: list.is_some(), place })
}

fn scalar(text: &str, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Value, Problem> {
    let place = place(text, &value.span());
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(is_set) => is_set.to_string(),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            let kind = value.get_ref().type_str();
            let wanted = "give text in quotes, a whole number, true or false, or a list of these";
            return Err((place, format!("'{key}' cannot be of type {kind}; {wanted}")));
        }
    };
    Ok(Value { text, place })
}

fn unknown(name: &str, keys: &[&str]) -> String {
    // A key in quotes may have line ends.
    let shown = name.escape_debug();
    let nearness = |key: &&str| strsim::jaro_winkler(name, key);
    let nearest = keys.iter().copied().max_by(|a, b| nearness(a).total_cmp(&nearness(b)));
    match nearest.filter(|key| nearness(key) > NEAR) {
        Some(key) => format!("there is no key '{shown}'; did you mean '{key}'?"),
        None => format!("there is no key '{shown}'; the keys are {}", keys.join(", ")),
    }
}

fn place(text: &str, span: &Range<usize>) -> Place {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before[line_start..].chars().count() + 1;
    Place { line: before.matches('\n').count() + 1, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys<'_> =
        Keys { top: &["listen", "workers", "access-log", "targets"], table: None };

    const HOSTS: Keys<'_> =
        Keys { top: &["listen"], table: Some(("host", &["directory", "header"])) };

    fn problem(text: &str) -> String {
        let (place, problem) = parse(text, KEYS).unwrap_err();
        format!("{place}: {problem}")
    }

    #[test]
    fn settings_are_read_in_order_with_their_places() {
        let settings = parse("workers = 2\n  targets = [\n\"é\", \"b\"]\n", KEYS).unwrap().top;
        let shown: Vec<String> = settings
            .iter()
            .flat_map(|setting| setting.values.iter().map(move |value| (setting, value)))
            .map(|(setting, value)| {
                format!("{} {} = {} {}", setting.place, setting.key, value.place, value.text)
            })
            .collect();
        assert_eq!(shown, ["1:1 workers = 1:11 2", "2:3 targets = 3:1 é", "2:3 targets = 3:6 b"]);
        assert_eq!(settings.iter().map(|it| it.is_list).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_column() {
        for (text, line) in [
            ("\nworker = 1", "2:1: there is no key 'worker'; did you mean 'workers'?"),
            (
                "zzz = 1",
                "1:1: there is no key 'zzz'; the keys are listen, workers, access-log, targets",
            ),
            (
                "workers = 1.5",
                "1:11: 'workers' cannot be of type float; give text in quotes, a whole number, \
                 true or false, or a list of these",
            ),
            (
                "[listen]\na = 1",
                "1:1: 'listen' cannot be of type table; give text in quotes, a whole number, \
                 true or false, or a list of these",
            ),
            (
                "\"a\\nb\" = 1",
                "1:1: there is no key 'a\\nb'; the keys are listen, workers, access-log, targets",
            ),
            ("workers = 1\nworkers = 2", "2:1: duplicate key"),
            ("listen = \"a", "1:12: invalid basic string, expected `\"`"),
        ] {
            assert_eq!(problem(text), line);
        }
    }

    #[test]
    fn tables_with_names_are_read_in_order_with_their_places() {
        let text = "listen = 1\n[host.\"b.org\"]\ndirectory = \"/b\"\nheader = [\"x\"]\n\
                    [host.\"*.a.org\"]\ndirectory = \"/a\"\n[host._]\n";
        let Settings { top, tables } = parse(text, HOSTS).unwrap();
        assert_eq!(top.len(), 1);
        let shown: Vec<String> = tables
            .iter()
            .map(|table| {
                let keys: Vec<_> = table.settings.iter().map(|it| it.key.as_str()).collect();
                format!("{} {} {}", table.place, table.name, keys.join(","))
            })
            .collect();
        assert_eq!(shown, ["2:7 b.org directory,header", "5:7 *.a.org directory", "7:7 _ "]);
    }

    #[test]
    fn what_is_wrong_in_a_table_is_said_with_line_and_column() {
        let problem = |text: &str| {
            let (place, problem) = parse(text, HOSTS).unwrap_err();
            format!("{place}: {problem}")
        };
        for (text, line) in [
            (
                "[host.\"a\"]\nlisten = 1",
                "2:1: there is no key 'listen'; the keys are directory, header",
            ),
            ("[host.\"a\"]\nheadre = 1", "2:1: there is no key 'headre'; did you mean 'header'?"),
            (
                "[host.www.example.org]\ndirectory = 1",
                "1:7: put a name with a dot in quotes: [host.\"NAME\"]",
            ),
            ("[host]\na = 1", "2:1: 'host' has tables: write [host.\"NAME\"]"),
            ("[host.\"a\"]\n[host.\"a\"]", "2:7: duplicate key"),
            ("host = 1", "1:1: there is no key 'host'; the keys are listen"),
        ] {
            assert_eq!(problem(text), line);
        }
    }
}
