//! Which names of a site answer.
//!
//! Pure: paths in, paths out. They are those of decoded targets, so that `%2e` is a dot here.
//!
//! Source: RFC 8615 §3 (`/.well-known/`); RFC 3986 §2.3, §6.2.2.2 (decoding).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::links::Symlinks;
use crate::pattern::Pattern;
use crate::upload::PREFIX;

/// The directory of RFC 8615, which is served although its name begins with a dot.
const WELL_KNOWN: &[u8] = b".well-known";

/// How a target becomes a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Whether names that begin with a dot are served too, and not only `/.well-known`.
    pub hidden: bool,
    /// What is not served either, nor anything beneath it.
    pub hide: Vec<Pattern>,
    /// Which symbolic links are followed.
    pub symlinks: Symlinks,
    /// The files that answer for a directory: the first that is there.
    pub index: Vec<FilePath>,
    /// Whether `about.html` answers for `/about` too.
    pub clean_urls: bool,
    /// The file that answers a client which asks for a page where nothing is.
    pub fallback: Option<FilePath>,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            hidden: false,
            hide: Vec::new(),
            symlinks: Symlinks::default(),
            index: vec![FilePath(b"index.html".to_vec())],
            clean_urls: false,
            fallback: None,
        }
    }
}

impl Lookup {
    /// Whether anything is served at a path, were it there.
    pub(crate) fn serves(&self, path: &[u8]) -> bool {
        let mut segments = path.split(|&byte| byte == b'/');
        let first = segments.next().unwrap_or_default();
        self.serves_dots(b"", first)
            && segments.all(|name| self.serves_dots(b"/", name))
            && !self.is_hidden(path)
    }

    /// Whether a path, or a directory on its way, is one of those that are not served either.
    fn is_hidden(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
        let mut ends = ends.chain([path.len()]);
        !self.hide.is_empty() && ends.any(|end| self.hides(&path[..end]))
    }

    fn hides(&self, path: &[u8]) -> bool {
        self.hide.iter().any(|pattern| pattern.matches(path))
    }

    /// The same of one name in a directory that is served; the path of the root is empty. What is
    /// still being uploaded is not served, whatever else is.
    pub(crate) fn serves_name(&self, directory: &[u8], name: &[u8]) -> bool {
        self.serves_dots(directory, name)
            && (self.hide.is_empty() || !self.hides(&[directory, name].concat()))
    }

    fn serves_dots(&self, directory: &[u8], name: &[u8]) -> bool {
        if name.starts_with(PREFIX) {
            return false;
        }
        let is_well_known = directory.is_empty() && name == WELL_KNOWN;
        self.hidden || !name.starts_with(b".") || is_well_known
    }
}

impl Lookup {
    /// What is tried for a path, in this order. A directory is asked for by a slash at the end, and
    /// is the last of its candidates itself.
    pub(crate) fn candidates<'p>(
        &'p self,
        path: &'p [u8],
    ) -> impl Iterator<Item = Cow<'p, [u8]>> + use<'p> {
        let is_directory = path.is_empty() || path.ends_with(b"/");
        let indexes = self.index.iter().filter(move |_| is_directory);
        let indexes = indexes.map(move |index| [path, &index.0].concat());
        let indexes = indexes.filter(|index| !self.is_hidden(index)).map(Cow::Owned);
        let html = (self.clean_urls && !is_directory).then(|| [path, b".html"].concat());
        // Of `/.well-known` a hidden one would be made.
        let html = html.filter(|html| self.serves(html)).map(Cow::Owned);
        indexes.chain([path.into()]).chain(html)
    }
}

impl Lookup {
    /// Whether a pattern is for a decoded path, or for what would answer for it.
    pub(crate) fn is_meant(&self, pattern: &Pattern, path: &[u8]) -> bool {
        self.candidates(path).any(|candidate| pattern.matches(&candidate))
            // The redirection of a directory tells that it is there.
            || pattern.matches(&[path, b"/"].concat())
    }
}

/// The path of a file beneath the root, as the file system has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(Vec<u8>);

/// What does not name a file beneath the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give the path of a file in the served directory, without '.' and '..'")]
pub struct FilePathError;

impl FilePath {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the name of a file, and of no directory on the way.
    #[must_use]
    pub fn is_name(&self) -> bool {
        !self.0.contains(&b'/')
    }
}

/// One slash may come first, as in a target.
impl FromStr for FilePath {
    type Err = FilePathError;

    fn from_str(text: &str) -> Result<Self, FilePathError> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let is_right = |segment: &str| !matches!(segment, "" | "." | "..");
        if path.contains('\0') || !path.split('/').all(is_right) {
            return Err(FilePathError);
        }
        Ok(Self(path.into()))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
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

    #[test]
    fn what_is_hidden_by_a_pattern_is_so_with_all_beneath_it() {
        let hide = ["*.bak", "node_modules", "/private", "in/*.key", "**/deep/x"];
        let hide = hide.map(|pattern| pattern.parse().unwrap()).into();
        let lookup = Lookup { hide, clean_urls: true, ..Lookup::default() };
        for (path, is_served) in [
            ("", true),
            ("a.bak", false),
            ("b/a.bak", false),
            ("b/a.bak/c", false),
            ("a.bak.txt", true),
            ("node_modules", false),
            ("node_modules/", false),
            ("b/node_modules/c/d", false),
            ("private/a", false),
            ("b/private/a", true),
            ("in/a.key", false),
            ("in/b/a.key", true),
            ("b/deep/x/y", false),
            (".git", false),
        ] {
            assert_eq!(lookup.serves(path.as_bytes()), is_served, "{path}");
            let directory = path.rfind('/').map_or("", |slash| &path[..=slash]);
            let name = &path[directory.len()..];
            if !name.is_empty() && lookup.serves(directory.as_bytes()) {
                let is_listed = lookup.serves_name(directory.as_bytes(), name.as_bytes());
                assert_eq!(is_listed, is_served, "{path}");
            }
        }
        let tried = |lookup: &Lookup, path: &str| lookup.candidates(path.as_bytes()).count();
        assert_eq!([tried(&lookup, "b/"), tried(&lookup, "b")], [2, 2]);
        let lookup = Lookup { hide: vec!["*.html".parse().unwrap()], ..lookup };
        assert_eq!([tried(&lookup, "b/"), tried(&lookup, "b")], [1, 1]);
    }

    #[test]
    fn what_is_tried_for_a_path() {
        let parse = |text: &str| text.parse::<FilePath>().unwrap();
        let index = vec![parse("index.html"), parse("index.htm")];
        let plain = Lookup { index, ..Lookup::default() };
        let clean = Lookup { clean_urls: true, ..plain.clone() };
        let none = Lookup { index: Vec::new(), ..Lookup::default() };
        for (lookup, path, candidates) in [
            (&plain, "", &["index.html", "index.htm", ""][..]),
            (&plain, "a/", &["a/index.html", "a/index.htm", "a/"]),
            (&plain, "a", &["a"]),
            (&clean, "a", &["a", "a.html"]),
            (&clean, "a.html", &["a.html", "a.html.html"]),
            (&clean, "a/", &["a/index.html", "a/index.htm", "a/"]),
            (&clean, "", &["index.html", "index.htm", ""]),
            (&clean, ".well-known", &[".well-known"]),
            (&clean, ".well-known/a", &[".well-known/a", ".well-known/a.html"]),
            (&none, "a/", &["a/"]),
        ] {
            let tried: Vec<_> = lookup.candidates(path.as_bytes()).collect();
            let candidates: Vec<_> = candidates.iter().map(|path| path.as_bytes()).collect();
            assert_eq!(tried, candidates, "{path}");
        }
    }

    #[test]
    fn a_file_is_named_by_a_path_that_stays_beneath_the_root() {
        for (text, path) in [
            ("index.html", Some("/index.html")),
            ("/404.html", Some("/404.html")),
            (".errors/404.html", Some("/.errors/404.html")),
            ("", None),
            ("/", None),
            ("//a", None),
            ("a/", None),
            ("a//b", None),
            ("./a", None),
            ("../a", None),
            ("a/../b", None),
            ("a\0b", None),
        ] {
            let parsed = text.parse().ok().map(|path: FilePath| path.to_string());
            assert_eq!(parsed.as_deref(), path, "{text}");
        }
    }
}
