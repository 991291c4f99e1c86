//! What is asked for once for all who wait, and believed for a while.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::lock;

type Slot<T, E> = Arc<tokio::sync::Mutex<Option<(Instant, Result<T, E>)>>>;

/// What was said of a number of names; the one used longest ago makes room.
#[derive(Debug)]
pub(super) struct Once<T, E>(Mutex<LruCache<Box<str>, Slot<T, E>>>);

impl<T: Clone, E: Clone> Once<T, E> {
    pub(super) fn of(names_max: NonZeroUsize) -> Self {
        Self(Mutex::new(LruCache::new(names_max)))
    }

    /// What is said of a name, and whether it was asked for by another. An error is told to those
    /// who wait, and not believed.
    pub(super) async fn get(
        &self,
        name: &str,
        believed_for: Duration,
        ask: impl Future<Output = Result<T, E>>,
    ) -> (Result<T, E>, bool) {
        let came = Instant::now();
        let slot = Arc::clone(lock(&self.0).get_or_insert(name.into(), Slot::default));
        let mut said = slot.lock().await;
        if let Some((at, it)) = &*said
            && (*at >= came || (it.is_ok() && at.elapsed() < believed_for))
        {
            return (it.clone(), true);
        }
        let it = ask.await;
        *said = Some((Instant::now(), it.clone()));
        (it, false)
    }

    /// Nothing is known of a name any more; whether something was.
    pub(super) fn forget(&self, name: &str) -> bool {
        lock(&self.0).pop(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    fn names() -> Once<u32, u32> {
        Once::of(NonZeroUsize::MIN)
    }

    #[tokio::test]
    async fn those_who_wait_share_what_one_asked_for() {
        let (names, asked) = (names(), Cell::new(0));
        for result in [Ok(1), Err(2)] {
            asked.set(0);
            let ask = || async {
                asked.set(asked.get() + 1);
                tokio::task::yield_now().await;
                result
            };
            let get = || names.get("a", Duration::ZERO, ask());
            let all = tokio::join!(get(), get(), get());
            assert_eq!(all, ((result, false), (result, true), (result, true)));
            assert_eq!(asked.get(), 1, "{result:?}");
        }
    }

    #[tokio::test]
    async fn what_was_said_is_believed_for_its_time_and_an_error_is_not() {
        let names = names();
        let get = |time, result| names.get("a", time, std::future::ready(result));
        assert_eq!(get(LONG, Err(1)).await, (Err(1), false));
        assert_eq!(get(LONG, Ok(2)).await, (Ok(2), false));
        assert_eq!(get(LONG, Ok(3)).await, (Ok(2), true));
        assert_eq!(get(Duration::ZERO, Ok(4)).await, (Ok(4), false));
        assert!(names.forget("a") && !names.forget("a"));
        assert_eq!(get(LONG, Ok(5)).await, (Ok(5), false));
        // There is room for one.
        assert_eq!(names.get("b", LONG, std::future::ready(Ok(6))).await, (Ok(6), false));
        assert_eq!(get(LONG, Ok(7)).await, (Ok(7), false));
    }
}
