//! Readers that wait for bytes, each at its own place.

use std::task::Waker;

/// Readers that wait. Its owner keeps it under the lock that the list of extents has, so that bytes
/// are either seen or heard of.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    readers: Vec<Option<(u64, Waker)>>,
    /// Places of `readers` without one.
    free: Vec<usize>,
}

impl Waiting {
    /// Waits for the byte at `at`, in the place that this reader has or in a new one.
    pub(crate) fn enter(&mut self, place: &mut Option<usize>, at: u64, waker: &Waker) {
        let index = *place.get_or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.readers.push(None);
                self.readers.len() - 1
            })
        });
        match &mut self.readers[index] {
            Some((old, known)) if known.will_wake(waker) => *old = at,
            reader => *reader = Some((at, waker.clone())),
        }
    }

    /// Gives a place back.
    pub(crate) fn leave(&mut self, place: &mut Option<usize>) {
        if let Some(index) = place.take() {
            self.readers[index] = None;
            self.free.push(index);
        }
    }

    /// Those who wait for a byte of which `is_theirs` is true; to be woken without the lock.
    pub(crate) fn take(&mut self, is_theirs: impl Fn(u64) -> bool) -> Vec<Waker> {
        let theirs = self
            .readers
            .iter_mut()
            .filter(|reader| reader.as_ref().is_some_and(|(at, _)| is_theirs(*at)));
        theirs.filter_map(|reader| reader.take().map(|(_, waker)| waker)).collect()
    }
}
