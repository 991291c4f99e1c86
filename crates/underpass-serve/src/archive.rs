//! A directory as one file: a tar or a zip of everything in it that is served.
//!
//! Its length, and a tag of every byte that it will have, are known once the directory has been
//! walked through; it is made while it is sent, and files in it leave as they do by themselves. So
//! a range of it can be asked for, and a download that broke off be resumed. A file that is changed
//! after the walk cuts the archive off there: no client takes it for whole.
//!
//! Source: RFC 9110 §8.8.3, §14; RFC 6266 (Content-Disposition); RFC 8187 (its file name).

mod checksum;
mod parts;
mod tar;
mod walk;
mod zip;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use underpass::Stability;

use crate::answer::{Answer, Content};
use crate::conditional::Validators;
use crate::listing::read::Place;
use crate::range::{self, Selection};
use crate::refusal::Refusal;
use crate::root::Root;
use crate::sequence::Sequence;
use crate::target;
use checksum::Checksums;
use parts::{Files, Layout, Segments};
use walk::{LIMITS, Members, WalkError};

/// Directories that are walked through at a time.
const WALKERS_MAX: usize = 4;

/// What an archive of the root is called; its own name is not public.
const ROOT: &[u8] = b"files";

/// A form of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `.tar`
    Tar,
    /// `.zip`
    Zip,
}

/// What is neither a form of archives nor a list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give tar, zip, both with a comma, or off")]
pub struct FormatsError;

/// Forms of archives that are made, in the order in which they are offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Formats(Vec<Format>);

impl Format {
    const ALL: [Self; 2] = [Self::Tar, Self::Zip];

    const fn word(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Zip => "zip",
        }
    }

    const fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Tar => "application/x-tar",
            Self::Zip => "application/zip",
        })
    }
}

impl Formats {
    /// Whether there is none.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Formats {
    type Err = FormatsError;

    fn from_str(text: &str) -> Result<Self, FormatsError> {
        if text == "off" {
            return Ok(Self::default());
        }
        let mut formats = Vec::new();
        for word in text.split(',') {
            let known = Format::ALL.into_iter().find(|format| format.word() == word);
            formats.push(known.filter(|format| !formats.contains(format)).ok_or(FormatsError)?);
        }
        Ok(Self(formats))
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_off() {
            return f.write_str("off");
        }
        f.write_str(&self.0.iter().map(|format| format.word()).collect::<Vec<_>>().join(","))
    }
}

/// Archives of directories, and who makes them.
#[derive(Debug)]
pub struct Archives {
    formats: Formats,
    words: Vec<&'static str>,
    size_max: Option<u64>,
    pub(crate) walkers: Arc<Semaphore>,
    /// Members of all archives that are being sent, which are in memory until they are.
    members: Arc<Semaphore>,
    checksums: Arc<Checksums>,
}

impl Archives {
    /// Archives of these forms, of at most this many bytes.
    #[must_use]
    pub fn new(formats: Formats, size_max: Option<u64>) -> Self {
        let words = formats.0.iter().map(|format| format.word()).collect();
        let walkers = Arc::new(Semaphore::new(WALKERS_MAX));
        let members = Arc::new(Semaphore::new(LIMITS.members));
        Self { formats, words, size_max, walkers, members, checksums: Arc::default() }
    }

    /// The forms by their words.
    pub(crate) fn words(&self) -> &[&'static str] {
        &self.words
    }

    /// The form of a word that a request has.
    pub(crate) fn format(&self, word: &str) -> Option<Format> {
        self.formats.0.iter().copied().find(|format| format.word() == word)
    }

    /// Walks through a directory for an archive of it, but for the paths that are to be left out.
    /// May wait for the disk.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] if archives that are being sent have too many members already,
    /// [`Refusal::TooLarge`] if it would be more than an archive may be; those of looking.
    pub(crate) fn walk(
        &self,
        format: Format,
        root: &Arc<Root>,
        place: &Place<'_>,
        stability: Stability,
        is_left_out: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Archive, Refusal> {
        let members = Members::of(place, LIMITS, is_left_out).map_err(|error| match error {
            WalkError::TooMany => Refusal::TooLarge,
            WalkError::Open(error) => error.into(),
        })?;
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.members).try_acquire_many_owned(count);
        let room = room.map_err(|_| Refusal::Busy)?;
        let name = name(place.path);
        let layout = Layout { format, prefix: [&name, &b"/"[..]].concat(), members };
        let len = layout.len();
        if self.size_max.is_some_and(|max| len > max) {
            return Err(Refusal::TooLarge);
        }
        let (root, path) = (Arc::clone(root), place.path.to_vec());
        let files = Files { root, path, stability, checksums: Arc::clone(&self.checksums) };
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, format.media_type());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        headers.insert(CONTENT_DISPOSITION, disposition(&name, format));
        headers.insert(ETAG, tag(&layout));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(Archive { headers, len, layout, files, room })
    }
}

/// `tar,zip up to 1000 bytes`.
impl fmt::Display for Archives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size_max {
            Some(max) => write!(f, "{} up to {max} bytes", self.formats),
            None => write!(f, "{} of any size", self.formats),
        }
    }
}

/// An archive that can be sent.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Those of a 200.
    pub(crate) headers: HeaderMap,
    len: u64,
    layout: Layout,
    files: Files,
    /// Given back when it was sent.
    room: OwnedSemaphorePermit,
}

impl Archive {
    /// The answer to a request for it.
    pub(crate) fn into_answer(self, request: &Parts) -> Answer {
        let etag = self.headers.get(ETAG).cloned();
        let current = Validators { etag, last_modified: None };
        let selected =
            Answer::select(&request.method, &request.headers, &current, Some(self.len), 1);
        match selected {
            Err(verdict) => Answer::refused(verdict, &self.headers),
            Ok(Selection::Unsatisfiable) => Answer::unsatisfiable(self.len),
            Ok(Selection::Part(part)) => {
                let mut headers = self.headers.clone();
                headers.insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
                headers.insert(CONTENT_RANGE, range::content_range(&part, self.len));
                let content = Content::Sequence(self.part(part));
                Answer { status: StatusCode::PARTIAL_CONTENT, headers, content, cached: None }
            }
            Ok(Selection::Whole | Selection::Parts(_)) => {
                let (headers, len) = (self.headers.clone(), self.len);
                Answer {
                    status: StatusCode::OK,
                    headers,
                    content: Content::Sequence(self.part(0..len)),
                    cached: None,
                }
            }
        }
    }

    fn part(self, part: std::ops::Range<u64>) -> Sequence {
        let len = part.end - part.start;
        Sequence::made_of(Segments::new(self, part), len)
    }
}

/// What a directory is called.
fn name(path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    if last.is_empty() { ROOT.to_vec() } else { last.to_vec() }
}

/// A tag of every byte. Files that may still change without a sign of it make it a weak one.
fn tag(layout: &Layout) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    (layout.format, &layout.prefix).hash(&mut hasher);
    layout.members.digest(&mut hasher);
    let weak = if layout.members.are_settled() { "" } else { "W/" };
    HeaderValue::try_from(format!("{weak}\"{:016x}\"", hasher.finish()))
        .expect("hexadecimal digits and quotes are visible ASCII")
}

/// RFC 6266 §4.3: to be saved, under this name; where it is not plain, also under one that every
/// client can read.
fn disposition(name: &[u8], format: Format) -> HeaderValue {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'%');
    let plain = |&byte: &u8| if is_plain(byte) { char::from(byte) } else { '_' };
    let (plain, word): (String, _) = (name.iter().map(plain).collect(), format.word());
    let mut text = format!("attachment; filename=\"{plain}.{word}\"");
    if plain.as_bytes() != name && std::str::from_utf8(name).is_ok() {
        text += &format!("; filename*=UTF-8''{}.{word}", target::encode(name));
    }
    HeaderValue::try_from(text).expect("what is not visible ASCII was replaced or encoded")
}

#[cfg(test)]
mod tests;
