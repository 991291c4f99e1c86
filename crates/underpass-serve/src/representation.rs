//! What one open file is to HTTP: its length, validators and media type.
//!
//! Everything comes from one fstat(2) of the descriptor that is sent from, never of a name, so
//! length, entity-tag and bytes belong to the same file. The fields are made once and a request
//! clones them; the file is mapped once, so that its bytes can be queued by address and
//! never read.
//!
//! A file that was changed within the current second may change again without its timestamps
//! showing it. Until that second is over its entity-tag is weak and no `Last-Modified` is sent,
//! so that no client combines parts of two states.
//!
//! Source: RFC 9110 §8.6, §8.8.1 (strong and weak), §8.8.2.1, §8.8.2.2 (dates as strong
//! validators), §8.8.3; inode(7) (timestamps).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use rustix::fs::Stat;
use rustix::io::Errno;
use underpass::{FileBytes, MapError, Stability};

use crate::body::to_be_sent;
use crate::conditional::Validators;
use crate::{date, media_type};

/// inode(7) timestamps come from the kernel's coarse clock, which lags behind the precise one
/// by up to a tick: 10 ms where `CONFIG_HZ` is 100.
const CLOCK_LAG: Duration = Duration::from_millis(10);

/// A file's state as fstat(2) tells it. Two equal ones are the same content, unless it was
/// written twice within one tick of the file system's clock or through a writable mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    device: u64,
    inode: u64,
    size: i64,
    mtime: (i64, u64),
    ctime: (i64, u64),
}

/// An open regular file with the fields that describe it.
#[derive(Debug)]
pub struct Representation {
    description: Description,
    /// The whole file; none if it has no bytes, because nothing cannot be mapped.
    mapped: Option<Mapped>,
}

/// A mapped file, and the same as slices that only leave by address.
#[derive(Debug)]
struct Mapped {
    file: FileBytes,
    to_be_sent: Bytes,
}

/// What a file is apart from its bytes.
#[derive(Debug)]
struct Description {
    len: u64,
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
    /// The file cannot be mapped, or the policy about changes not be kept.
    #[error("cannot map the file")]
    Map(#[from] MapError),
}

impl Representation {
    /// Describes and maps an open regular file; `name` only tells its media type.
    ///
    /// # Errors
    ///
    /// [`RepresentationError`]; with [`Stability::Lease`] also while somebody writes to the file.
    pub fn of(
        file: impl Into<OwnedFd>,
        name: &Path,
        stability: Stability,
    ) -> Result<Self, RepresentationError> {
        Self::at(SystemTime::now(), file.into(), name, stability)
    }

    /// The same, as of `now`.
    pub(crate) fn at(
        now: SystemTime,
        file: OwnedFd,
        name: &Path,
        stability: Stability,
    ) -> Result<Self, RepresentationError> {
        let stat = rustix::fs::fstat(&file)?;
        let description = Description::new(&stat, name, now);
        let mapped = match description.len {
            0 => None,
            len => {
                let file = FileBytes::map(file, ..len, stability)?;
                Some(Mapped { to_be_sent: to_be_sent(file.clone()), file })
            }
        };
        Ok(Self { description, mapped })
    }

    /// The complete length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length of content, not of a collection")]
    pub fn len(&self) -> u64 {
        self.description.len
    }

    /// The bytes of the file; `None` if it has none.
    #[must_use]
    pub fn file(&self) -> Option<&FileBytes> {
        self.mapped.as_ref().map(|mapped| &mapped.file)
    }

    /// Bytes `range` of the file, by reference and for sending only; what is past its end is
    /// left out.
    pub(crate) fn to_be_sent(&self, range: Range<u64>) -> Bytes {
        let Some(Mapped { to_be_sent, .. }) = &self.mapped else { return Bytes::new() };
        let index = |at| usize::try_from(at).unwrap_or(usize::MAX).min(to_be_sent.len());
        to_be_sent.slice(index(range.start)..index(range.end))
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

    /// Whether the second of the last change is over, so that the validators are as good as they
    /// will get. What is not settled should be described anew for the next request.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.description.validators.etag.as_bytes().starts_with(b"W/")
    }
}

impl Description {
    /// Describes a regular file by what fstat(2) said of it at or before `now`.
    fn new(stat: &Stat, name: &Path, now: SystemTime) -> Self {
        let state = State::of(stat);
        // fstat(2) of a regular file: st_size is never negative.
        let len = u64::try_from(state.size).unwrap_or(0);
        let validators = state.validators(now);
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(CONTENT_TYPE, media_type::of(name));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        headers.insert(ETAG, validators.etag.clone());
        if validators.last_modified.is_some()
            && let Some(date) = date::imf_fixdate(state.mtime.0)
        {
            let date = HeaderValue::try_from(date).expect("a date is visible ASCII and spaces");
            headers.insert(LAST_MODIFIED, date);
        }
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self { len, validators, headers }
    }
}

impl State {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            ctime: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    fn validators(&self, now: SystemTime) -> Validators {
        // A clock before 1970 settles nothing.
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(CLOCK_LAG);
        let now_secs = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        // utimensat(2) sets mtime to anything but ctime only to now, hence ctime for the tag.
        let (mtime_secs, ctime_secs) = (self.mtime.0, self.ctime.0);
        let is_dated = mtime_secs < now_secs && ctime_secs < now_secs;
        let last_modified = u64::try_from(mtime_secs)
            .ok()
            .filter(|_| is_dated)
            .map(|secs| UNIX_EPOCH + Duration::from_secs(secs));
        Validators { etag: self.etag(ctime_secs >= now_secs), last_modified }
    }

    /// Hashed, because device and inode numbers should not be public and the five numbers
    /// would take three times the space.
    fn etag(&self, is_weak: bool) -> HeaderValue {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let weak = if is_weak { "W/" } else { "" };
        HeaderValue::try_from(format!("{weak}\"{:016x}\"", hasher.finish()))
            .expect("hexadecimal digits and quotes are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    /// 1994-11-06T08:49:37Z.
    const WRITTEN: i64 = 784_111_777;

    fn state(mtime: i64, ctime: i64) -> State {
        State { device: 1, inode: 2, size: 3, mtime: (mtime, 4), ctime: (ctime, 5) }
    }

    fn at(secs: i64, millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs.unsigned_abs()) + Duration::from_millis(millis)
    }

    fn is_weak(validators: &Validators) -> bool {
        validators.etag.as_bytes().starts_with(b"W/\"")
    }

    #[test]
    fn validators_are_strong_once_the_second_of_the_change_is_over() {
        let written = state(WRITTEN, WRITTEN);
        for (now, settled) in [
            (at(WRITTEN, 0), false),
            (at(WRITTEN, 999), false),
            (at(WRITTEN + 1, 9), false),
            (at(WRITTEN + 1, 10), true),
            (at(WRITTEN + 60, 0), true),
            (at(WRITTEN - 60, 0), false),
        ] {
            let validators = written.validators(now);
            assert_eq!(is_weak(&validators), !settled, "{now:?}");
            assert_eq!(validators.last_modified, settled.then(|| at(WRITTEN, 0)), "{now:?}");
        }
    }

    #[test]
    fn a_modification_date_set_by_hand_does_not_weaken_the_tag() {
        let now = at(WRITTEN + 60, 0);
        for mtime in [WRITTEN + 3600, -1, i64::MIN, i64::MAX] {
            let validators = state(mtime, WRITTEN).validators(now);
            assert!(!is_weak(&validators), "{mtime}");
            assert_eq!(validators.last_modified, None, "{mtime}");
        }
        assert_eq!(state(0, WRITTEN).validators(now).last_modified, Some(UNIX_EPOCH));
        // Content may have been written in this second and its date set back.
        let just_now = state(0, WRITTEN + 60).validators(now);
        assert!(is_weak(&just_now) && just_now.last_modified.is_none());
    }

    #[test]
    fn any_difference_of_state_is_a_different_tag() {
        let base = state(WRITTEN, WRITTEN);
        let others = [
            State { device: 9, ..base },
            State { inode: 9, ..base },
            State { size: 9, ..base },
            State { mtime: (WRITTEN, 9), ..base },
            State { ctime: (WRITTEN, 9), ..base },
        ];
        for other in others {
            assert_ne!(other.etag(false), base.etag(false), "{other:?}");
        }
        assert_eq!(base.etag(false).len(), 18);
    }

    #[test]
    fn the_fields_of_a_200_are_complete() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"twelve bytes", 0).unwrap();
        let later = SystemTime::now() + Duration::from_secs(2);
        let stat = rustix::fs::fstat(&file).unwrap();
        let Description { len, validators, headers } =
            Description::new(&stat, Path::new("a.txt"), later);
        for (name, value) in [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", "12"),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(headers[name], value);
        }
        assert_eq!((len, &headers["etag"]), (12, &validators.etag));
        let date = headers["last-modified"].to_str().unwrap();
        assert_eq!(httpdate::parse_http_date(date).ok(), validators.last_modified);
        assert_eq!(headers.len(), 6);
    }

    fn represented(file: File) -> Representation {
        Representation::of(file, Path::new("a"), Stability::None).unwrap()
    }

    #[test]
    fn a_file_of_1960_has_no_date_and_makes_no_panic() {
        let file = tempfile::tempfile().unwrap();
        file.set_modified(UNIX_EPOCH - Duration::from_secs(315_619_200)).unwrap();
        assert!(!represented(file).headers().contains_key("last-modified"));
    }

    #[test]
    fn what_is_to_be_sent_is_the_range_within_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        let digits = represented(file);
        assert_eq!(digits.to_be_sent(2..5).as_ref(), b"234");
        assert_eq!(digits.to_be_sent(8..u64::MAX).as_ref(), b"89");
        assert!(digits.to_be_sent(10..11).is_empty());
        let empty = represented(tempfile::tempfile().unwrap());
        assert!(empty.to_be_sent(0..1).is_empty() && empty.file().is_none());
    }

    #[test]
    fn a_lease_is_refused_while_somebody_writes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(b"abc", 0).unwrap();
        let reader = File::open(file.path()).unwrap();
        let error = Representation::of(reader, Path::new("a"), Stability::Lease).unwrap_err();
        let RepresentationError::Map(MapError::Call { errno: source, .. }) = error else {
            panic!("{error}");
        };
        assert_eq!(source, Errno::AGAIN);
    }
}
