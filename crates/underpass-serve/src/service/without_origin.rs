//! The same of a build without origins.

use std::sync::Arc;

use http::request::Parts;

use super::Service;
use crate::answer::Answer;
use crate::plain_request::PlainRequest;
use crate::refusal::Refusal;
use crate::representation::Representation;
use crate::stations::Asked;

impl Service {
    pub(super) const fn has_origin(&self) -> bool {
        false
    }

    pub(super) const fn plain_of_origin(
        &self,
        _: &PlainRequest<'_>,
    ) -> Option<Arc<Representation>> {
        None
    }

    pub(super) const fn kept_of_origin(&self, _: &Parts) -> Option<Answer> {
        None
    }

    pub(super) async fn find_at_origin(&self, _: &Parts) -> Result<Answer, Refusal> {
        std::future::ready(Err(Refusal::Unlisted)).await
    }

    pub(super) const fn purge(&self, _: &Asked<'_>) -> Option<Answer> {
        None
    }
}
