//! The site as one worker serves it: the service, the access log, and the mapped bytes.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::access_log::{AccessLog, Line};
use crate::answer::{Answer, Content};
use crate::body::Payload;
use crate::metrics::Counts;
use crate::plain_request::PlainRequest;
use crate::representation::Representation;
use crate::sequence::InSequence;
use crate::service::Service;
use crate::stations::Asked;

/// A directory as one worker serves it.
#[derive(Debug)]
pub(crate) struct Site {
    service: Service,
    log: RefCell<AccessLog>,
    pub(crate) counts: Arc<Counts>,
}

impl Site {
    pub(crate) fn new(service: Service, log: AccessLog, counts: Arc<Counts>) -> Self {
        Self { service, log: RefCell::new(log), counts }
    }

    /// Hands on what the access log holds back.
    pub(crate) fn flush_log(&self) {
        self.log.borrow_mut().flush();
    }

    /// Closes files that are only kept in case that they are asked for again.
    pub(crate) fn give_way(&self) {
        self.service.give_way();
    }

    /// The answer to a request that needs no look-up.
    pub(crate) fn answer_at_once(&self, asked: &Asked<'_>) -> Option<Answer> {
        self.service.respond_at_once(asked).map(|answer| self.counted(answer))
    }

    /// The answer to any other.
    pub(crate) async fn answer(&self, asked: &Asked<'_>) -> Answer {
        self.counted(self.service.respond(asked).await)
    }

    /// The answer to a request that is refused before its target is looked at.
    pub(crate) fn refusal(&self, status: StatusCode) -> Answer {
        self.counted(Answer::error(status))
    }

    fn counted(&self, answer: Answer) -> Answer {
        self.counts.count_request(answer.status);
        answer
    }

    /// The response to a request that needs no look-up, for HTTP/1.
    pub(crate) fn respond_at_once(&self, asked: &Asked<'_>) -> Option<Response<Payload>> {
        self.answer_at_once(asked).map(finish)
    }

    /// The file that a plain request gets, if nothing has to be looked up for it.
    pub(crate) fn plain(&self, request: &PlainRequest<'_>) -> Option<Arc<Representation>> {
        self.service.plain(request)
    }

    /// The response to any other.
    pub(crate) async fn respond(&self, asked: &Asked<'_>) -> Response<Payload> {
        finish(self.answer(asked).await)
    }

    /// The response to a request that is refused before its target is looked at.
    pub(crate) fn refuse(&self, status: StatusCode) -> Response<Payload> {
        finish(self.refusal(status))
    }

    /// Whether there is a log.
    pub(crate) fn is_logging(&self) -> bool {
        self.log.borrow().is_on()
    }

    /// Adds a line to the log.
    pub(crate) fn record(&self, line: &Line<'_>) {
        self.log.borrow_mut().record(line);
    }
}

/// An answer whose content leaves unread.
fn finish(answer: Answer) -> Response<Payload> {
    let Answer { status, headers, content } = answer;
    let mut response = Response::new(match content {
        Content::Empty => Payload::Bytes(Bytes::new()),
        Content::Memory(bytes) => Payload::Bytes(bytes),
        Content::File(file, range) => file.to_be_sent(range),
        Content::UntilEnd(file) => file.to_be_sent(0..u64::MAX),
        Content::Sequence(sequence) => Payload::Sequence(Box::new(InSequence::new(sequence))),
    });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
