//! The slots of one size: which are free, and who is in each.
//!
//! The holder of a slice of a region learnt its address from the thread that mapped it, so a
//! look-up needs no lock: the entry was stored before the address was handed on. The model below,
//! run under loom, goes through every order in which threads can take, find and give back.

use std::ptr;

#[cfg(loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicPtr, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicPtr, Ordering},
};

/// Slots of one size, each with room for a pointer to its holder.
pub(crate) struct Slots<T> {
    holders: Box<[AtomicPtr<T>]>,
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    /// Slots that were used and given back.
    returned: Vec<usize>,
    /// Slots from here on were never used.
    fresh: usize,
}

impl<T> Slots<T> {
    /// `count` slots, all of them free.
    pub(crate) fn new(count: usize) -> Self {
        let holders = (0..count).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        Self { holders, free: Mutex::new(Free::default()) }
    }

    /// A free slot, which is now the caller's; `None` if there is none.
    pub(crate) fn take(&self) -> Option<usize> {
        self.with_free(|free| {
            free.returned.pop().or_else(|| {
                let index = free.fresh;
                (index < self.holders.len()).then(|| {
                    free.fresh += 1;
                    index
                })
            })
        })
    }

    /// Makes a taken slot free again.
    pub(crate) fn give_back(&self, index: usize) {
        self.with_free(|free| free.returned.push(index));
    }

    /// Says who is in a taken slot; null for no one.
    pub(crate) fn set_holder(&self, index: usize, holder: *mut T) {
        if let Some(entry) = self.holders.get(index) {
            entry.store(holder, Ordering::Release);
        }
    }

    /// The holder of a slot: null for no one, `None` for a slot that does not exist.
    /// Async-signal-safe.
    pub(crate) fn holder(&self, index: usize) -> Option<*const T> {
        Some(self.holders.get(index)?.load(Ordering::Acquire).cast_const())
    }

    fn with_free<R>(&self, f: impl FnOnce(&mut Free) -> R) -> R {
        #[cfg(loom)]
        let mut free = self.free.lock().expect("the model does not panic under the lock");
        #[cfg(not(loom))]
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut free)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::sync::Arc;
    use loom::sync::mpsc;
    use loom::thread;

    use super::*;

    #[test]
    fn a_slot_that_was_handed_on_names_its_holder_and_no_one_else_gets_it() {
        loom::model(|| {
            let slots = Arc::new(Slots::<u8>::new(2));
            let (hand_on, handed_on) = mpsc::channel();
            let mapping = {
                let slots = Arc::clone(&slots);
                thread::spawn(move || {
                    let index = slots.take().expect("two slots for two holders");
                    let holder = ptr::without_provenance_mut(1);
                    slots.set_holder(index, holder);
                    hand_on.send((index, holder)).expect("the other end is there");
                })
            };
            let mine = slots.take().expect("two slots for two holders");
            slots.set_holder(mine, ptr::without_provenance_mut(2));
            let (theirs, holder) = handed_on.recv().expect("it is sent");
            assert_ne!(mine, theirs);
            assert_eq!(slots.holder(theirs), Some(holder.cast_const()));
            slots.set_holder(theirs, ptr::null_mut());
            slots.give_back(theirs);
            assert_eq!(slots.take(), Some(theirs));
            assert_eq!(slots.holder(theirs), Some(ptr::null()), "and no one is in it");
            mapping.join().expect("it ends");
        });
    }
}
