//! The registry of waiters under loom, which goes through every order in which threads can change a
//! partition and wait for it.
//!
//! It is the same file, built with loom's locks. tokio cannot be built with `--cfg loom` here, so
//! that the rest of the crate is not.

use std::future::poll_fn;
use std::sync::Arc;

use loom::future::block_on;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

mod locks {
    pub(super) use loom::sync::{Mutex, MutexGuard};
}

#[path = "waiters.rs"]
#[expect(clippy::duplicate_mod, reason = "built again, with the locks of a model")]
mod waiters;

use waiters::{Bell, Waiters};

/// Two appends, a fetch that wants both: it ends in every order of the three.
#[test]
fn a_change_is_seen_or_heard() {
    // Every bug known of such code needs two preemptions at most, and all orders take hours.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let shared = loom::sync::Arc::new((AtomicU32::new(0), Waiters::default()));
        let appends = [0, 1].map(|_| {
            let shared = loom::sync::Arc::clone(&shared);
            thread::spawn(move || {
                shared.0.fetch_add(1, Ordering::Release);
                shared.1.ring();
            })
        });
        let bell = Arc::<Bell>::default();
        let registered = shared.1.register(&bell);
        while shared.0.load(Ordering::Acquire) < 2 {
            block_on(poll_fn(|cx| bell.poll_rung(cx)));
        }
        drop(registered);
        for append in appends {
            append.join().unwrap();
        }
    });
}
