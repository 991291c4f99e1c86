//! The media type of a file, from its name.
//!
//! A declared type is final: every answer says `X-Content-Type-Options: nosniff`, so that no
//! browser takes an uploaded text for HTML. Text is declared as UTF-8, which a byte order mark
//! can still overrule and a `<meta>` element cannot.
//!
//! Source: RFC 9110 §8.3; RFC 9239 (text/javascript); WHATWG Fetch, "X-Content-Type-Options".

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::str::FromStr;

use http::HeaderValue;

/// Lines of an extension in lower case, a space and its media type, sorted; all of it ASCII.
const TABLE: &str = include_str!(concat!(env!("OUT_DIR"), "/media_types.txt"));

/// Names without an extension that are texts everywhere: to be read in a browser, not downloaded.
const TEXTS: [&str; 32] = [
    ".bashrc",
    ".dockerignore",
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    ".gitmodules",
    ".profile",
    "AUTHORS",
    "CHANGELOG",
    "CHANGES",
    "CODEOWNERS",
    "CONTRIBUTING",
    "COPYING",
    "COPYRIGHT",
    "Containerfile",
    "Dockerfile",
    "Gemfile",
    "INSTALL",
    "Jenkinsfile",
    "LICENSE",
    "MD5SUMS",
    "Makefile",
    "NEWS",
    "NOTICE",
    "Procfile",
    "README",
    "Rakefile",
    "SHA256SUMS",
    "SHA512SUMS",
    "TODO",
    "UNLICENSE",
    "VERSION",
];

/// The type of names that say nothing (RFC 2046 §4.5.1).
const UNKNOWN: &str = "application/octet-stream";

/// Which media type a name has.
#[derive(Debug, Clone, Default)]
pub struct MediaTypes {
    others: HashMap<String, String>,
    charset: Charset,
}

impl MediaTypes {
    /// Those that are known, but for `others`, of which a later one of an extension holds. Texts
    /// are declared to be in `charset`.
    #[must_use]
    pub fn new(others: Vec<MediaTypeRule>, charset: Charset) -> Self {
        let others = others.into_iter().map(|rule| (rule.extension, rule.media_type)).collect();
        Self { others, charset }
    }

    /// The `Content-Type` of a file of this name, by its extension in any letter case.
    #[must_use]
    pub(crate) fn of(&self, name: &Path) -> HeaderValue {
        let extension = name.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        let extension = extension.as_deref();
        let other = extension.and_then(|extension| self.others.get(extension));
        let known = match other.map(String::as_str).or_else(|| look_up(extension?)) {
            // RFC 9239 §6.1: an obsolete alias.
            Some("application/javascript") => "text/javascript",
            Some(known) => known,
            None if is_text(name) => "text/plain",
            None => UNKNOWN,
        };
        let charset = self.charset.0.as_deref();
        let charset = charset.filter(|_| known.starts_with("text/") && !known.contains("charset="));
        let value = match charset {
            Some(charset) => format!("{known}; charset={charset}"),
            None => known.to_owned(),
        };
        HeaderValue::try_from(value).expect("media types are visible ASCII")
    }
}

/// Whether a name that the table does not have is a text's: `LICENSE`, also `LICENSE-MIT`.
fn is_text(name: &Path) -> bool {
    let name = name.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let stem = name.split_once('-').map_or(name, |(stem, _)| stem);
    TEXTS.contains(&name) || TEXTS.contains(&stem) && !name.contains('.')
}

/// The media type of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaTypeRule {
    extension: String,
    media_type: String,
}

/// Why a text gives no extension a media type, or is not a charset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaTypeError {
    /// There are not two words.
    #[error("an extension and its media type, such as 'md text/plain'")]
    Words,
    /// The extension is empty, or has a character that none has.
    #[error("'{0}' is not an extension: it is what follows the last '.' of a name")]
    Extension(String),
    /// It is not `TYPE/SUBTYPE`, with or without parameters.
    #[error("'{0}' is not a media type such as text/plain")]
    MediaType(String),
    /// It is not a token.
    #[error("'{0}' is not a charset such as utf-8, or off")]
    Charset(String),
}

/// `EXT TYPE`, where the extension may begin with its full stop.
impl FromStr for MediaTypeRule {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let words = text.trim().split_once(char::is_whitespace).ok_or(MediaTypeError::Words)?;
        let (extension, media_type) = (words.0, words.1.trim());
        let extension = extension.strip_prefix('.').unwrap_or(extension);
        if extension.is_empty() || extension.contains(['.', '/', '*']) {
            return Err(MediaTypeError::Extension(words.0.to_owned()));
        }
        let essence = media_type.split(';').next().unwrap_or_default().trim_end();
        let is_one =
            essence.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub));
        if !is_one || !media_type.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(MediaTypeError::MediaType(media_type.to_owned()));
        }
        let (extension, media_type) = (extension.to_ascii_lowercase(), media_type.to_owned());
        Ok(Self { extension, media_type })
    }
}

/// What texts are declared to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charset(Option<String>);

impl Default for Charset {
    /// UTF-8.
    fn default() -> Self {
        Self(Some("utf-8".to_owned()))
    }
}

/// The name of a charset, or `off`: nothing is declared.
impl FromStr for Charset {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        match text {
            "off" => Ok(Self(None)),
            name if is_token(name) => Ok(Self(Some(name.to_owned()))),
            other => Err(MediaTypeError::Charset(other.to_owned())),
        }
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Halves the table until the line is found.
fn look_up(extension: &str) -> Option<&'static str> {
    let mut lines = TABLE;
    loop {
        let middle = lines[..lines.len() / 2].rfind('\n').map_or(0, |at| at + 1);
        let (line, after) = lines[middle..].split_once('\n')?;
        let (found, media_type) = line.split_once(' ')?;
        match found.cmp(extension) {
            Ordering::Equal => return Some(media_type),
            Ordering::Less => lines = after,
            Ordering::Greater => lines = &lines[..middle],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_tell_the_type_and_text_is_utf_8() {
        for (name, media_type) in [
            ("index.html", "text/html; charset=utf-8"),
            ("INDEX.HTM", "text/html; charset=utf-8"),
            ("a/b.c/notes.txt", "text/plain; charset=utf-8"),
            ("style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("data.json", "application/json"),
            ("app.wasm", "application/wasm"),
            ("logo.svg", "image/svg+xml"),
            ("photo.jpeg", "image/jpeg"),
            ("photo.avif", "image/avif"),
            ("font.woff2", "font/woff2"),
            ("film.mp4", "video/mp4"),
            ("paper.pdf", "application/pdf"),
            ("archive.tar.gz", "application/gzip"),
            ("bundle.tgz", "application/gzip"),
            ("live.m3u8", "application/vnd.apple.mpegurl"),
            ("module.cjs", "text/javascript; charset=utf-8"),
            ("doc/LICENSE", "text/plain; charset=utf-8"),
            ("doc/LICENSE-MIT", "text/plain; charset=utf-8"),
            (".gitignore", "text/plain; charset=utf-8"),
            ("README-first.bin", "application/octet-stream"),
            ("fix.patch", "text/plain; charset=utf-8"),
            ("rules.yml", "application/yaml"),
            ("who.vcf", "text/vcard; charset=utf-8"),
            ("LICENSE.old", "application/octet-stream"),
            ("LICENCES", "application/octet-stream"),
            (".html", "application/octet-stream"),
            ("name.", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(MediaTypes::default().of(Path::new(name)), media_type, "{name}");
        }
    }

    #[test]
    fn every_line_of_the_table_is_found_and_nothing_else() {
        assert!(TABLE.is_ascii() && TABLE.lines().count() > 1000);
        for line in TABLE.lines() {
            let (extension, media_type) = line.split_once(' ').unwrap();
            assert_eq!(look_up(extension), Some(media_type), "{extension}");
            assert_eq!(look_up(&format!("{extension}~")), None);
        }
        assert_eq!((look_up(""), look_up("!")), (None, None));
    }

    #[test]
    fn a_name_that_is_not_utf_8_has_a_type_too() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let of = |name: &[u8]| MediaTypes::default().of(Path::new(OsStr::from_bytes(name)));
        assert_eq!(of(b"caf\xe9.png"), "image/png");
        assert_eq!(of(b"a.\xff"), "application/octet-stream");
    }

    #[test]
    fn types_and_the_charset_can_be_given() {
        let rules =
            ["md text/plain", ".YAML  text/yaml", "x text/x-x; charset=latin1", "md text/markdown"];
        let rules: Vec<MediaTypeRule> = rules.map(|rule| rule.parse().unwrap()).into();
        let of = |charset: &str, name: &str| {
            let types = MediaTypes::new(rules.clone(), charset.parse().unwrap());
            types.of(Path::new(name)).to_str().unwrap().to_owned()
        };
        assert_eq!(of("koi8-r", "a.md"), "text/markdown; charset=koi8-r");
        assert_eq!(of("off", "a.yaml"), "text/yaml");
        assert_eq!(of("utf-8", "a.yml"), "application/yaml");
        assert_eq!(of("off", "a.X"), "text/x-x; charset=latin1");
        assert_eq!(of("utf-8", "a.x"), "text/x-x; charset=latin1");
        assert_eq!(of("off", "README"), "text/plain");
    }

    #[test]
    fn what_is_no_type_is_refused_by_its_words() {
        for (rule, error) in [
            ("md", "an extension and its media type, such as 'md text/plain'"),
            (". text/plain", "'.' is not an extension: it is what follows the last '.' of a name"),
            (
                "tar.gz application/gzip",
                "'tar.gz' is not an extension: it is what follows the last '.' of a name",
            ),
            ("md text", "'text' is not a media type such as text/plain"),
            ("md text/", "'text/' is not a media type such as text/plain"),
            ("md text/a b", "'text/a b' is not a media type such as text/plain"),
            ("md text/a\r\nX: y", "'text/a\r\nX: y' is not a media type such as text/plain"),
        ] {
            assert_eq!(rule.parse::<MediaTypeRule>().unwrap_err().to_string(), error);
        }
        let error = "utf 8".parse::<Charset>().unwrap_err().to_string();
        assert_eq!(error, "'utf 8' is not a charset such as utf-8, or off");
    }
}
