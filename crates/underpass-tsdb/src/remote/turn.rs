//! Whether a connection is busy: from a request until the last byte of its answer was written.
//!
//! An answer's content is dropped when hyper has taken all of it, which may be long before the
//! socket has: what says that all was written is the flush that follows.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::worker::{Counted, Worker};

/// The state of a connection.
#[derive(Debug, Default)]
pub(super) struct Turn {
    busy: RefCell<Option<Counted>>,
    is_answered: Cell<bool>,
}

impl Turn {
    /// A request has come.
    pub(super) fn begin(&self, worker: &Rc<Worker>) {
        self.is_answered.set(false);
        *self.busy.borrow_mut() = Some(worker.busy());
    }

    /// hyper has all of the answer.
    pub(super) fn answered(&self) {
        self.is_answered.set(true);
    }

    /// Everything that hyper had was written.
    pub(super) fn flushed(&self) {
        if self.is_answered.get() {
            self.busy.borrow_mut().take();
        }
    }
}
