//! A listing as JSON, for programs.
//!
//! A name that is not UTF-8 is there twice: as text that shows it, and exact in base64.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::Listing;
use super::read::Name;
use crate::{date, target};

#[derive(Debug, Serialize)]
struct Page<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    /// Of what the filter leaves, on all pages.
    directories: usize,
    files: usize,
    /// Whether these are all, or the directory has more than is listed.
    complete: bool,
    page: usize,
    pages: usize,
    sort: &'a str,
    order: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_bytes: Option<String>,
    /// The reference to it, from the directory.
    href: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// RFC 3339, to the second.
    modified: Option<String>,
}

impl Listing<'_> {
    /// The page as JSON, which ends with a line feed.
    pub(super) fn json(&self) -> String {
        let (path, path_bytes) = text(&[b"/", self.path].concat());
        let query = self.query;
        let is_last = query.page >= self.pages();
        let page = Page {
            path,
            path_bytes,
            directories: self.directories,
            files: self.files,
            complete: !self.is_cut,
            page: query.page,
            pages: self.pages(),
            sort: query.sort.word(),
            order: if query.is_descending { "desc" } else { "asc" },
            next: (!is_last).then(|| query.at_page(query.page + 1).href()),
            entries: self.rows.iter().map(Entry::of).collect(),
        };
        let json = serde_json::to_string(&page).expect("there is no key that is not text");
        json + "\n"
    }
}

impl Entry {
    fn of(row: &Name) -> Self {
        let (name, name_bytes) = text(&row.bytes);
        let slash = if row.is_directory { "/" } else { "" };
        Self {
            name,
            name_bytes,
            href: format!("{}{slash}", target::encode(&row.bytes)),
            kind: if row.is_directory { "directory" } else { "file" },
            size: row.size(),
            modified: row.modified().and_then(date::rfc3339),
        }
    }
}

/// Bytes as text, and in base64 if the text is not the same.
fn text(bytes: &[u8]) -> (String, Option<String>) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let is_same = text.as_bytes() == bytes;
    (text, (!is_same).then(|| BASE64_STANDARD.encode(bytes)))
}
