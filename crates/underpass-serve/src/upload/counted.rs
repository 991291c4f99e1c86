//! What metrics say of uploads: what comes, and how each request ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame};

use super::fields::COMPLETE;
use crate::answer::Answer;
use crate::metrics::{Counts, Uploaded};

/// Content whose bytes are counted.
pub(crate) struct Content<'c, B> {
    pub(crate) content: B,
    pub(crate) counts: &'c Counts,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Content<'_, B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.content).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.counts.count_uploaded(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }
}

/// A request that uploads, until it has its answer: if it is dropped before that, it was cut.
pub(crate) struct Upload<'c> {
    counts: &'c Counts,
    end: Option<Uploaded>,
}

impl<'c> Upload<'c> {
    pub(crate) fn new(method: &Method, counts: &'c Counts) -> Self {
        let is_question = matches!(*method, Method::HEAD | Method::DELETE);
        Self { counts, end: (!is_question).then_some(Uploaded::Cut) }
    }

    pub(crate) fn end(mut self, answer: &Answer) {
        let is_part = answer.headers.get(COMPLETE).is_some_and(|it| it == "?0");
        let end = match answer.status.as_u16() {
            400.. => Uploaded::Refused,
            _ if is_part => Uploaded::Part,
            _ => Uploaded::Placed,
        };
        self.end = self.end.map(|_| end);
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.end.into_iter().for_each(|end| self.counts.count_upload(end));
    }
}
