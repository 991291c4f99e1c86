//! A file's state, as fstat(2) tells it, and the validators that it gives.
//!
//! A file that was changed within the current second may change again without its timestamps
//! showing it. Until that second is over its entity-tag is weak and no `Last-Modified` is sent,
//! so that no client combines parts of two states.
//!
//! Source: RFC 9110 §8.8.1 (strong and weak), §8.8.2.1, §8.8.2.2 (dates as strong validators),
//! §8.8.3; inode(7) (timestamps).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use rustix::fs::Stat;

use crate::conditional::Validators;

/// inode(7) timestamps come from the kernel's coarse clock, which lags behind the precise one
/// by up to a tick: 10 ms where `CONFIG_HZ` is 100.
const CLOCK_LAG: Duration = Duration::from_millis(10);

/// A file's state as fstat(2) tells it. Two equal ones are the same content, unless it was
/// written twice within one tick of the file system's clock or through a writable mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    device: u64,
    inode: u64,
    pub(crate) size: i64,
    pub(crate) mtime: (i64, u64),
    ctime: (i64, u64),
}

/// What an entity-tag is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EntityTags {
    /// All of a file's state: no two files on a machine have the same.
    #[default]
    Full,
    /// Its modification date and its size, in the form that nginx gives it: the same on every
    /// machine that has the file.
    MtimeSize,
}

impl State {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            ctime: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether a further change would show: the second of the last one is over.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        self.ctime.0 < settled_before(now)
    }

    pub(crate) fn validators(&self, now: SystemTime, tags: EntityTags) -> Validators {
        let now_secs = settled_before(now);
        // utimensat(2) sets mtime to anything but ctime only to now, hence ctime for the tag.
        let (mtime_secs, ctime_secs) = (self.mtime.0, self.ctime.0);
        let is_dated = mtime_secs < now_secs && ctime_secs < now_secs;
        let last_modified = u64::try_from(mtime_secs)
            .ok()
            .filter(|_| is_dated)
            .map(|secs| UNIX_EPOCH + Duration::from_secs(secs));
        Validators { etag: Some(self.etag(tags, !self.is_settled(now))), last_modified }
    }

    /// Hashed, because device and inode numbers should not be public and the five numbers
    /// would take three times the space.
    fn etag(&self, tags: EntityTags, is_weak: bool) -> HeaderValue {
        let weak = if is_weak { "W/" } else { "" };
        let tag = match tags {
            EntityTags::Full => {
                let mut hasher = DefaultHasher::new();
                self.hash(&mut hasher);
                format!("{weak}\"{:016x}\"", hasher.finish())
            }
            EntityTags::MtimeSize => format!("{weak}\"{:x}-{:x}\"", self.mtime.0, self.size),
        };
        HeaderValue::try_from(tag).expect("hexadecimal digits and quotes are visible ASCII")
    }
}

/// The second that timestamps may still have.
fn settled_before(now: SystemTime) -> i64 {
    // A clock before 1970 settles nothing.
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(CLOCK_LAG);
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06T08:49:37Z.
    const WRITTEN: i64 = 784_111_777;

    const FULL: EntityTags = EntityTags::Full;

    fn state(mtime: i64, ctime: i64) -> State {
        State { device: 1, inode: 2, size: 3, mtime: (mtime, 4), ctime: (ctime, 5) }
    }

    fn at(secs: i64, millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs.unsigned_abs()) + Duration::from_millis(millis)
    }

    fn is_weak(validators: &Validators) -> bool {
        validators.etag.as_ref().unwrap().as_bytes().starts_with(b"W/\"")
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
            let validators = written.validators(now, FULL);
            assert_eq!(is_weak(&validators), !settled, "{now:?}");
            assert_eq!(validators.last_modified, settled.then(|| at(WRITTEN, 0)), "{now:?}");
        }
    }

    #[test]
    fn a_modification_date_set_by_hand_does_not_weaken_the_tag() {
        let now = at(WRITTEN + 60, 0);
        for mtime in [WRITTEN + 3600, -1, i64::MIN, i64::MAX] {
            let validators = state(mtime, WRITTEN).validators(now, FULL);
            assert!(!is_weak(&validators), "{mtime}");
            assert_eq!(validators.last_modified, None, "{mtime}");
        }
        assert_eq!(state(0, WRITTEN).validators(now, FULL).last_modified, Some(UNIX_EPOCH));
        // Content may have been written in this second and its date set back.
        let just_now = state(0, WRITTEN + 60).validators(now, FULL);
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
            assert_ne!(other.etag(FULL, false), base.etag(FULL, false), "{other:?}");
        }
        assert_eq!(base.etag(FULL, false).len(), 18);
    }

    #[test]
    fn of_date_and_size_alone_the_tag_is_nginxs() {
        let tag = |state: State, is_weak| state.etag(EntityTags::MtimeSize, is_weak);
        let base = state(WRITTEN, WRITTEN);
        // nginx of a file of 3 bytes that was touched at that date.
        assert_eq!(tag(base, false), "\"2ebc98a1-3\"");
        assert_eq!(tag(base, true), "W/\"2ebc98a1-3\"");
        assert_eq!(
            tag(State { device: 9, inode: 9, ctime: (9, 9), ..base }, false),
            tag(base, false)
        );
        assert_ne!(tag(State { size: 4, ..base }, false), tag(base, false));
    }
}
