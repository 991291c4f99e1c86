//! Those who wait for a partition to change, such as fetches that find nothing yet.
//!
//! A fetch registers its bell first, looks second, and waits third. What changes a partition
//! changes it first and rings second. So a change is either seen or heard.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::locks::{Mutex, MutexGuard};

/// Tells one waiting task that something may have changed.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// It was rung, and no one has heard it yet.
    is_rung: bool,
    listener: Option<Waker>,
}

impl Bell {
    /// Wakes its listener, now or when it begins to listen.
    pub(crate) fn ring(&self) {
        let listener = {
            let mut state = lock(&self.0);
            state.is_rung = true;
            state.listener.take()
        };
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// Ready once for all times it was rung since.
    pub(crate) fn poll_rung(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if std::mem::take(&mut state.is_rung) {
            return Poll::Ready(());
        }
        state.listener = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The bells of those who wait for the same.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Vec<Arc<Bell>>>);

impl Waiters {
    /// Rings `bell` at every change, until what is returned is dropped.
    pub(crate) fn register<'w>(&'w self, bell: &'w Arc<Bell>) -> Registered<'w> {
        lock(&self.0).push(Arc::clone(bell));
        Registered { waiters: self, bell }
    }

    /// Something has changed.
    pub(crate) fn ring(&self) {
        lock(&self.0).iter().for_each(|bell| bell.ring());
    }
}

/// A bell that is rung at every change.
#[derive(Debug)]
pub(crate) struct Registered<'w> {
    waiters: &'w Waiters,
    bell: &'w Arc<Bell>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut bells = lock(&self.waiters.0);
        if let Some(at) = bells.iter().position(|other| Arc::ptr_eq(other, self.bell)) {
            bells.swap_remove(at);
        }
    }
}

/// What a panic may have left is whole: nothing here panics with the lock held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
