//! What a service does where its files are objects of a bucket: directories have an index, or are
//! listed, as those of a disk are.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, StatusCode, Uri};

use super::directory::turn;
use super::{Service, redirect_to_slash};
use crate::answer::Answer;
use crate::listing::Listing;
use crate::listing::query::Query;
use crate::origin::listing::path_of;
use crate::origin::{CacheStatus, OriginSite};
use crate::refusal::Refusal;
use crate::site_options::SiteOptions;
use crate::target::{Target, encode};

impl Service {
    pub(super) async fn find_in_bucket(
        &self,
        origin: &Arc<OriginSite>,
        request: &Parts,
        target: &Target<'_>,
    ) -> Result<Answer, Refusal> {
        let (path, plain) = (path_of(&request.uri)?, target.as_bytes());
        let ranges_max = self.tree.options.ranges_max.get();
        let mut told = CacheStatus::Hit;
        for candidate in self.candidates(&path, plain) {
            // What a client says to be let in is not for the bucket, which is asked in our name.
            let head = at(request, &candidate);
            let answer = origin.answer(&self.tree.files, &head, (ranges_max, false)).await?;
            let (answer, status) = answer;
            if answer.status != StatusCode::NOT_FOUND {
                return Ok(origin.told(answer, status));
            }
            told = status;
        }
        if target.is_directory() {
            return self.list_bucket(origin, request, (&path, plain)).await;
        }
        if self.is_directory(origin, request, (&path, plain)).await? {
            return Ok(redirect_to_slash(target, &request.uri));
        }
        Ok(origin.told(Answer::error(StatusCode::NOT_FOUND), told))
    }

    /// Removes what is kept of a path, and of the directory there.
    pub(super) fn purge_in_bucket(
        &self,
        origin: &OriginSite,
        request: &Parts,
    ) -> Result<bool, Refusal> {
        let target = Target::parse(request.uri.path())?;
        let path = path_of(&request.uri)?;
        let slash = if path.ends_with('/') { "" } else { "/" };
        let mut was_here = origin.forget_directory(&format!("{path}{slash}"));
        for candidate in self.candidates(&path, target.as_bytes()) {
            was_here |= origin.purge(&self.tree.files, &at(request, &candidate))?;
        }
        Ok(was_here)
    }

    /// What is asked for in this order: the index of a directory, but not the directory itself,
    /// which may be an empty object that shows that it is there.
    fn candidates(&self, path: &str, plain: &[u8]) -> Vec<String> {
        let is_directory = plain.is_empty() || plain.ends_with(b"/");
        let candidates = self.tree.options.lookup.candidates(plain);
        let candidates = candidates.filter(|it| !is_directory || it.len() > plain.len());
        candidates.map(|it| format!("{path}{}", encode(&it[plain.len()..]))).collect()
    }

    /// Whether a path leads to a directory with a slash at its end. Where directories may not be
    /// listed, one that has an index is there.
    async fn is_directory(
        &self,
        origin: &Arc<OriginSite>,
        request: &Parts,
        (path, plain): (&str, &[u8]),
    ) -> Result<bool, Refusal> {
        // The redirection would have one slash.
        if path.contains("//") {
            return Ok(false);
        }
        if let Some(is_there) = origin.has_directory(path).await {
            return Ok(is_there);
        }
        for index in self.candidates(&format!("{path}/"), &[plain, b"/"].concat()) {
            let mut head = at(request, &index);
            head.method = Method::HEAD;
            head.headers.clear();
            let (answer, _) = origin.answer(&self.tree.files, &head, (1, false)).await?;
            if answer.status.is_success() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn list_bucket(
        &self,
        origin: &Arc<OriginSite>,
        request: &Parts,
        (path, plain): (&str, &[u8]),
    ) -> Result<Answer, Refusal> {
        let listings = self.tree.options.listings.as_ref().ok_or(Refusal::Unlisted)?;
        let (names, status) = origin.names(path).await;
        let names = match names {
            Ok(names) => names,
            Err(code) => return Ok(origin.told(Answer::error(code), status)),
        };
        let turn = turn(&listings.readers).await?;
        let (plain, query) = (plain.to_vec(), request.uri.query().unwrap_or_default());
        let query = Query::parse(query);
        let answer = self.wait(move |tree| {
            let _turn = turn;
            let SiteOptions { lookup, metadata, fields, .. } = &*tree.options;
            let media_types = &metadata.media_types;
            let listing = Listing::of_names(&plain, &query, media_types, (&names, lookup))?;
            let mut answer = listing.into_answer();
            fields.add_to(&plain, &mut answer.headers);
            Ok(answer)
        });
        Ok(origin.told(answer.await?, status))
    }
}

/// The same request for another path, without its query, which an object has none of.
fn at(request: &Parts, path: &str) -> Parts {
    let mut head = request.clone();
    head.headers.remove(AUTHORIZATION);
    if head.uri.path() != path
        && let Ok(uri) = Uri::try_from(path)
    {
        head.uri = uri;
    }
    head
}
