//! What one open file is to HTTP: its length, validators and media type.
//!
//! Everything comes from one fstat(2) of the descriptor that is sent from, never of a name, so
//! length, entity-tag and bytes belong to the same file. The fields are made once and a request
//! clones them; the file is mapped once, so that its bytes can be queued by address and
//! never read.
//!
//! What cannot be mapped is read: the file systems that refuse it are slow anyway. Where the size
//! is not that of the content, as in procfs, neither length nor validators are given.
//!
//! Source: RFC 9110 §8.6, §14.3; readv(2), `RWF_NOWAIT`.

#[cfg(feature = "remote")]
pub(crate) mod entry;
#[cfg(feature = "remote")]
pub(crate) mod lifetime;
mod plain_answer;

use std::borrow::Cow;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use rustix::fs::Stat;
use rustix::io::{Errno, ReadWriteFlags};
use underpass::{COPY_MAX_BYTES, FileBytes, MapError, Stability, UnmappedFile};

#[cfg(feature = "remote")]
use crate::arriving::ArrivingFrames;
use crate::body::{Payload, Readable, to_be_sent};
#[cfg(not(feature = "remote"))]
use crate::cached::Cached;
use crate::conditional::Validators;
use crate::date::{self, Second};
use crate::metadata_rules::MetadataRules;
use crate::reading::Reading;
use crate::representation::plain_answer::PlainAnswer;
use crate::siblings::Siblings;
use crate::state::State;
use crate::until_end::{Front, UntilEnd};

/// An open regular file with the fields that describe it.
#[derive(Debug)]
pub struct Representation {
    description: Description,
    source: Source,
    siblings: Siblings,
    /// Once it was asked for.
    plain: Mutex<Option<PlainAnswer>>,
    /// What is known of the entry that it is of.
    #[cfg(feature = "remote")]
    origin: Option<entry::Kept>,
}

/// Where the bytes of a whole file are taken from.
#[derive(Debug)]
enum Source {
    /// There are none, and nothing cannot be mapped.
    Nowhere,
    Mapped(Mapped),
    Unmapped(UnmappedFile),
    /// They were read.
    Memory(Bytes),
    /// There is no telling how many there are.
    UntilEnd(UntilEnd),
    /// They are on their way.
    #[cfg(feature = "remote")]
    Coming(entry::Coming),
}

/// A mapped file, and the same as slices that only leave by address.
#[derive(Debug)]
struct Mapped {
    file: FileBytes,
    to_be_sent: Bytes,
    /// Whether changes of the file are looked for before each answer, and bytes need not be read
    /// anew for each.
    is_watched: bool,
}

/// What a file is apart from its bytes.
#[derive(Debug)]
struct Description {
    len: Option<u64>,
    validators: Validators,
    headers: HeaderMap,
}

/// Why an open file cannot be represented.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepresentationError {
    /// What fstat(2) answered, such as `EIO`, or `ESTALE` on a network file system.
    #[error("cannot look at the file")]
    Look(#[from] Errno),
    /// What pread(2) answered, such as `EIO` of what has nothing to be read.
    #[error("cannot read the file")]
    Read(#[source] Errno),
    /// The file cannot be mapped, or the policy about changes not be kept.
    #[error("cannot map the file")]
    Map(#[from] MapError),
    /// It says that it is empty, which is to be tried: see [`Representation::read`].
    #[error("the file may have content although its size is 0")]
    Sizeless,
}

impl Representation {
    /// Describes and maps an open regular file; `name` only tells its media type, by `rules`.
    ///
    /// # Errors
    ///
    /// [`RepresentationError`]; with [`Stability::Lease`] also while somebody writes to the file.
    pub fn of(
        file: impl Into<OwnedFd>,
        name: &Path,
        stability: Stability,
        rules: &MetadataRules,
    ) -> Result<Self, RepresentationError> {
        Self::at(SystemTime::now(), file.into(), name, stability, rules)
    }

    /// The same, as of `now`.
    pub(crate) fn at(
        now: SystemTime,
        file: OwnedFd,
        name: &Path,
        stability: Stability,
        rules: &MetadataRules,
    ) -> Result<Self, RepresentationError> {
        let stat = rustix::fs::fstat(&file)?;
        let (len, description) = (size(&stat), Description::new(&stat, name, now, rules));
        let source = if len > 0 {
            let file = FileBytes::map(file, ..len, stability)?;
            let is_watched = matches!(stability, Stability::Guard | Stability::Lease);
            let to_be_sent = to_be_sent(file.clone());
            Source::Mapped(Mapped { file, to_be_sent, is_watched })
        } else if is_empty(&file) {
            Source::Nowhere
        } else {
            return Err(RepresentationError::Sizeless);
        };
        Ok(Self::made(description, source))
    }

    /// Describes an open regular file that cannot be mapped, or whose size may not be that of its
    /// content. May wait.
    ///
    /// # Errors
    ///
    /// [`RepresentationError`], as for [`Representation::of`].
    pub fn read(
        file: impl Into<OwnedFd>,
        name: &Path,
        stability: Stability,
        rules: &MetadataRules,
    ) -> Result<Self, RepresentationError> {
        let file = file.into();
        let stat = rustix::fs::fstat(&file)?;
        let len = size(&stat);
        if len > 0 && ends_at(&file, len).map_err(RepresentationError::Read)? {
            let source = Source::Unmapped(UnmappedFile::new(file, ..len, stability)?);
            let description = Description::new(&stat, name, SystemTime::now(), rules);
            return Ok(Self::made(description, source));
        }
        let (len, source) = match Front::read(file).map_err(RepresentationError::Read)? {
            Front::Whole(bytes) if bytes.is_empty() && len == 0 => {
                let description = Description::new(&stat, name, SystemTime::now(), rules);
                return Ok(Self::made(description, Source::Nowhere));
            }
            Front::Whole(bytes) => (Some(bytes.len() as u64), Source::Memory(bytes)),
            Front::Part(pieces) => (None, Source::UntilEnd(pieces)),
        };
        Ok(Self::made(Description::without_validators(len, name, rules), source))
    }

    fn made(description: Description, source: Source) -> Self {
        Self {
            description,
            source,
            siblings: Siblings::default(),
            plain: Mutex::default(),
            #[cfg(feature = "remote")]
            origin: None,
        }
    }

    /// The files that hold it in a content coding.
    pub(crate) const fn siblings(&self) -> &Siblings {
        &self.siblings
    }

    /// The complete length in bytes; `None` if only reading to the end tells.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length of content, not of a collection")]
    pub fn len(&self) -> Option<u64> {
        self.description.len
    }

    /// Whether parts of it are sent: two parts of what an origin calls equal may not fit together.
    pub(crate) fn has_parts(&self) -> bool {
        #[cfg(feature = "remote")]
        return self.origin.is_none() || self.is_settled();
        #[cfg(not(feature = "remote"))]
        true
    }

    /// The mapped bytes of the file; `None` if it has none, or is not mapped.
    #[must_use]
    pub fn file(&self) -> Option<&FileBytes> {
        Some(&self.mapped()?.file)
    }

    /// Whether sending it has found that the file is not as it was described.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        match &self.source {
            Source::Mapped(mapped) => mapped.file.has_changed(),
            Source::Unmapped(file) => file.has_changed(),
            Source::Nowhere | Source::Memory(_) | Source::UntilEnd(_) => false,
            #[cfg(feature = "remote")]
            Source::Coming(_) => false,
        }
    }

    /// Bytes `range` of the file, which are within it: for sending only, those of a mapping by
    /// reference.
    pub(crate) fn to_be_sent(&self, range: Range<u64>) -> Payload {
        let index = |at| usize::try_from(at).unwrap_or(usize::MAX);
        let slice = |bytes: &Bytes| {
            bytes.slice(index(range.start).min(bytes.len())..index(range.end).min(bytes.len()))
        };
        match &self.source {
            Source::Nowhere => Payload::Bytes(Bytes::new()),
            Source::Mapped(mapped) => Payload::Bytes(slice(&mapped.to_be_sent)),
            Source::Memory(bytes) => Payload::Bytes(slice(bytes)),
            Source::Unmapped(file) => {
                let len = range.end - range.start;
                let pieces =
                    file.slice(range).into_iter().flat_map(UnmappedFile::into_copied_frames);
                let pieces = pieces.map(|piece| piece.map_err(io::Error::from));
                Payload::Reading(Reading::new(pieces, Some(len)))
            }
            Source::UntilEnd(pieces) => Payload::Reading(Reading::new(pieces.clone(), None)),
            #[cfg(feature = "remote")]
            Source::Coming(coming) => Payload::Arriving(Box::new(coming.part(range))),
        }
    }

    /// The same where it is looked at on its way.
    pub(crate) fn to_be_read(&self, range: Range<u64>) -> Readable {
        #[cfg(feature = "remote")]
        if let Source::Coming(coming) = &self.source {
            return Readable::Arriving(ArrivingFrames::new(coming.part(range)));
        }
        let Source::Mapped(mapped) = &self.source else {
            return Readable::Payload(self.to_be_sent(range));
        };
        let index = |at| usize::try_from(at).unwrap_or(usize::MAX).min(mapped.file.len());
        let range = index(range.start)..index(range.end);
        match self.in_memory() {
            Some(bytes) => Readable::Payload(Payload::Bytes(bytes.slice(range))),
            None => {
                let part = mapped.file.slice(range).expect("it is within the file");
                Readable::Frames(part.into_copied_frames())
            }
        }
    }

    /// The head of a 200 of HTTP/1.1 that sends all of it, and its length; behind it the content,
    /// if that is in memory.
    pub(crate) fn plain_answer(&self) -> (Bytes, usize) {
        self.with_plain_answer(|plain, small| {
            let whole = small.and_then(|file| whole(plain, file));
            (whole.unwrap_or_else(|| plain.head()), plain.head_bytes())
        })
    }

    /// The content of a small file from memory: less than reading it anew.
    fn in_memory(&self) -> Option<Bytes> {
        self.with_plain_answer(|plain, small| {
            let whole = whole(plain, small?)?;
            Some(whole.slice(plain.head_bytes()..))
        })
    }

    /// `f` of the answer with the date of now, and of the file if it may be kept in memory.
    fn with_plain_answer<R>(&self, f: impl FnOnce(&mut PlainAnswer, Option<&FileBytes>) -> R) -> R {
        let now = Second::now();
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        let plain = plain.get_or_insert_with(|| PlainAnswer::new(&self.plain_headers(), &now));
        if !plain.is_of(&now) {
            match self.plain_headers() {
                Cow::Borrowed(_) => plain.set_date(&now),
                // The age has another length, may be.
                Cow::Owned(headers) => plain.set_head(&headers, &now),
            }
        }
        let small = |file: &&Mapped| file.is_watched && file.file.len() <= COPY_MAX_BYTES;
        f(plain, self.mapped().filter(small).map(|mapped| &mapped.file))
    }

    /// The fields of a plain 200, of which some of an entry's depend on the second.
    fn plain_headers(&self) -> Cow<'_, HeaderMap> {
        #[cfg(feature = "remote")]
        if self.origin.is_some() {
            let mut headers = self.headers().clone();
            self.add_hit_fields(&mut headers);
            return Cow::Owned(headers);
        }
        Cow::Borrowed(self.headers())
    }

    /// What the log tells of a request that it is given out for at once.
    #[cfg(not(feature = "remote"))]
    pub(crate) const fn cached(&self) -> Option<Cached> {
        None
    }

    fn mapped(&self) -> Option<&Mapped> {
        let Source::Mapped(mapped) = &self.source else { return None };
        Some(mapped)
    }

    /// Entity-tag and modification date.
    #[must_use]
    pub fn validators(&self) -> &Validators {
        &self.description.validators
    }

    /// The fields of a 200 that sends all of it, `Content-Length` included.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.description.headers
    }

    /// The same, to be added to by what is known of its path.
    pub(crate) const fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.description.headers
    }

    /// Whether the second of the last change is over, so that the validators are as good as they
    /// will get. What is not settled should be described anew for the next request.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let etag = self.description.validators.etag.as_ref();
        etag.is_some_and(|etag| !etag.as_bytes().starts_with(b"W/"))
    }
}

impl Description {
    /// Describes a regular file by what fstat(2) said of it at or before `now`.
    fn new(stat: &Stat, name: &Path, now: SystemTime, rules: &MetadataRules) -> Self {
        let state = State::of(stat);
        let validators = state.validators(now, rules.entity_tags);
        let is_dated = validators.last_modified.is_some();
        let modified = is_dated.then(|| date::imf_fixdate(state.mtime.0)).flatten();
        Self::with(validators, modified, Some(size(stat)), rules.media_types.of(name))
    }

    /// Describes content of which two answers may differ without a sign: no parts of it are sent.
    fn without_validators(len: Option<u64>, name: &Path, rules: &MetadataRules) -> Self {
        let validators = Validators { etag: None, last_modified: None };
        Self::with(validators, None, len, rules.media_types.of(name))
    }

    fn with(
        validators: Validators,
        modified: Option<String>,
        len: Option<u64>,
        media_type: HeaderValue,
    ) -> Self {
        let parts = if validators.etag.is_some() { "bytes" } else { "none" };
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(CONTENT_TYPE, media_type);
        headers.extend(len.map(|len| (CONTENT_LENGTH, HeaderValue::from(len))));
        headers.extend(validators.etag.clone().map(|etag| (ETAG, etag)));
        if let Some(date) = modified {
            let date = HeaderValue::try_from(date).expect("a date is visible ASCII and spaces");
            headers.insert(LAST_MODIFIED, date);
        }
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static(parts));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self { len, validators, headers }
    }
}

/// fstat(2) of a regular file: `st_size` is never negative.
fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Head and content of a small file, if the policy about changes vouches for it now.
fn whole(plain: &mut PlainAnswer, file: &FileBytes) -> Option<Bytes> {
    if let Some(whole) = plain.whole() {
        return file.is_vouched_for().then_some(whole);
    }
    let content = read_now(file)?;
    // A file that changed while it was read is not vouched for.
    if !file.is_vouched_for() {
        return None;
    }
    plain.set_content(&content);
    plain.whole()
}

/// The bytes of a file, if all of them can be read without waiting.
fn read_now(file: &FileBytes) -> Option<Vec<u8>> {
    let mut bytes = vec![0; file.len()];
    let mut into = [IoSliceMut::new(&mut bytes)];
    let read = rustix::io::preadv2(file.file(), &mut into, 0, ReadWriteFlags::NOWAIT);
    (read == Ok(file.len())).then_some(bytes)
}

/// Whether a file of size 0 has no content for certain, as far as can be told without waiting:
/// procfs and FUSE know no `RWF_NOWAIT`, nor does tmpfs.
fn is_empty(file: &OwnedFd) -> bool {
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(file, &mut into, 0, ReadWriteFlags::NOWAIT) == Ok(0)
}

/// Whether a file can be read up to byte `len`, its size a moment ago, and no further, unless it
/// has grown.
fn ends_at(file: &OwnedFd, len: u64) -> Result<bool, Errno> {
    let reads = |at| {
        let mut byte = [0];
        rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut byte, at)).map(|n| n > 0)
    };
    Ok(reads(len - 1)? && (!reads(len)? || size(&rustix::fs::fstat(file)?) > len))
}

#[cfg(test)]
mod tests;
