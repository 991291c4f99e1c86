//! Patterns of paths, as shells and `.gitignore` have them.
//!
//! They are matched against the decoded path below the served directory, so `%2e` hides nothing.

use std::str::FromStr;

use globset::{Candidate, Glob, GlobBuilder, GlobMatcher};

/// Which paths are meant. `*` and `?` stop at slashes and `**` does not; a pattern without a slash
/// is for the last segment, in whatever directory it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Which);

#[derive(Debug, Clone)]
enum Which {
    Everything,
    /// What a path leads to without a slash at its end.
    Files,
    Name(GlobMatcher),
    Path(GlobMatcher),
}

impl PartialEq for Which {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, Self::Everything) | (Self::Files, Self::Files) => true,
            (Self::Name(one), Self::Name(other)) | (Self::Path(one), Self::Path(other)) => {
                one.glob() == other.glob()
            }
            _ => false,
        }
    }
}

impl Eq for Which {}

/// Why a text is not a pattern.
#[derive(Debug, Clone, thiserror::Error)]
#[error("'{pattern}' is not a pattern: {reason}")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

impl Pattern {
    /// For every path.
    #[must_use]
    pub const fn everything() -> Self {
        Self(Which::Everything)
    }

    /// For every file, and no listing of a directory.
    #[must_use]
    pub const fn files() -> Self {
        Self(Which::Files)
    }

    /// Whether a decoded path, without the first slash, is meant.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match &self.0 {
            Which::Everything => true,
            Which::Files => !(path.is_empty() || path.ends_with(b"/")),
            Which::Path(glob) => is_match(glob, path),
            Which::Name(glob) => {
                let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
                is_match(glob, name)
            }
        }
    }

    /// Whether the path of some name in a decoded directory, which ends with a slash, may be meant.
    pub(crate) fn matches_some_in(&self, directory: &[u8]) -> bool {
        let Which::Path(glob) = &self.0 else { return true };
        let (front, _) = glob.glob().glob().rsplit_once('/').unwrap_or_default();
        let is_in_front = |front: Self| match &front.0 {
            Which::Path(glob) => is_match(glob, directory),
            Which::Everything | Which::Files | Which::Name(_) => false,
        };
        is_match(glob, directory) || format!("{front}/").parse().is_ok_and(is_in_front)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == "**" {
            return Ok(Self::everything());
        }
        let matcher = |text| {
            let glob =
                GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
            let glob: Result<Glob, _> = glob;
            glob.map(|glob| glob.compile_matcher()).map_err(|error| PatternError {
                pattern: text.into(),
                reason: error.kind().to_string(),
            })
        };
        Ok(Self(if text.contains('/') {
            Which::Path(matcher(text.strip_prefix('/').unwrap_or(text))?)
        } else {
            Which::Name(matcher(text)?)
        }))
    }
}

fn is_match(glob: &GlobMatcher, path: &[u8]) -> bool {
    glob.is_match_candidate(&Candidate::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stop_at_slashes_and_a_name_is_for_every_directory() {
        for (pattern, yes, no) in [
            ("**", &["", "a", "a/", "a/b"][..], &[][..]),
            ("*", &["", "a", "a/b", "a/"], &[]),
            ("*.js", &["a.js", "a/b.js", ".js"], &["a.jsx", "a.js/", "a.js/b", "A.JS"]),
            ("a.js", &["a.js", "b/a.js"], &["aXjs", "ba.js"]),
            ("/a.js", &["a.js"], &["b/a.js"]),
            ("/*.js", &["a.js"], &["b/a.js"]),
            ("/", &[""], &["a", "a/"]),
            ("a/*", &["a/b", "a/"], &["a", "a/b/c", "x/a/b"]),
            ("a/**", &["a/b", "a/b/c", "a/"], &["a", "b/a/c"]),
            ("/a/", &["a/"], &["a", "a/b"]),
            ("**/a/*", &["a/b", "x/a/b", "x/y/a/b"], &["a", "xa/b"]),
            ("*.{png,jpg}", &["x.png", "a/x.jpg"], &["x.gif", "x.{png,jpg}"]),
            ("[a-c]?", &["ax", "d/c9"], &["a", "dx", "a/x"]),
            ("\\*", &["*"], &["a"]),
            ("a\nb", &["a\nb"], &["a"]),
            ("?", &["\n", "a"], &["", "ab"]),
            ("x\u{e9}", &["x\u{e9}"], &["xe"]),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            for path in yes {
                assert!(pattern.matches(path.as_bytes()), "{pattern:?} is for {path:?}");
            }
            for path in no {
                assert!(!pattern.matches(path.as_bytes()), "{pattern:?} is not for {path:?}");
            }
        }
    }

    #[test]
    fn names_that_are_not_utf_8_are_matched_byte_by_byte() {
        let pattern: Pattern = "a/*.js".parse().unwrap();
        assert!(pattern.matches(b"a/caf\xe9.js"));
        assert!(!pattern.matches(b"a/caf\xe9.css"));
    }

    #[test]
    fn a_directory_is_known_in_which_some_name_is_meant() {
        for (pattern, yes, no) in [
            ("**", &["", "a/", "a/b/"][..], &[][..]),
            ("*.js", &["", "a/", "a/b/"], &[]),
            ("/*.js", &[""], &["a/"]),
            ("a/*", &["a/"], &["", "a/b/", "x/a/"]),
            ("a/*.js", &["a/"], &["", "a/b/", "x/a/"]),
            ("a/**", &["a/", "a/b/"], &["", "b/"]),
            ("a/*/b.js", &["a/x/"], &["a/", "a/x/y/"]),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            for (directories, is_meant) in [(yes, true), (no, false)] {
                for directory in directories {
                    let found = pattern.matches_some_in(directory.as_bytes());
                    assert_eq!(found, is_meant, "{pattern:?} in {directory:?}");
                }
            }
        }
    }

    #[test]
    fn files_are_what_has_no_slash_at_its_end() {
        let files = Pattern::files();
        assert!(files.matches(b"a") && files.matches(b"a/b"));
        assert!(!files.matches(b"") && !files.matches(b"a/"));
    }

    #[test]
    fn what_is_not_a_pattern_says_why() {
        for pattern in ["a[", "{a", "a}", "[z-a]"] {
            let error = pattern.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("'{pattern}' is not a pattern: ")), "{error}");
        }
    }
}
