//! hyper's view of the site, for one connection: a request in, a response out.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;

use crate::body::{Body, Payload};
use crate::cached::Cached;
use crate::connection::Shared;
use crate::content::{Content, ContentEnd};
use crate::progress::{Open, Progress};
use crate::sending::Sending;
use crate::site;
use crate::upload::is_upload;

/// Answers the requests of one connection.
pub(crate) struct Responder {
    pub(crate) progress: Rc<Progress>,
    pub(crate) shared: Rc<Shared>,
}

impl Service<Request<Incoming>> for Responder {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, request: Request<Incoming>) -> Responding {
        let open = Open::new(&self.progress);
        let (head, incoming) = request.into_parts();
        let progress = Rc::clone(&self.progress);
        if self.shared.is_stopping.get() {
            progress.end_after_this();
        }
        if is_upload(&head) && progress.site.takes_uploads(&progress.asked(&head)) {
            return Responding::Later(Box::pin(take(head, incoming, progress, open)));
        }
        if !incoming.is_end_stream() {
            return Responding::Later(Box::pin(after_content(head, incoming, progress, open)));
        }
        match progress.site.respond_at_once(&progress.asked(&head)) {
            Some(response) => Responding::Now(Some(finish(response, head, &progress, open))),
            None => Responding::Later(Box::pin(look_up(head, progress, open))),
        }
    }
}

/// A response: at hand, or being looked up.
pub(crate) enum Responding {
    Now(Option<Response<Body>>),
    Later(Pin<Box<dyn Future<Output = Response<Body>>>>),
}

impl Future for Responding {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(response) => {
                Poll::Ready(Ok(response.take().expect("a future is not polled once it is ready")))
            }
            Self::Later(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

/// Answers once what is here of the content was found to be framed as it should be. The rest of it
/// is discarded while the response is on its way.
async fn after_content(
    head: Parts,
    incoming: Incoming,
    progress: Rc<Progress>,
    open: Open,
) -> Response<Body> {
    discard(&head, incoming, &progress);
    if poll_fn(|cx| progress.poll_content_here(cx)).await == ContentEnd::Malformed {
        let response = progress.site.refuse(StatusCode::BAD_REQUEST);
        return finish(response, head, &progress, open);
    }
    look_up(head, progress, open).await
}

/// Nothing of the content is read before it is known where it goes. What then is left of it makes
/// the response the last.
async fn take(
    head: Parts,
    incoming: Incoming,
    progress: Rc<Progress>,
    open: Open,
) -> Response<Body> {
    let mut content = Some(incoming);
    let answer = progress.site.take(&progress.asked(&head), &mut content, None).await;
    match content {
        Some(content) => discard(&head, content, &progress),
        None if answer.status.as_u16() >= 400 => progress.end_after_this(),
        None => {}
    }
    finish(site::finish(answer), head, &progress, open)
}

/// Has content that no one reads discarded, or the connection end.
fn discard(head: &Parts, content: Incoming, progress: &Progress) {
    match Content::new(&head.headers, content) {
        Some(content) => progress.discard(content),
        None => progress.end_after_this(),
    }
}

async fn look_up(head: Parts, progress: Rc<Progress>, open: Open) -> Response<Body> {
    let response = progress.site.respond(&progress.asked(&head)).await;
    finish(response, head, &progress, open)
}

fn finish(
    response: Response<Payload>,
    head: Parts,
    progress: &Rc<Progress>,
    open: Open,
) -> Response<Body> {
    let mut response = response.map(|payload| Body::new(payload, open));
    let status = response.status();
    // Where one thing about a request was not understood, the rest may not be what it seems.
    if matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED) {
        progress.end_after_this();
    }
    if progress.is_last() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let cached = response.extensions_mut().remove::<Cached>();
    progress.leave(Sending::new(&progress.site, progress.client, head, status).with(cached));
    response
}
