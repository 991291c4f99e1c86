//! What is kept of an origin's entries: of those that are whole what is kept of files, under the
//! path and the query as they were sent; of those on their way one mapping for all who read them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::KeptFiles;
use crate::representation::entry::OfEntry;
use crate::representation::{Representation, RepresentationError};

/// Entries that are on their way, by key, while anybody reads them.
#[derive(Debug, Default)]
pub(super) struct Coming(Mutex<HashMap<Box<[u8]>, Weak<Representation>>>);

impl Coming {
    fn get(&self, key: &[u8], of: &OfEntry) -> Result<Arc<Representation>, RepresentationError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(key).and_then(Weak::upgrade).filter(|known| known.is_of(of));
        if let Some(known) = known {
            return Ok(known);
        }
        let made = Arc::new(Representation::of_entry(of, of.duplicate()?)?);
        if all.len() == all.capacity() {
            all.retain(|_, it| it.strong_count() > 0);
        }
        all.insert(key.into(), Arc::downgrade(&made));
        Ok(made)
    }
}

impl KeptFiles {
    /// The one of a path with its query, if it is whole, due for no other look and fresh.
    pub(crate) fn fresh_entry(&self, path_and_query: &[u8]) -> Option<Arc<Representation>> {
        let kept = self.fresh(path_and_query)?;
        (kept.is_fresh() && !kept.has_changed()).then_some(kept)
    }

    /// What an entry is to a request for a path with its query. Does not wait.
    ///
    /// # Errors
    ///
    /// [`RepresentationError`].
    pub(crate) fn of_entry(
        &self,
        path_and_query: &[u8],
        of: &OfEntry,
    ) -> Result<Arc<Representation>, RepresentationError> {
        let key = self.key(path_and_query);
        let found = if of.is_whole { self.whole(&key, of)? } else { self.coming.get(&key, of)? };
        found.set_lifetime(of.lifetime);
        Ok(found)
    }

    fn whole(&self, key: &[u8], of: &OfEntry) -> Result<Arc<Representation>, RepresentationError> {
        let refresh = || {
            let make = |file| Representation::of_entry(of, file);
            self.own().refresh(key, of.duplicate()?, make)
        };
        let kept = refresh()?;
        if kept.is_of(of) && !kept.has_changed() {
            return Ok(kept);
        }
        // The origin has said something else of the same bytes.
        self.own().forget(key);
        refresh()
    }

    /// Has the store be asked for a path with its query when that is asked for next.
    pub(crate) fn forget_entry(&self, path_and_query: &[u8]) {
        for files in &*self.of_workers {
            files.forget(&self.key(path_and_query));
        }
    }
}
