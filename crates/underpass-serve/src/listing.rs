//! The page that lists a directory, and the same as JSON.
//!
//! It names what a request would be answered with, and nothing else: links that lead out of the
//! root, FIFOs, sockets and devices are left out. Names are bytes: the text shows them as well
//! as it can, the link is exact. A page has a thousand rows, of as many names as there are.
//!
//! Source: RFC 3986 §4.2 (relative references); RFC 9110 §15.5.5.

mod json;
mod look;
#[cfg(feature = "remote")]
pub(crate) mod of_names;
mod order;
mod page;
pub(crate) mod query;
pub(crate) mod read;

use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{HeaderName, StatusCode};
use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::media_type::MediaTypes;
use crate::refusal::Refusal;
use query::{Query, Sort};
use read::{Limits, Name, Names, Place};

/// Rows of a page: some 300 KB of it.
const ROWS_MAX: usize = 1_000;

/// A directory that has more is listed in part, and says so: what is read is in memory until the
/// page is made.
const LIMITS: Limits = Limits { names: 1_000_000, bytes: 64 * 1024 * 1024 };

/// Directories that are read at a time.
const READERS_MAX: usize = 4;

/// Listings of directories, and who makes them.
#[derive(Debug)]
pub struct Listings {
    pub(crate) readers: Arc<Semaphore>,
}

impl Default for Listings {
    fn default() -> Self {
        Self { readers: Arc::new(Semaphore::new(READERS_MAX)) }
    }
}

/// A page of what a directory holds.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    path: &'a [u8],
    query: &'a Query,
    /// They tell what of it can be shown.
    media_types: &'a MediaTypes,
    rows: Vec<Name>,
    directories: usize,
    files: usize,
    is_cut: bool,
    /// Forms of archives that may be asked for.
    archives: &'a [&'static str],
    /// Whether files may be put into the directory.
    takes_uploads: bool,
}

impl<'a> Listing<'a> {
    /// Reads a directory. May wait for the disk.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoPage`] if there are fewer pages; those of [`Place::for_each_name`].
    pub(crate) fn read(
        place: &Place<'a>,
        query: &'a Query,
        media_types: &'a MediaTypes,
    ) -> Result<Self, Refusal> {
        Self::read_within(LIMITS, place, query, media_types)
    }

    fn read_within(
        limits: Limits,
        place: &Place<'a>,
        query: &'a Query,
        media_types: &'a MediaTypes,
    ) -> Result<Self, Refusal> {
        let is_sorted_by_look = query.sort != Sort::Name;
        let wanted = query.filter.to_lowercase();
        let found = place.read(limits, is_sorted_by_look, |name| has(name, &wanted))?;
        Self::of_found(place.path, query, media_types, found, |name| place.with_look(name))
    }

    /// A page of the names that were found, each of its rows as `look` has it.
    fn of_found(
        path: &'a [u8],
        query: &'a Query,
        media_types: &'a MediaTypes,
        Names { mut names, are_cut: is_cut }: Names,
        look: impl FnMut(&Name) -> Option<Name>,
    ) -> Result<Self, Refusal> {
        let directories = names.iter().filter(|name| name.is_directory).count();
        let files = names.len() - directories;
        let start = query.page.checked_sub(1).and_then(|page| page.checked_mul(ROWS_MAX));
        // The first page is there even if there is nothing on it.
        let start = start.filter(|&start| start == 0 || start < names.len());
        let start = start.ok_or(Refusal::NoPage)?;
        let end = names.len().min(start.saturating_add(ROWS_MAX));
        let page = order::sort_within(&mut names, start..end, query);
        let rows = page.iter().filter_map(look).collect();
        Ok(Self {
            path,
            query,
            media_types,
            rows,
            directories,
            files,
            is_cut,
            archives: &[],
            takes_uploads: false,
        })
    }

    /// The same with references to archives of the directory.
    pub(crate) fn with_archives(self, archives: &'a [&'static str]) -> Self {
        Self { archives, ..self }
    }

    /// The same with a form to put files into the directory, or without.
    pub(crate) fn with_form(self, takes_uploads: bool) -> Self {
        Self { takes_uploads, ..self }
    }

    /// As a 200.
    pub(crate) fn into_answer(self) -> Answer {
        let (media_type, content, policy) = if self.query.is_json {
            ("application/json", self.json().into(), None)
        } else {
            ("text/html; charset=utf-8", self.page().into_string().into(), Some(self.policy()))
        };
        let media_type = HeaderValue::from_static(media_type);
        let mut answer = Answer::text(StatusCode::OK, media_type, content);
        answer.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let policy = policy.map(|policy| (http::header::CONTENT_SECURITY_POLICY, policy));
        answer.headers.extend(policy.map(|(name, value): (HeaderName, _)| (name, value)));
        answer
    }

    const fn total(&self) -> usize {
        self.directories + self.files
    }

    /// How many there are, of which the first is there even if it is empty.
    fn pages(&self) -> usize {
        self.total().div_ceil(ROWS_MAX).max(1)
    }
}

/// Whether a name has `wanted` in it, which is in lower case.
fn has(name: &[u8], wanted: &str) -> bool {
    wanted.is_empty() || String::from_utf8_lossy(name).to_lowercase().contains(wanted)
}

#[cfg(test)]
mod tests;
