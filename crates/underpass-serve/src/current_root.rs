//! The directory to which the path of the root leads now.
//!
//! A site is often replaced whole: by renaming, by pointing a link elsewhere, by removing and
//! making it again, by mounting. So the path is looked up again, as that of a file is; while it
//! leads nowhere, what is held open is served.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::root::{OpenError, Root, Wait};

/// A root that is opened anew when its path leads elsewhere.
#[derive(Debug)]
pub(crate) struct CurrentRoot {
    path: PathBuf,
    fresh_for: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    root: Arc<Root>,
    /// When the path was last looked up.
    at: Instant,
}

impl CurrentRoot {
    /// Starts with `root`, whose path is looked up again after `fresh_for`.
    pub(crate) fn new(root: Root, fresh_for: Duration) -> Self {
        // So that a server in the directory itself sees that it was replaced.
        let path = std::path::absolute(root.path()).unwrap_or_else(|_| root.path().into());
        let seen = Seen { root: Arc::new(root), at: Instant::now() };
        Self { path, fresh_for, seen: Mutex::new(seen) }
    }

    /// The root.
    ///
    /// # Errors
    ///
    /// [`OpenError::WouldWait`] with [`Wait::Never`]; those of fstat(2).
    pub(crate) fn get(&self, wait: Wait) -> Result<Arc<Root>, OpenError> {
        let (held, is_fresh) = {
            let seen = self.lock();
            (Arc::clone(&seen.root), seen.at.elapsed() < self.fresh_for)
        };
        if is_fresh {
            return Ok(held);
        }
        // Without the lock: it may wait.
        let replaced = held.open_if_replaced(&self.path, wait)?.map(Arc::new);
        let mut seen = self.lock();
        seen.at = Instant::now();
        if let Some(root) = replaced {
            let path = self.path.display();
            tracing::info!("{path} is another directory now, and opened anew");
            if held.is_readable() && !root.is_readable() {
                tracing::warn!("{path} may not be read: if the sandbox forbids it, start again");
            }
            seen.root = root;
        }
        Ok(Arc::clone(&seen.root))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// A root beneath `dir`, looked up each time.
    fn current(path: &Path) -> CurrentRoot {
        CurrentRoot::new(Root::open(path).unwrap(), Duration::ZERO)
    }

    fn make(path: &Path, file: &str) {
        fs::create_dir(path).unwrap();
        fs::write(path.join(file), file).unwrap();
    }

    fn has(root: &CurrentRoot, file: &str) -> bool {
        let root = root.get(Wait::Allowed).unwrap();
        root.open_beneath(file.as_bytes(), Wait::Allowed).is_ok()
    }

    #[test]
    fn a_root_that_was_replaced_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let [site, old, new] = ["site", "old", "new"].map(|name| dir.path().join(name));
        make(&site, "one");
        make(&new, "two");
        let root = current(&site);
        assert!(has(&root, "one"));
        fs::rename(&site, &old).unwrap();
        assert!(has(&root, "one"), "while the path leads nowhere");
        fs::rename(&new, &site).unwrap();
        assert!(has(&root, "two") && !has(&root, "one"));
        fs::remove_dir_all(&site).unwrap();
        make(&site, "three");
        assert!(has(&root, "three") && !has(&root, "two"), "removed and made again");
        fs::remove_dir_all(&site).unwrap();
        fs::write(&site, "a file").unwrap();
        root.get(Wait::Allowed).unwrap();
        fs::remove_file(&site).unwrap();
        symlink("old", &site).unwrap();
        assert!(has(&root, "one"), "by a link");
    }

    #[test]
    fn a_root_is_looked_up_again_after_its_time_only() {
        let dir = tempfile::tempdir().unwrap();
        let [site, old] = ["site", "old"].map(|name| dir.path().join(name));
        make(&site, "one");
        let root = CurrentRoot::new(Root::open(&site).unwrap(), Duration::from_secs(3_600));
        fs::rename(&site, old).unwrap();
        make(&site, "two");
        assert!(has(&root, "one"));
    }
}
