//! Files that hold another file in a content coding, next to it: `a.js.gz` of `a.js`.
//!
//! They stay with the representation of the file that they stand for, and are looked for whenever
//! its path is looked up, so that a response never chooses between a new file and an old sibling.
//!
//! Source: RFC 9110 §8.4 (Content-Encoding), §8.8.3.3 (a coding is another representation, with
//! another tag).

use std::sync::{Arc, Mutex, PoisonError};

use crate::encoding::Coding;
use crate::representation::Representation;
use crate::state::State;

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Sibling {
    pub(crate) coding: Coding,
    pub(crate) state: State,
    pub(crate) file: Arc<Representation>,
}

/// Those of a file, as they were when it was looked up last.
#[derive(Debug, Default)]
pub(crate) struct Siblings(Mutex<Option<Arc<[Sibling]>>>);

impl Siblings {
    /// `None` if there are none.
    pub(crate) fn get(&self) -> Option<Arc<[Sibling]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, found: Vec<Sibling>) {
        let found = (!found.is_empty()).then(|| found.into());
        // What it replaces may be the last reference to a mapping: dropped without the lock.
        let old = {
            let mut siblings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *siblings, found)
        };
        drop(old);
    }

    /// Whether sending one of them has found that it was changed in place.
    pub(crate) fn have_changed(&self) -> bool {
        self.get().is_some_and(|all| all.iter().any(|sibling| sibling.file.has_changed()))
    }

    pub(crate) fn are_settled(&self) -> bool {
        self.get().is_none_or(|all| all.iter().all(|sibling| sibling.file.is_settled()))
    }
}

/// Whether a file in this state can stand for `source`: it is not older, and smaller, or
/// there would be nothing in it for a client.
pub(crate) fn can_stand_for(source: &State, sibling: &State) -> bool {
    sibling.mtime >= source.mtime && (1..source.size).contains(&sibling.size)
}
