//! What is done for origins while a server runs. It begins when the server is confined.

use std::sync::Arc;

use tokio::sync::watch;

use super::scrub::scrub;
use crate::sites::Checked;

/// Until no sites can be published any more.
pub(crate) async fn run(mut published: watch::Receiver<Arc<Checked>>) {
    loop {
        let sites = Arc::clone(&published.borrow_and_update());
        for origin in sites.options().filter_map(|site| site.origin.as_ref()) {
            tokio::spawn(Arc::clone(origin).keep_warm());
            if let Some(every) = origin.scrub_every {
                tokio::spawn(scrub(Arc::downgrade(origin), every));
            }
        }
        drop(sites);
        if published.changed().await.is_err() {
            return;
        }
    }
}
