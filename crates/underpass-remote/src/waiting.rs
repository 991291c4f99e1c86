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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    const READERS: usize = 3;
    const LENGTH: u32 = 5;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A reader, and what it would be without a list.
    #[derive(Default)]
    struct Reader {
        place: Option<usize>,
        count: Arc<Count>,
        waits_for: Option<u64>,
        woken: usize,
    }

    /// All orders of what readers of two bytes and those who bring them can do under the lock.
    #[test]
    fn in_every_order_those_are_woken_who_wait_and_no_others() {
        // Each reader waits for one byte or the other, or leaves; then either byte comes.
        let steps = READERS * 3 + 2;
        for order in 0..steps.pow(LENGTH) {
            let (mut waiting, mut readers) = (Waiting::default(), <[Reader; READERS]>::default());
            for step in (0..LENGTH).map(|n| order / steps.pow(n) % steps) {
                take_step(&mut waiting, &mut readers, step);
                check(&waiting, &readers, order);
            }
        }
    }

    fn take_step(waiting: &mut Waiting, readers: &mut [Reader; READERS], step: usize) {
        if let Some(reader) = readers.get_mut(step / 3) {
            let byte = (step % 3) as u64;
            if byte < 2 {
                let waker = Waker::from(Arc::clone(&reader.count));
                waiting.enter(&mut reader.place, byte, &waker);
                reader.waits_for = Some(byte);
            } else {
                waiting.leave(&mut reader.place);
                reader.waits_for = None;
            }
            return;
        }
        let came = (step - READERS * 3) as u64;
        waiting.take(|at| at == came).into_iter().for_each(Waker::wake);
        for reader in readers.iter_mut().filter(|reader| reader.waits_for == Some(came)) {
            reader.waits_for = None;
            reader.woken += 1;
        }
    }

    fn check(waiting: &Waiting, readers: &[Reader; READERS], order: usize) {
        for reader in readers {
            assert_eq!(reader.count.0.load(Ordering::Relaxed), reader.woken, "order {order}");
        }
        let waits = readers.iter().filter(|reader| reader.waits_for.is_some()).count();
        assert_eq!(waiting.readers.iter().flatten().count(), waits, "order {order}");
        let placed = readers.iter().filter(|reader| reader.place.is_some()).count();
        assert_eq!(waiting.readers.len(), placed + waiting.free.len(), "order {order}");
        assert!(waiting.readers.len() <= READERS, "order {order}");
    }
}
