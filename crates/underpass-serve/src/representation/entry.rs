//! What an entry of a store is to HTTP: an object with the fields that its origin gave.
//!
//! Its bytes leave as those of a file do: of one that is whole in the very same way, and of one
//! that is on its way as far as they are there.
//!
//! Source: RFC 9110 §7.6.1 (fields of a connection), §8.8.3 (entity-tags), §14.3; RFC 9111 §3.1,
//! §5.1 (Age); RFC 9211 (Cache-Status).

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, ALT_SVC, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap,
    HeaderName, HeaderValue, LAST_MODIFIED, PROXY_AUTHENTICATE, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use rustix::io::Errno;
use underpass::{FileBytes, MapError, Stability, UnmappedFile};
use underpass_remote::{Entry, Head, Object};

use super::lifetime::{Clock, Lifetime};
use super::{Description, Mapped, Representation, RepresentationError, Source};
use crate::arriving::{Arriving, Name};
use crate::body::to_be_sent;
use crate::cached::Cached;
use crate::conditional::{Validators, sole};
use crate::origin::CacheStatus;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What is said of content that the origin was not asked for.
const HIT: HeaderValue = HeaderValue::from_static("underpass; hit");

/// Fields of the origin's answer that are not those of ours: they are about its connection, about
/// one client, or about what was sent at another time.
const LEFT_OUT: [HeaderName; 15] = [
    ACCEPT_RANGES,
    AGE,
    ALT_SVC,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    DATE,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// An entry that is to be represented.
#[derive(Debug, Clone)]
pub(crate) struct OfEntry {
    /// Who knows whether it is still the one under its key.
    pub(crate) entry: Option<Arc<Entry>>,
    pub(crate) object: Arc<Object>,
    /// Of its origin's answer. Another one has other fields.
    pub(crate) head: Arc<Head>,
    /// Whether it is known to be whole, and will not be written to again.
    pub(crate) is_whole: bool,
    /// What messages call it.
    pub(crate) name: Name,
    pub(crate) lifetime: Lifetime,
    /// How long a client waits without a byte of the object having come.
    pub(crate) origin_timeout: Duration,
}

impl OfEntry {
    /// Another descriptor of its file.
    pub(crate) fn duplicate(&self) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(self.object.file(), 0)
    }
}

/// What a representation knows of the entry that it is of.
#[derive(Debug)]
pub(super) struct Kept {
    entry: Option<Arc<Entry>>,
    object: Arc<Object>,
    head: Arc<Head>,
    clock: Clock,
}

impl Kept {
    fn is_fresh(&self) -> bool {
        self.clock.is_fresh() && self.entry.as_ref().is_none_or(|entry| !entry.is_removed())
    }
}

/// An object that is on its way, as what it is read from.
#[derive(Debug)]
pub(super) struct Coming {
    object: Arc<Object>,
    /// All of it, as if it were there.
    file: FileBytes,
    to_be_sent: Bytes,
    name: Name,
    timeout: Duration,
}

impl Coming {
    fn new(of: &OfEntry, file: OwnedFd) -> Result<Self, RepresentationError> {
        // It changes all the time; what is sent of it does not.
        let file = FileBytes::map(file, ..of.object.len(), Stability::None)?;
        let to_be_sent = to_be_sent(file.clone());
        let (object, name) = (Arc::clone(&of.object), Arc::clone(&of.name));
        Ok(Self { object, file, to_be_sent, name, timeout: of.origin_timeout })
    }

    /// These bytes, as they come.
    pub(super) fn part(&self, range: Range<u64>) -> Arriving {
        let wanted = self.object.want(range);
        let (file, bytes) = (self.file.clone(), self.to_be_sent.clone());
        Arriving::new(wanted, file, bytes, Arc::clone(&self.name), self.timeout)
    }
}

impl Representation {
    /// Describes an entry whose object is `file`, another descriptor of it. One that is not whole
    /// gives what has come.
    ///
    /// # Errors
    ///
    /// [`RepresentationError`].
    pub(crate) fn of_entry(of: &OfEntry, file: OwnedFd) -> Result<Self, RepresentationError> {
        let len = of.object.len();
        let source = if len == 0 {
            Source::Nowhere
        } else if of.is_whole {
            whole(of, file)?
        } else {
            Source::Coming(Coming::new(of, file)?)
        };
        let description = Description::of_origin(&of.head, len);
        let origin = Kept {
            entry: of.entry.clone(),
            object: Arc::clone(&of.object),
            head: Arc::clone(&of.head),
            clock: Clock::new(of.lifetime),
        };
        Ok(Self { origin: Some(origin), ..Self::made(description, source) })
    }

    /// Whether it is what `of` would give.
    pub(crate) fn is_of(&self, of: &OfEntry) -> bool {
        self.origin.as_ref().is_some_and(|origin| {
            Arc::ptr_eq(&origin.object, &of.object) && Arc::ptr_eq(&origin.head, &of.head)
        })
    }

    /// It is as old as that from now on, and fresh for as long.
    pub(crate) fn set_lifetime(&self, lifetime: Lifetime) {
        self.origin.iter().for_each(|origin| origin.clock.set(lifetime));
    }

    /// Whether it may be given out without asking its origin. A file may.
    pub(crate) fn is_fresh(&self) -> bool {
        self.origin.as_ref().is_none_or(Kept::is_fresh)
    }

    /// Adds how old an entry is.
    pub(crate) fn add_age(&self, headers: &mut HeaderMap) {
        if let Some(origin) = &self.origin {
            headers.insert(AGE, origin.clock.age().into());
        }
    }

    /// What the log tells of a request that it is given out for at once.
    pub(crate) fn cached(&self) -> Option<Cached> {
        self.origin.as_ref().map(|_| CacheStatus::Hit.in_log(None, None))
    }

    /// Adds what is said of an entry for which its origin was not asked.
    pub(crate) fn add_hit_fields(&self, headers: &mut HeaderMap) {
        self.add_age(headers);
        if self.origin.is_some() {
            headers.append(CACHE_STATUS, HIT);
        }
    }
}

/// A file that is whole is as any other.
fn whole(of: &OfEntry, file: OwnedFd) -> Result<Source, RepresentationError> {
    let len = of.object.len();
    match FileBytes::map(file, ..len, Stability::Guard) {
        Ok(file) => {
            let to_be_sent = to_be_sent(file.clone());
            Ok(Source::Mapped(Mapped { file, to_be_sent, is_watched: true }))
        }
        Err(MapError::TooMany { .. }) => {
            let file = of.duplicate()?;
            Ok(Source::Unmapped(UnmappedFile::new(file, ..len, Stability::Guard)?))
        }
        Err(error) => Err(error.into()),
    }
}

impl Description {
    /// What an origin says of content of this length.
    fn of_origin(head: &Head, len: u64) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in head.fields() {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_bytes(value.as_bytes());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        leave_out(&mut headers);
        let validators = validators(&headers);
        let is_strong = validators.etag.as_ref().is_some_and(|tag| !is_weak(tag));
        let parts = HeaderValue::from_static(if is_strong { "bytes" } else { "none" });
        headers.insert(ACCEPT_RANGES, parts);
        headers.insert(CONTENT_LENGTH, len.into());
        Self { len: Some(len), validators, headers }
    }
}

/// Also what the field about the connection names.
fn leave_out(headers: &mut HeaderMap) {
    let of_connection = headers.get_all(CONNECTION).iter();
    let named = of_connection.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let named: Vec<_> =
        named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    for name in named.iter().chain(&LEFT_OUT) {
        headers.remove(name);
    }
}

/// What has no quotes is not a tag: no client could ask for it.
fn validators(headers: &HeaderMap) -> Validators {
    let is_tag = |tag: &&HeaderValue| {
        let tag = tag.as_bytes();
        let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
        tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\"")
    };
    let etag = sole(headers, &ETAG).filter(is_tag).cloned();
    let date = sole(headers, &LAST_MODIFIED).and_then(|date| date.to_str().ok());
    let last_modified = date.and_then(|date| httpdate::parse_http_date(date).ok());
    Validators { etag, last_modified }
}

fn is_weak(tag: &HeaderValue) -> bool {
    tag.as_bytes().starts_with(b"W/")
}

#[cfg(test)]
mod tests;
