//! Looks now and then whether the disk still has what came.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::OriginSite;

/// The most that is read for it: a disk does not notice.
const BYTES_A_SECOND: u64 = 4 << 20;

/// When it is looked for the first time, at the latest: servers that start each day have it too.
const FIRST: Duration = Duration::from_secs(60 * 60);

/// Reads what is whole, each time that this time has passed, for as long as there is the site.
pub(super) async fn scrub(site: Weak<OriginSite>, every: Duration) {
    let mut pause = every.min(FIRST);
    loop {
        sleep(pause).await;
        let Some(site) = site.upgrade() else { return };
        // It is told where it is found, one by one.
        drop(spawn_blocking(move || site.scrub()).await);
        pause = every;
    }
}

impl OriginSite {
    fn scrub(self: Arc<Self>) {
        let scrubbed = self.store.scrub(BYTES_A_SECOND, &self.until);
        let directory = self.directory.display();
        tracing::debug!("{directory}: {} objects were read again", scrubbed.entries);
    }
}
