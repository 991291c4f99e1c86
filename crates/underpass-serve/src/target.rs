//! Request targets: from the path of a URI to a path below the served directory.
//!
//! Dot segments are removed after percent-decoding, because `%2e%2e` and `..` are equivalent;
//! climbing above the root stays at the root. The result never starts with a slash, so it can
//! be handed to openat2(2) as it is. An encoded slash is data and not a separator: it names a
//! file that cannot exist.
//!
//! Source: RFC 9110 §4.2.3 (normalisation); RFC 9112 §3.2 (origin-form, absolute-form); RFC 3986
//! §2.1 (percent-encoding), §5.2.4 (remove_dot_segments), §6.2.2.2 (decoding unreserved bytes).

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};

/// Everything but the unreserved bytes of RFC 3986 §2.3 and the slash. Encoding `:` keeps a
/// relative reference from reading as a scheme, encoding `\` keeps browsers from taking it for
/// a slash.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A path relative to the served directory, as bytes.
///
/// Its segments are separated by single slashes, none is empty, `.` or `..`, and none holds a
/// NUL. A directory is asked for by a slash at the end; the served directory itself is the empty
/// path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, [u8]>,
}

/// A request target that names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Neither origin-form nor absolute-form: it does not start with a slash.
    #[error("request target does not start with a slash")]
    NotAPath,
    /// A percent sign without two hexadecimal digits after it.
    #[error("malformed percent-encoding at byte {at} of the request target")]
    Encoding {
        /// Offset of the percent sign in the path of the target.
        at: usize,
    },
    /// An encoded NUL, which no file name can hold.
    #[error("encoded NUL at byte {at} of the request target")]
    Nul {
        /// Offset of the percent sign in the path of the target.
        at: usize,
    },
    /// An encoded slash, which no file name can hold.
    #[error("encoded slash at byte {at} of the request target")]
    Slash {
        /// Offset of the percent sign in the path of the target.
        at: usize,
    },
}

impl<'a> Target<'a> {
    /// Reads the path component of a request target, which is what `http::Uri::path` returns for
    /// both origin-form and absolute-form. A plain path is borrowed, not copied.
    ///
    /// # Errors
    ///
    /// [`TargetError`], all of it the peer's doing.
    pub fn parse(path: &'a str) -> Result<Self, TargetError> {
        let relative = path.as_bytes().strip_prefix(b"/").ok_or(TargetError::NotAPath)?;
        if is_plain(relative) {
            return Ok(Self { path: Cow::Borrowed(relative) });
        }
        normalise(relative).map(|path| Self { path: Cow::Owned(path) })
    }

    /// The path in bytes; a directory's ends with a slash, the root's is empty.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.path
    }

    /// The path as the operating system takes it.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// Whether a directory is asked for: the root, or a path with a slash at its end.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.path.is_empty() || self.path.ends_with(b"/")
    }

    /// The path of `name` in this directory.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        [&self.path, name].concat()
    }

    /// The target as an absolute-path reference, with exactly one slash at the front: the form
    /// that a `Location` may hold without naming another authority (RFC 3986 §4.2).
    #[must_use]
    pub fn to_reference(&self) -> String {
        format!("/{}", encode(&self.path))
    }
}

/// Percent-encodes a path or a file name for use in a reference.
pub(crate) fn encode(path: &[u8]) -> PercentEncode<'_> {
    percent_encode(path, PATH)
}

/// Whether no byte needs decoding and no segment is empty or starts with a dot.
fn is_plain(relative: &[u8]) -> bool {
    let mut previous = b'/';
    for &byte in relative {
        if byte == b'%' || (previous == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        previous = byte;
    }
    true
}

fn normalise(relative: &[u8]) -> Result<Vec<u8>, TargetError> {
    let mut path = Vec::with_capacity(relative.len());
    let mut at = 1;
    let mut segments = relative.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let start = path.len();
        decode(segment, at, &mut path)?;
        at += segment.len() + 1;
        let is_last = segments.peek().is_none();
        match &path[start..] {
            b"" | b"." => path.truncate(start),
            b".." => {
                path.truncate(start);
                leave_directory(&mut path);
            }
            _ if is_last => {}
            _ => path.push(b'/'),
        }
    }
    Ok(path)
}

/// Removes the last segment of a path that is empty or ends with a slash.
fn leave_directory(path: &mut Vec<u8>) {
    path.pop();
    let parent = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    path.truncate(parent);
}

/// Appends the decoded segment to `path`; `at` is the segment's offset in the target.
fn decode(segment: &[u8], at: usize, path: &mut Vec<u8>) -> Result<(), TargetError> {
    let mut rest = segment;
    while let [first, tail @ ..] = rest {
        let here = at + segment.len() - rest.len();
        if *first != b'%' {
            path.push(*first);
            rest = tail;
            continue;
        }
        let [high, low, tail @ ..] = tail else { return Err(TargetError::Encoding { at: here }) };
        match (hex(*high), hex(*low)) {
            (Some(0), Some(0)) => return Err(TargetError::Nul { at: here }),
            (Some(2), Some(0xf)) => return Err(TargetError::Slash { at: here }),
            (Some(high), Some(low)) => path.push(high << 4 | low),
            _ => return Err(TargetError::Encoding { at: here }),
        }
        rest = tail;
    }
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(path: &str) -> Vec<u8> {
        Target::parse(path).unwrap().as_bytes().to_vec()
    }

    #[test]
    fn targets_become_relative_paths() {
        let table: [(&str, &[u8]); 22] = [
            ("/", b""),
            ("/a", b"a"),
            ("/a/b.txt", b"a/b.txt"),
            ("/a/", b"a/"),
            ("//a", b"a"),
            ("/a//b", b"a/b"),
            ("/a//", b"a/"),
            ("/./a", b"a"),
            ("/a/.", b"a/"),
            ("/a/./b", b"a/b"),
            ("/a/b/..", b"a/"),
            ("/a/b/../c", b"a/c"),
            ("/a/../../../b", b"b"),
            ("/..", b""),
            ("/%2e%2E/%2e./etc/passwd", b"etc/passwd"),
            ("/.hidden", b".hidden"),
            ("/a/..b/...", b"a/..b/..."),
            ("/a%20b%25", b"a b%"),
            ("/%C3%A9%ff", b"\xc3\xa9\xff"),
            ("/a\\..\\b", b"a\\..\\b"),
            ("/%252e%252e/x", b"%2e%2e/x"),
            ("/%3Fq", b"?q"),
        ];
        for (target, path) in table {
            assert_eq!(parsed(target), path, "{target}");
        }
    }

    #[test]
    fn malformed_targets_say_where() {
        let table = [
            ("", TargetError::NotAPath),
            ("*", TargetError::NotAPath),
            ("a/b", TargetError::NotAPath),
            ("/%", TargetError::Encoding { at: 1 }),
            ("/ab/c%4", TargetError::Encoding { at: 5 }),
            ("/%zz", TargetError::Encoding { at: 1 }),
            ("/a/%4g", TargetError::Encoding { at: 3 }),
            ("/%+1", TargetError::Encoding { at: 1 }),
            ("/a%00.txt", TargetError::Nul { at: 2 }),
            ("/..%2fetc", TargetError::Slash { at: 3 }),
        ];
        for (target, error) in table {
            assert_eq!(Target::parse(target), Err(error), "{target}");
        }
    }

    #[test]
    fn a_plain_path_is_borrowed() {
        for (target, borrowed) in [("/a/b.txt", true), ("/a/", true), ("/a//b", false)] {
            let path = Target::parse(target).unwrap().path;
            assert_eq!(matches!(path, Cow::Borrowed(_)), borrowed, "{target}");
        }
    }

    #[test]
    fn a_directory_ends_with_a_slash_or_is_the_root() {
        for (target, is_directory) in [("/", true), ("/a/", true), ("/a/..", true), ("/a", false)] {
            assert_eq!(Target::parse(target).unwrap().is_directory(), is_directory, "{target}");
        }
    }

    #[test]
    fn a_reference_never_names_an_authority_or_a_scheme() {
        for (target, reference) in [
            ("//evil.example/x", "/evil.example/x"),
            ("/%5cevil", "/%5Cevil"),
            ("/\\evil", "/%5Cevil"),
            ("/a:b/", "/a%3Ab/"),
            ("/%0d%0aSet-Cookie:x", "/%0D%0ASet-Cookie%3Ax"),
            ("/caf%C3%A9%ff?", "/caf%C3%A9%FF%3F"),
        ] {
            assert_eq!(Target::parse(target).unwrap().to_reference(), reference, "{target}");
        }
    }

    proptest! {
        /// Whatever the target, the path stays beneath the root and holds no odd segment.
        #[test]
        fn no_target_escapes(
            target in "/([/.a%2eEfF\\\\\u{e9}-]|%2e|%2E|\\.\\.|%[0-9a-f]{2}){0,24}",
        ) {
            if let Ok(parsed) = Target::parse(&target) {
                let path = parsed.as_bytes();
                prop_assert!(!path.contains(&0));
                let inner = path.strip_suffix(b"/").unwrap_or(path);
                if !path.is_empty() {
                    for segment in inner.split(|&byte| byte == b'/') {
                        prop_assert!(!matches!(segment, b"" | b"." | b".."), "{path:?}");
                    }
                }
            }
        }

        /// A file's own path, encoded, leads back to it: links of a listing are right.
        #[test]
        fn an_encoded_path_is_read_back(segments in prop::collection::vec(
            prop::collection::vec(1..=255_u8, 1..9), 1..4,
        )) {
            let path = segments.join(&b'/');
            let mut parts = path.split(|&byte| byte == b'/');
            prop_assume!(parts.all(|part| !matches!(part, b"" | b"." | b"..")));
            let reference = format!("/{}", encode(&path));
            prop_assert_eq!(parsed(&reference), path);
        }
    }
}
