//! Which names of a site answer.
//!
//! Pure: paths in, paths out. They are those of decoded targets, so that `%2e` is a dot here.
//!
//! Source: RFC 8615 §3 (`/.well-known/`); RFC 3986 §2.3, §6.2.2.2 (decoding).

use crate::links::Symlinks;

/// The directory of RFC 8615, which is served although its name begins with a dot.
const WELL_KNOWN: &[u8] = b".well-known";

/// How a target becomes a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Whether names that begin with a dot are served too, and not only `/.well-known`.
    pub hidden: bool,
    /// Which symbolic links are followed.
    pub symlinks: Symlinks,
}

impl Lookup {
    /// Whether anything is served at a path, were it there.
    pub(crate) fn serves(&self, path: &[u8]) -> bool {
        let mut segments = path.split(|&byte| byte == b'/');
        let first = segments.next().unwrap_or_default();
        self.serves_name(b"", first) && segments.all(|name| self.serves_name(b"/", name))
    }

    /// The same of one name in a directory that is served; the path of the root is empty.
    pub(crate) fn serves_name(&self, directory: &[u8], name: &[u8]) -> bool {
        let is_well_known = directory.is_empty() && name == WELL_KNOWN;
        self.hidden || !name.starts_with(b".") || is_well_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    #[test]
    fn a_segment_that_begins_with_a_dot_is_served_on_demand_only() {
        for (target, is_served) in [
            ("/", true),
            ("/a", true),
            ("/a.b/c.d/", true),
            ("/a/./b/../c", true),
            ("/.git", false),
            ("/.git/config", false),
            ("/%2egit/config", false),
            ("/%2Egit", false),
            ("/a/.env", false),
            ("/a/.b/c", false),
            ("/...", false),
            ("/.well-known", true),
            ("/.well-known/", true),
            ("/%2ewell-known/security.txt", true),
            ("/.well-known/.git", false),
            ("/a/.well-known/b", false),
            ("/.well-known-not/b", false),
            ("/.Well-Known/b", false),
        ] {
            let parsed = Target::parse(target).unwrap();
            assert_eq!(Lookup::default().serves(parsed.as_bytes()), is_served, "{target}");
            let all = Lookup { hidden: true, ..Lookup::default() };
            assert!(all.serves(parsed.as_bytes()), "{target}");
        }
    }
}
