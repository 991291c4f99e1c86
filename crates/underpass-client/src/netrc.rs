//! Users and passwords of servers from a file, ~/.netrc by custom.
//!
//! Source: ftp(1), THE .netrc FILE; curl(1), `--netrc`, for comments and quotes.

use std::io;
use std::path::{Path, PathBuf};

use crate::credentials::Credentials;

/// The entries of such a file.
#[derive(Debug, Clone, Default)]
pub struct Netrc {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// None is for all hosts.
    host: Option<String>,
    credentials: Credentials,
}

impl Netrc {
    /// The file that `NETRC` names, or .netrc in the home directory.
    #[must_use]
    pub fn usual_path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let home = || variable("HOME").map(|home| Path::new(&home).join(".netrc"));
        variable("NETRC").map(PathBuf::from).or_else(home)
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// Those of reading it.
    pub fn read(path: &Path) -> io::Result<Self> {
        std::fs::read_to_string(path).map(|text| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let words = words(text);
        let mut words = words.iter().map(String::as_str);
        let mut entries: Vec<(Option<String>, String, String)> = Vec::new();
        while let Some(word) = words.next() {
            match (word, entries.last_mut()) {
                ("machine", _) => {
                    let host = words.next().map(str::to_ascii_lowercase);
                    entries.push((host, String::new(), String::new()));
                }
                ("default", _) => entries.push(<_>::default()),
                ("login", Some((_, user, _))) => words.next().unwrap_or_default().clone_into(user),
                ("password", Some((.., password))) => {
                    words.next().unwrap_or_default().clone_into(password);
                }
                _ => {}
            }
        }
        let entries = entries.into_iter().map(|(host, user, password)| {
            let credentials = Credentials::new(&user, &password);
            Entry { host, credentials }
        });
        Self { entries: entries.collect() }
    }

    /// Those for a host; what is for all hosts only if the user has named this one.
    pub(crate) fn of(&self, host: &str, is_named: bool) -> Option<&Credentials> {
        let is_it = |entry: &&Entry| match &entry.host {
            Some(known) => host.eq_ignore_ascii_case(known),
            None => is_named,
        };
        self.entries.iter().find(is_it).map(|entry| &entry.credentials)
    }
}

/// The words, without comments and macros, which end with an empty line.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut is_macro) = (Vec::new(), false);
    for line in text.lines().map(str::trim_start) {
        is_macro = (is_macro || line.starts_with("macdef")) && !line.is_empty();
        if !is_macro && !line.starts_with('#') {
            add_words(line, &mut words);
        }
    }
    words
}

fn add_words(mut line: &str, words: &mut Vec<String>) {
    while let Some(first) = line.chars().next() {
        let (mut word, mut is_escaped) = (String::new(), false);
        let is_quoted = first == '"';
        let rest = line.char_indices().skip(usize::from(is_quoted));
        let mut end = line.len();
        for (at, letter) in rest {
            if is_quoted && letter == '\\' && !is_escaped {
                is_escaped = true;
            } else if !is_escaped
                && (if is_quoted { letter == '"' } else { letter.is_whitespace() })
            {
                end = at + 1;
                break;
            } else {
                (is_escaped, word) = (false, word + letter.encode_utf8(&mut [0; 4]));
            }
        }
        words.push(word);
        line = line[end.min(line.len())..].trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_of_a_host_is_taken_and_what_is_for_all_for_a_named_one() {
        let netrc = Netrc::parse(
            "# machine a login no password no\n\
             machine A login joe password \"p \\\"q\" machine b\n  login jim account x\n\
             password #secret\n\
             macdef init\nmachine c login never\n\n\
             machine a login late password late\n\
             default login any password thing",
        );
        let basic = |host, is_named| netrc.of(host, is_named).map(Credentials::basic);
        for (host, user, password) in
            [("a", "joe", "p \"q"), ("B", "jim", "#secret"), ("c", "any", "thing")]
        {
            assert_eq!(basic(host, true), Some(Credentials::new(user, password).basic()), "{host}");
        }
        assert_eq!(basic("c", false), None);
        assert!(Netrc::parse("machine a login x password").of("a", false).is_some());
        assert!(Netrc::parse("login x password \"y").of("a", true).is_none());
    }

    #[test]
    fn the_file_is_where_a_variable_says() {
        let path =
            |name: &'static str| Netrc::usual_path(move |it| (it == name).then(|| "/x".into()));
        assert_eq!(path("NETRC"), Some("/x".into()));
        assert_eq!(path("HOME"), Some("/x/.netrc".into()));
        assert_eq!(path(""), None);
    }
}
