//! The content of a request, for those who read it: there is room for more once it is taken.
//!
//! Source: RFC 9113 §6.9 (flow control); RFC 9110 §10.1.1 (Expect), §15.2.1 (100).

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Error, RecvStream};
use http::{Response, StatusCode};
use http_body::{Body, Frame};

use super::piece::Piece;

/// The content of a request.
pub(super) struct Received<'r> {
    stream: RecvStream,
    /// By what its client is told to send it, if it waits for that.
    waits_for: Option<&'r RefCell<SendResponse<Piece>>>,
}

impl<'r> Received<'r> {
    pub(super) const fn new(
        stream: RecvStream,
        waits_for: Option<&'r RefCell<SendResponse<Piece>>>,
    ) -> Self {
        Self { stream, waits_for }
    }

    pub(super) fn into_stream(self) -> RecvStream {
        self.stream
    }
}

impl Body for Received<'_> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(respond) = self.waits_for.take() {
            let mut now = Response::new(());
            *now.status_mut() = StatusCode::CONTINUE;
            respond.borrow_mut().send_informational(now)?;
        }
        let Some(piece) = ready!(self.stream.poll_data(cx)).transpose()? else {
            return Poll::Ready(None);
        };
        self.stream.flow_control().release_capacity(piece.len())?;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}
