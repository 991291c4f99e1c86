//! Paths of which the origin said that there is nothing, or nothing to keep, known for a while.
//!
//! Without it each request for what is not there would reach the origin, and those for what may
//! not be kept would wait for one another.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use lru::LruCache;
use underpass_remote::Key;

use super::policy::Why;

/// The most paths that are remembered; the one used longest ago makes room.
const PATHS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The origin answers with this status.
    Absent(StatusCode),
    /// Its answers are not kept.
    Relayed(Why),
}

/// Paths without anything to keep.
#[derive(Debug)]
pub(crate) struct Negative(Mutex<LruCache<Key, (Known, Instant)>>);

impl Default for Negative {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(PATHS_MAX)))
    }
}

impl Negative {
    /// What is known of it at this time.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<Known> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, until) = *all.get(key)?;
        if now < until {
            return Some(known);
        }
        all.pop(key);
        None
    }

    /// It is so from now on, for a time.
    pub(crate) fn put(&self, key: Key, known: Known, now: Instant, time: Duration) {
        let until = now.checked_add(time);
        if let Some(until) = until.filter(|_| time > Duration::ZERO) {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.put(key, (known, until));
        }
    }

    /// Nothing is known of it any more; whether something was.
    pub(crate) fn forget(&self, key: &Key) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop(key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Key {
        Key::new(format!("http://o{path}")).unwrap()
    }

    #[test]
    fn what_is_not_there_is_known_for_its_time_and_no_longer() {
        let (paths, now) = (Negative::default(), Instant::now());
        let absent = Known::Absent(StatusCode::NOT_FOUND);
        paths.put(key("/a"), absent, now, Duration::from_secs(10));
        paths.put(key("/b"), absent, now, Duration::ZERO);
        let after = |path, millis| paths.get(&key(path), now + Duration::from_millis(millis));
        assert_eq!([after("/a", 9_999), after("/b", 0)], [Some(absent), None]);
        assert_eq!([after("/a", 10_000), after("/a", 0)], [None, None], "it was forgotten");
        paths.put(key("/a"), absent, now, Duration::from_secs(10));
        assert!(paths.forget(&key("/a")));
        assert_eq!((after("/a", 0), paths.forget(&key("/a"))), (None, false));
    }

    #[test]
    fn only_so_many_paths_are_known() {
        let (paths, now) = (Negative::default(), Instant::now());
        let absent = Known::Absent(StatusCode::NOT_FOUND);
        for number in 0..=PATHS_MAX.get() {
            paths.put(key(&format!("/{number}")), absent, now, Duration::from_secs(10));
        }
        assert_eq!(paths.get(&key("/0"), now), None);
        assert_eq!(paths.get(&key("/1"), now), Some(absent));
        assert_eq!(paths.0.lock().unwrap().len(), PATHS_MAX.get());
    }
}
