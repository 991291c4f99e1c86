//! What a service does where its files are those of an origin.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue};
use http::request::Parts;

use super::Service;
use crate::answer::Answer;
use crate::origin::OriginSite;
use crate::plain_request::PlainRequest;
use crate::refusal::Refusal;
use crate::representation::Representation;
use crate::stations::Asked;
use crate::target::Target;

/// RFC 9110 §9.1 has no such method; Varnish and nginx's module have it, and clients of theirs.
const PURGE: &[u8] = b"PURGE";

impl Service {
    fn origin(&self) -> Option<&Arc<OriginSite>> {
        self.tree.options.origin.as_ref()
    }

    pub(super) fn has_origin(&self) -> bool {
        self.origin().is_some()
    }

    pub(super) fn plain_of_origin(
        &self,
        request: &PlainRequest<'_>,
    ) -> Option<Arc<Representation>> {
        let kept = self.tree.files.fresh_entry(request.target.as_bytes())?;
        self.origin()?.counts().count_hit();
        Some(kept)
    }

    /// What is here, whole and fresh.
    pub(super) fn kept_of_origin(&self, request: &Parts) -> Option<Answer> {
        if self.has_credentials(request) {
            return None;
        }
        let path = request.uri.path_and_query()?.as_str();
        let kept = self.tree.files.fresh_entry(path.as_bytes())?;
        let mut answer = self.answer(request, &kept);
        kept.add_hit_fields(&mut answer.headers);
        answer.cached = kept.cached();
        self.origin()?.counts().count_hit();
        Some(answer)
    }

    pub(super) async fn find_at_origin(&self, request: &Parts) -> Result<Answer, Refusal> {
        let Some(origin) = self.origin() else { return Err(Refusal::Unlisted) };
        let target = Target::parse(request.uri.path())?;
        if !self.tree.options.lookup.serves(target.as_bytes()) {
            return Err(Refusal::Hidden);
        }
        let ranges_max = self.tree.options.ranges_max.get();
        if origin.has_directories() {
            return self.find_in_bucket(origin, request, &target).await;
        }
        let has_credentials = self.has_credentials(request);
        let answer = origin.answer(&self.tree.files, request, (ranges_max, has_credentials));
        let (answer, status) = answer.await?;
        Ok(origin.told(answer, status))
    }

    /// Whether a request says to the origin who asks. What is said to this server is not for it.
    fn has_credentials(&self, request: &Parts) -> bool {
        self.stations().access.is_none() && request.headers.contains_key(AUTHORIZATION)
    }

    /// What a PURGE is answered.
    pub(super) fn purge(&self, asked: &Asked<'_>) -> Option<Answer> {
        let origin = self.origin()?;
        if asked.head.method.as_str().as_bytes() != PURGE {
            return None;
        }
        if !origin.lets_purge(asked.client) {
            return Some(Answer::error(StatusCode::FORBIDDEN));
        }
        let purged = if origin.has_directories() {
            self.purge_in_bucket(origin, asked.head)
        } else {
            origin.purge(&self.tree.files, asked.head)
        };
        Some(match purged {
            Ok(true) => {
                let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
                let text = Bytes::from_static(b"200 OK\nIt is not kept any more.\n");
                Answer::text(StatusCode::OK, media_type, text)
            }
            Ok(false) => Answer::error(StatusCode::NOT_FOUND),
            Err(refusal) => Answer::error(refusal.status()),
        })
    }
}
