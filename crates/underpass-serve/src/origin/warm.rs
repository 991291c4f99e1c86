//! Paths that are kept before anybody asks for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::question::Question;
use super::{OriginSite, lock};

/// How many come at a time: a thread each, of those that clients want too.
const AT_A_TIME: usize = 4;

/// How long one waits where as many wait for a thread as may.
const PAUSE: Duration = Duration::from_millis(200);

impl OriginSite {
    /// Keeps these paths, as if a client had asked for them, from when the server runs.
    pub fn warm(&self, paths: impl IntoIterator<Item = String>) {
        lock(&self.to_warm).extend(paths);
    }

    /// Asks for them, a few at a time, until there are none.
    pub(crate) async fn keep_warm(self: Arc<Self>) {
        let room = Arc::new(Semaphore::new(AT_A_TIME));
        while let Some(path) = self.next_to_warm() {
            let Some(key) = self.key(&path).filter(|key| self.store.get(key).is_none()) else {
                continue;
            };
            // Held until its last byte has come.
            while let Ok(permit) = Arc::clone(&room).acquire_owned().await
                && self.ask_holding(Question::whole(&key, &path), permit).is_refused
            {
                sleep(PAUSE).await;
            }
        }
    }

    fn next_to_warm(&self) -> Option<String> {
        lock(&self.to_warm).pop_front()
    }
}
