//! The answer for a directory that has no index: its listing, or an archive of it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{PATIENCE, Service};
use crate::answer::Answer;
use crate::listing::Listing;
use crate::listing::query::{Query, pairs};
use crate::listing::read::Place;
use crate::refusal::Refusal;
use crate::root::Wait;
use crate::site_options::SiteOptions;

const TOO_LARGE: &str = "403 Forbidden\nThis would be more than an archive may be here.\n";

impl Service {
    /// What a directory holds, at `path`, as the request's query asks for it.
    pub(super) async fn directory(
        &self,
        path: &[u8],
        directory: OwnedFd,
        request: &Parts,
    ) -> Result<Answer, Refusal> {
        let query = request.uri.query().unwrap_or_default();
        match pairs(query).find(|(key, _)| key == "archive") {
            None => self.list(path, directory, query).await,
            Some((_, form)) => match self.archive(path, directory, &form, request).await {
                Err(Refusal::TooLarge) => {
                    Ok(Answer::error_with(StatusCode::FORBIDDEN, Some(TOO_LARGE)))
                }
                answer => answer,
            },
        }
    }

    async fn list(&self, path: &[u8], directory: OwnedFd, query: &str) -> Result<Answer, Refusal> {
        let listings = self.tree.options.listings.as_ref().ok_or(Refusal::Unlisted)?;
        let turn = turn(&listings.readers).await?;
        let (path, query) = (path.to_vec(), Query::parse(query));
        self.wait(move |tree| {
            let _turn = turn;
            let SiteOptions { lookup, metadata, archives, fields, stations, .. } = &*tree.options;
            let root = &*tree.root.get(Wait::Allowed)?;
            let place = Place { root, path: &path, directory: &directory, lookup };
            let listing = Listing::read(&place, &query, &metadata.media_types)?;
            let archives = archives.as_ref().map_or(&[][..], |archives| archives.words());
            let takes_uploads =
                stations.upload.as_ref().is_some_and(|upload| upload.is_for_some_in(&path));
            let listing = listing.with_archives(archives).with_form(takes_uploads);
            let mut answer = listing.into_answer();
            fields.add_to(&path, &mut answer.headers);
            Ok(answer)
        })
        .await
    }

    async fn archive(
        &self,
        path: &[u8],
        directory: OwnedFd,
        form: &str,
        request: &Parts,
    ) -> Result<Answer, Refusal> {
        let archives = self.tree.options.archives.as_ref().ok_or(Refusal::NoArchive)?;
        let format = archives.format(form).ok_or(Refusal::NoArchive)?;
        let turn = turn(&archives.walkers).await?;
        let path = path.to_vec();
        let archive = self.wait(move |tree| {
            let _turn = turn;
            let SiteOptions { lookup, archives, fields, stability, stations, .. } = &*tree.options;
            // One who may have the directory may have all that needs the password.
            let access = stations.access.as_ref().filter(|access| !access.protects(&path, lookup));
            let is_left_out = |file: &[u8]| {
                access.is_some_and(|access| access.protects(file, lookup))
                    || stations.addresses.have_more(file, &path, lookup)
            };
            let root = tree.root.get(Wait::Allowed)?;
            let place = Place { root: &root, path: &path, directory: &directory, lookup };
            let archives = archives.as_ref().ok_or(Refusal::NoArchive)?;
            let mut archive = archives.walk(format, &root, &place, *stability, &is_left_out)?;
            fields.add_to(&path, &mut archive.headers);
            Ok(archive)
        });
        Ok(archive.await?.into_answer(request))
    }
}

/// Waits a while for the turn of one who does this at a time.
pub(super) async fn turn(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    let turn = timeout(PATIENCE, Arc::clone(places).acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or(Refusal::Busy)
}
