//! The media type of a file, from its name.
//!
//! A declared type is final: every answer says `X-Content-Type-Options: nosniff`, so that no
//! browser takes an uploaded text for HTML. Text is declared as UTF-8, which a byte order mark
//! can still overrule and a `<meta>` element cannot.
//!
//! Source: RFC 9110 §8.3; RFC 9239 (text/javascript); WHATWG Fetch, "X-Content-Type-Options".

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::path::Path;

use http::HeaderValue;

/// Lines of an extension in lower case, a space and its media type, sorted; all of it ASCII.
const TABLE: &str = include_str!(concat!(env!("OUT_DIR"), "/media_types.txt"));

/// Names without an extension that are texts everywhere: to be read in a browser, not downloaded.
const TEXTS: [&str; 10] = [
    "AUTHORS",
    "CHANGELOG",
    "COPYING",
    "Dockerfile",
    "INSTALL",
    "LICENSE",
    "Makefile",
    "NOTICE",
    "README",
    "VERSION",
];

/// The type of names that say nothing (RFC 2046 §4.5.1).
const UNKNOWN: &str = "application/octet-stream";

/// The `Content-Type` of a file of this name, by its extension in any letter case.
#[must_use]
pub(crate) fn of(name: &Path) -> HeaderValue {
    let extension = name.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    let known = match extension.and_then(|extension| look_up(&extension)) {
        // RFC 9239 §6.1: an obsolete alias.
        Some("application/javascript") => "text/javascript",
        Some(known) => known,
        None if name.file_name().is_some_and(|name| TEXTS.iter().any(|it| name == *it)) => {
            "text/plain"
        }
        None => UNKNOWN,
    };
    if !known.starts_with("text/") || known.contains("charset=") {
        return HeaderValue::from_static(known);
    }
    HeaderValue::try_from(format!("{known}; charset=utf-8"))
        .expect("registered media types are visible ASCII")
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
            ("LICENSE.old", "application/octet-stream"),
            ("LICENCES", "application/octet-stream"),
            (".html", "application/octet-stream"),
            ("name.", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(of(Path::new(name)), media_type, "{name}");
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
        assert_eq!(of(Path::new(OsStr::from_bytes(b"caf\xe9.png"))), "image/png");
        assert_eq!(of(Path::new(OsStr::from_bytes(b"a.\xff"))), "application/octet-stream");
    }
}
