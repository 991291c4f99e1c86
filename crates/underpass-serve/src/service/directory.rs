//! The answer for a directory that has no index: its listing.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{PATIENCE, Service};
use crate::answer::Answer;
use crate::listing::Listing;
use crate::listing::query::Query;
use crate::listing::read::Place;
use crate::refusal::Refusal;
use crate::root::Wait;

impl Service {
    /// What a directory holds, at `path`, as its query asks for it.
    pub(super) async fn list(
        &self,
        path: &[u8],
        directory: OwnedFd,
        query: &str,
    ) -> Result<Answer, Refusal> {
        let listings = self.tree.options.listings.as_ref().ok_or(Refusal::Unlisted)?;
        let place = leave(&listings.readers).await?;
        let (path, query) = (path.to_vec(), Query::parse(query));
        self.wait(move |tree| {
            let _place = place;
            let (root, lookup) = (&*tree.root.get(Wait::Allowed)?, &tree.options.lookup);
            let place = Place { root, path: &path, directory: &directory, lookup };
            let media_types = &tree.options.metadata.media_types;
            let mut answer = Listing::read(&place, &query, media_types)?.into_answer();
            tree.options.fields.add_to(&path, &mut answer.headers);
            Ok(answer)
        })
        .await
    }
}

/// Waits a while for one of the places of those who do this at a time.
async fn leave(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    let place = timeout(PATIENCE, Arc::clone(places).acquire_owned()).await;
    place.ok().and_then(Result::ok).ok_or(Refusal::Busy)
}
