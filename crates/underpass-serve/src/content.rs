//! The content of requests: no answer of this server depends on it, so it is read and discarded,
//! while the response is on its way, and the connection can be kept. More than a little of it is
//! left to the close in stages.
//!
//! Source: RFC 9112 §9.3 (reading the whole request), §9.6; RFC 9110 §10.1.1 (Expect).

use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{EXPECT, HeaderMap};
use http_body::Body as _;
use hyper::body::Incoming;

/// As much content as is read to keep a connection.
const BYTES_MAX: u64 = 64 * 1024;

/// The content of a request that is being discarded.
#[derive(Debug)]
pub(crate) struct Content {
    incoming: Incoming,
    bytes: u64,
    /// How many times in a row there was nothing.
    waits: u32,
}

/// How the content of a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentEnd {
    /// All of it was discarded.
    Whole,
    /// It is not framed as its head says, or the client has left before its end.
    Malformed,
    /// It is more than is discarded.
    TooLong,
}

impl Content {
    /// The content, unless it is too long, or the client is to wait with it.
    pub(crate) fn new(headers: &HeaderMap, incoming: Incoming) -> Option<Self> {
        let is_short = incoming.size_hint().lower() <= BYTES_MAX;
        // To read it would be to ask for it, by a 100 (Continue).
        let is_coming = is_short && !headers.contains_key(EXPECT);
        is_coming.then_some(Self { incoming, bytes: 0, waits: 0 })
    }

    /// Discards what has come. Ready at its end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ContentEnd> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                self.waits += 1;
                return Poll::Pending;
            };
            self.waits = 0;
            match frame {
                None => return Poll::Ready(ContentEnd::Whole),
                Some(Err(_)) => return Poll::Ready(ContentEnd::Malformed),
                Some(Ok(frame)) => {
                    self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
            }
            if self.bytes > BYTES_MAX {
                return Poll::Ready(ContentEnd::TooLong);
            }
        }
    }

    /// Whether hyper has been asked for more and found nothing on the socket: it looks there
    /// between two polls.
    pub(crate) const fn is_awaited(&self) -> bool {
        self.waits > 1
    }
}
