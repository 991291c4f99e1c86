//! Which site a request is for, by the host that it names.
//!
//! A whole name goes before one with `*.`, and of those the longest. Names are compared without
//! case, port and the dot at the end.
//!
//! Source: RFC 9110 §4.2.3 (case), §7.2 (Host), §7.4 (421); RFC 1034 §3.1 (the dot).

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::host::{is_host, split};

/// No name in the DNS is longer.
const NAME_BYTES_MAX: usize = 255;

/// The hosts that a site is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// The one of this name, in lower case.
    Name(Box<str>),
    /// All whose names end so, with a label or more before it: the dot is the first byte.
    Beneath(Box<str>),
    /// All others.
    Others,
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Beneath(name) => write!(f, "*{name}"),
            Self::Others => f.write_str("_"),
        }
    }
}

/// Why a text is not a host pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a name such as www.example.org, *.example.org, or _ for all other hosts")]
pub struct HostPatternError;

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        if text == "_" {
            return Ok(Self::Others);
        }
        let (is_beneath, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let has_port = split(name.as_bytes()).is_none_or(|(_, port)| port.is_some());
        let is_name = is_host(name.as_bytes()) && !name.contains('*');
        if !is_name || has_port || name.len() >= NAME_BYTES_MAX {
            return Err(HostPatternError);
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        Ok(if is_beneath {
            Self::Beneath(format!(".{name}").into())
        } else {
            Self::Name(name.into())
        })
    }
}

/// The sites of a server by their hosts: for each a number.
#[derive(Debug, Default, Clone)]
pub(crate) struct HostTable {
    /// Names, and with a dot before them those of which all beneath are meant.
    named: HashMap<Box<[u8]>, usize>,
    others: Option<usize>,
}

impl HostTable {
    /// Adds a site. `false` if its hosts have one.
    pub(crate) fn add(&mut self, hosts: &HostPattern, site: usize) -> bool {
        match hosts {
            HostPattern::Name(name) | HostPattern::Beneath(name) => {
                self.named.insert(name.as_bytes().into(), site).is_none()
            }
            HostPattern::Others => self.others.replace(site).is_none(),
        }
    }

    /// The site of a host, as a request names it: with or without a port.
    pub(crate) fn find<'h>(&self, host: impl FnOnce() -> Option<&'h [u8]>) -> Option<usize> {
        if self.named.is_empty() {
            return self.others;
        }
        let mut room = [0; NAME_BYTES_MAX];
        let name = host().and_then(|host| normal(host, &mut room));
        name.and_then(|name| self.find_name(name)).or(self.others)
    }

    fn find_name(&self, name: &[u8]) -> Option<usize> {
        let dots = (1..name.len()).filter(|&at| name[at] == b'.');
        let suffixes = dots.map(|dot| &name[dot..]);
        std::iter::once(name).chain(suffixes).find_map(|it| self.named.get(it)).copied()
    }
}

/// Whether two names are of one host.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut rooms = [[0; NAME_BYTES_MAX]; 2];
    let [first, second] = &mut rooms;
    normal(one, first).is_some_and(|one| Some(one) == normal(other, second))
}

/// A host as it is compared. `None` for one that has no such form.
fn normal<'r>(host: &[u8], room: &'r mut [u8; NAME_BYTES_MAX]) -> Option<&'r [u8]> {
    let (name, _) = split(host)?;
    let name = name.strip_suffix(b".").unwrap_or(name);
    let normal = room.get_mut(..name.len())?;
    normal.copy_from_slice(name);
    normal.make_ascii_lowercase();
    // A dot at the front is not of a name, and would be found among those of which it is.
    (!normal.starts_with(b".")).then_some(&*normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> HostTable {
        let mut table = HostTable::default();
        for (site, pattern) in patterns.iter().enumerate() {
            assert!(table.add(&pattern.parse().unwrap(), site), "{pattern}");
        }
        table
    }

    #[test]
    fn the_nearest_name_is_found_without_case_port_and_last_dot() {
        let table = table(&["www.example.org", "*.example.org", "*.a.Example.org", "[::1]"]);
        for (host, site) in [
            ("www.example.org", Some(0)),
            ("WWW.Example.ORG:8080", Some(0)),
            ("www.example.org.", Some(0)),
            ("www.example.org.:80", Some(0)),
            ("b.example.org", Some(1)),
            ("b.c.example.org", Some(1)),
            ("a.example.org", Some(1)),
            ("b.a.example.org", Some(2)),
            ("c.b.a.example.org", Some(2)),
            ("[::1]:80", Some(3)),
            ("example.org", None),
            (".example.org", None),
            ("wwwexample.org", None),
            ("www.example.org.evil.net", None),
            ("", None),
            (&"a".repeat(300), None),
        ] {
            assert_eq!(table.find(|| Some(host.as_bytes())), site, "{host}");
        }
        assert_eq!(table.find(|| None), None);
    }

    #[test]
    fn others_are_all_that_have_no_site() {
        let table = table(&["a.example", "_"]);
        for (host, site) in [(Some("a.example"), 0), (Some("b.example"), 1), (None, 1)] {
            assert_eq!(table.find(|| host.map(str::as_bytes)), Some(site), "{host:?}");
        }
    }

    #[test]
    fn hosts_have_one_site_and_names_are_names() {
        let mut table = table(&["a.example", "_"]);
        for twice in ["A.example.", "_"] {
            assert!(!table.add(&twice.parse().unwrap(), 2), "{twice}");
        }
        for wrong in ["", "*", "*.", "a.example:80", "a..b", "a/b", "*.*.b ", "http://a"] {
            assert_eq!(wrong.parse::<HostPattern>(), Err(HostPatternError), "{wrong}");
        }
    }

    #[test]
    fn one_host_has_several_spellings() {
        assert!(is_same(b"A.example:443", b"a.example"));
        assert!(!is_same(b"a.example", b"b.example"));
        assert!(!is_same(b"", b"b.example"));
    }
}
