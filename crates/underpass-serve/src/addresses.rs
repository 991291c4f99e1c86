//! Who may ask, by the address that a request comes from.
//!
//! Of the networks that have an address the nearest decides, in whatever order they were given.
//! Where any may, all others may not.

use std::net::IpAddr;
use std::str::FromStr;

use http::StatusCode;
use http::header::HeaderMap;
use underpass_daemon::{Network, NetworkError};

use crate::access::make_private;
use crate::answer::Answer;
use crate::lookup::Lookup;
use crate::pattern::{Pattern, PatternError};
use crate::stations::Asked;

const TEXT: &str = "403 Forbidden\nClients with this address get nothing here.\n";

/// Networks, and the paths for which they are meant.
#[derive(Debug, Clone)]
pub struct Addresses {
    paths: Pattern,
    networks: Vec<Network>,
}

/// Why a text is not addresses for some paths.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressesError {
    /// The pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A network cannot be read.
    #[error("'{text}': {error}")]
    Network {
        /// What was to be one.
        text: String,
        /// What is wrong with it.
        error: NetworkError,
    },
}

/// `NETWORK,NETWORK` for every path, or `PATTERN NETWORK,NETWORK`.
impl FromStr for Addresses {
    type Err = AddressesError;

    fn from_str(text: &str) -> Result<Self, AddressesError> {
        let (paths, networks) = match text.trim().rsplit_once([' ', '\t']) {
            Some((pattern, networks)) => (pattern.trim().parse()?, networks),
            None => (Pattern::everything(), text.trim()),
        };
        let network = |text: &str| {
            text.parse().map_err(|error| AddressesError::Network { text: text.into(), error })
        };
        Ok(Self { paths, networks: networks.split(',').map(network).collect::<Result<_, _>>()? })
    }
}

/// Which addresses may ask for what.
#[derive(Debug, Clone, Default)]
pub struct AddressRules(Vec<(Addresses, Verdict)>);

/// Of equally near networks the greater one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Allowed,
    Denied,
}

impl AddressRules {
    /// These may, and those may not.
    #[must_use]
    pub fn new(allowed: Vec<Addresses>, denied: Vec<Addresses>) -> Self {
        let allowed = allowed.into_iter().map(|it| (it, Verdict::Allowed));
        Self(allowed.chain(denied.into_iter().map(|it| (it, Verdict::Denied))).collect())
    }

    /// The answer to a client that may not ask for this.
    pub(crate) fn refuse(&self, asked: &Asked<'_>, lookup: &Lookup) -> Option<Answer> {
        let is_denied = !self.0.is_empty() && !self.let_in(asked.client, &asked.path(), lookup);
        is_denied.then(|| Answer::error_with(StatusCode::FORBIDDEN, Some(TEXT)))
    }

    /// Has no cache that others share keep what is for some addresses only.
    pub(crate) fn protect(&self, asked: &Asked<'_>, lookup: &Lookup, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        let path = asked.path();
        let mut rules = self.of(&path, lookup);
        if rules.any(|(_, verdict)| *verdict == Verdict::Allowed) {
            make_private(headers);
        }
    }

    /// Whether any is for a decoded path.
    pub(crate) fn have(&self, path: &[u8], lookup: &Lookup) -> bool {
        self.of(path, lookup).next().is_some()
    }

    /// Whether any is for a path and not for the directory that it is in.
    pub(crate) fn have_more(&self, path: &[u8], directory: &[u8], lookup: &Lookup) -> bool {
        let is_for = |it: &Addresses, path: &[u8]| lookup.is_meant(&it.paths, path);
        self.0.iter().any(|(it, _)| is_for(it, path) && !is_for(it, directory))
    }

    fn let_in(&self, client: Option<IpAddr>, path: &[u8], lookup: &Lookup) -> bool {
        let (mut nearest, mut otherwise) = (None, true);
        for (addresses, verdict) in self.of(path, lookup) {
            otherwise &= *verdict == Verdict::Denied;
            let of_client = addresses.networks.iter().filter(|network| network.has(client));
            let found = of_client.map(|network| (network.bits(), *verdict)).max();
            nearest = nearest.max(found);
        }
        nearest.map_or(otherwise, |(_, verdict)| verdict == Verdict::Allowed)
    }

    fn of(&self, path: &[u8], lookup: &Lookup) -> impl Iterator<Item = &(Addresses, Verdict)> {
        self.0.iter().filter(move |(it, _)| lookup.is_meant(&it.paths, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allowed: &[&str], denied: &[&str]) -> AddressRules {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        AddressRules::new(parse(allowed), parse(denied))
    }

    fn let_in(rules: &AddressRules, client: &str, path: &str) -> bool {
        rules.let_in(client.parse().ok(), path.as_bytes(), &Lookup::default())
    }

    #[test]
    fn the_nearest_network_decides() {
        for (allowed, denied, yes, no) in [
            (&[][..], &[][..], &["192.0.2.1", "-"][..], &[][..]),
            (&[], &["192.0.2.0/24"], &["192.0.3.1", "::1", "-"], &["192.0.2.1"]),
            (&["10.0.0.0/8,::1"], &[], &["10.1.1.1", "::1"], &["192.0.2.1", "::2", "-"]),
            (&["10.0.0.0/8"], &["10.0.0.5"], &["10.0.0.4"], &["10.0.0.5", "192.0.2.1"]),
            (&["10.1.0.0/16"], &["10.0.0.0/8"], &["10.1.0.1"], &["10.0.0.1", "192.0.2.1"]),
            (&["10.0.0.0/8"], &["10.0.0.0/8"], &[], &["10.0.0.1"]),
            (&["0.0.0.0/0"], &["10.0.0.0/8"], &["192.0.2.1"], &["10.0.0.1", "::1", "-"]),
            (&["unix"], &[], &["-"], &["127.0.0.1"]),
            (&["::1"], &["unix"], &["::1"], &["-"]),
        ] {
            let rules = rules(allowed, denied);
            for client in yes {
                assert!(let_in(&rules, client, "a"), "{allowed:?} {denied:?} {client}");
            }
            for client in no {
                assert!(!let_in(&rules, client, "a"), "{allowed:?} {denied:?} {client}");
            }
        }
    }

    #[test]
    fn rules_are_for_the_paths_of_their_pattern_and_for_what_leads_there() {
        let rules = rules(&["in/** 10.0.0.0/8", "index.html ::1"], &["in/b 10.0.0.1"]);
        for (client, path, is_in) in [
            ("192.0.2.1", "a", true),
            ("192.0.2.1", "in/a", false),
            ("192.0.2.1", "in", false),
            ("10.0.0.1", "in/a", true),
            ("10.0.0.1", "in/b", false),
            ("10.0.0.2", "in/b", true),
            ("192.0.2.1", "", false),
            ("::1", "", true),
        ] {
            assert_eq!(let_in(&rules, client, path), is_in, "{client} {path}");
        }
        let lookup = Lookup::default();
        assert!(rules.have(b"in/a", &lookup) && !rules.have(b"a", &lookup));
        assert!(rules.have_more(b"in/b", b"in/", &lookup));
        assert!(!rules.have_more(b"in/a", b"in/", &lookup));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for (text, reason) in [
            ("", "'': give a network"),
            ("a/**", "'a/**': give a network"),
            ("a 10.0.0.0/8,x", "'x': give a network"),
            ("10.0.0.1/8", "'10.0.0.1/8': the address has more bits"),
            ("a[ 10.0.0.1", "'a[' is not a pattern"),
        ] {
            let error = text.parse::<Addresses>().unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
    }
}
