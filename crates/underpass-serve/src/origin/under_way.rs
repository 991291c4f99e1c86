//! What was asked for before a purge: nothing of that is kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use underpass_remote::Key;

use super::lock;

/// Whether a key was purged since it was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark(Arc<AtomicBool>);

impl Mark {
    /// To be asked before something is kept, and once more after it: a purge marks first, and then
    /// removes what is there.
    pub(super) fn is_purged(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The marks of what is under way, by key.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<Key, Weak<AtomicBool>>>);

impl UnderWay {
    /// A mark for what is asked for from now on.
    pub(super) fn begin(&self, key: &Key) -> Mark {
        let mut all = lock(&self.0);
        if let Some(known) = all.get(key).and_then(Weak::upgrade) {
            return Mark(known);
        }
        if all.len() == all.capacity() {
            all.retain(|_, mark| mark.strong_count() > 0);
        }
        let mark = Arc::default();
        all.insert(key.clone(), Arc::downgrade(&mark));
        Mark(mark)
    }

    /// Marks what was asked for so far.
    pub(super) fn purge(&self, key: &Key) {
        if let Some(mark) = lock(&self.0).remove(key).and_then(|mark| mark.upgrade()) {
            mark.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_marks_what_was_asked_for_and_nothing_later() {
        let (all, key) = (UnderWay::default(), |path: &str| Key::new(format!("http://o{path}")));
        let (a, b) = (key("/a").unwrap(), key("/b").unwrap());
        let (first, second, other) = (all.begin(&a), all.begin(&a), all.begin(&b));
        all.purge(&a);
        let later = all.begin(&a);
        let marks = [&first, &second, &other, &later].map(Mark::is_purged);
        assert_eq!(marks, [true, true, false, false]);
        all.purge(&a);
        assert!(later.is_purged());
    }

    #[test]
    fn what_has_ended_is_not_remembered() {
        let all = UnderWay::default();
        for number in 0..10_000 {
            drop(all.begin(&Key::new(format!("http://o/{number}")).unwrap()));
        }
        assert!(lock(&all.0).len() < 100, "{}", lock(&all.0).len());
    }
}
