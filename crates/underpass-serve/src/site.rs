//! The sites as one worker serves them: their services, the access log, and the mapped bytes.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body;

use crate::access_log::{AccessLog, Line};
use crate::answer::{Answer, Content};
use crate::body::Payload;
use crate::hosts::is_same;
use crate::metrics::Counts;
use crate::plain_request::PlainRequest;
use crate::proxies::Proxies;
use crate::refusal::check_message;
use crate::representation::Representation;
use crate::sequence::InSequence;
use crate::service::Service;
use crate::sites::WorkerSites;
use crate::stations::Asked;
use crate::upload::{Interim, counted};

/// The sites as one worker serves them, and what they share.
#[derive(Debug)]
pub(crate) struct Site {
    sites: RefCell<WorkerSites>,
    log: RefCell<AccessLog>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) proxies: Proxies,
}

impl Site {
    pub(crate) fn new(sites: impl Into<WorkerSites>, log: AccessLog, counts: Arc<Counts>) -> Self {
        let (sites, log) = (RefCell::new(sites.into()), RefCell::new(log));
        Self { sites, log, counts, proxies: Proxies::default() }
    }

    /// The same behind these proxies.
    pub(crate) fn behind(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }

    /// Hands on what the access log holds back.
    pub(crate) fn flush_log(&self) {
        self.log.borrow_mut().flush();
    }

    /// Closes files that are only kept in case that they are asked for again.
    pub(crate) fn give_way(&self) {
        self.sites.borrow().give_way();
    }

    /// The answer to a request that needs no look-up.
    pub(crate) fn answer_at_once(&self, asked: &Asked<'_>) -> Option<Answer> {
        let answer = match (self.sites.borrow_mut().of(|| asked.host()), asked.https_port) {
            (Some(service), None) => service.respond_at_once(asked)?,
            (Some(_), Some(_)) => return None,
            (None, _) => of_no_site(asked),
        };
        Some(self.counted(answer))
    }

    /// The answer to any other.
    pub(crate) async fn answer(&self, asked: &Asked<'_>) -> Answer {
        // It ends under the sites under which it began.
        let service = self.sites.borrow_mut().of(|| asked.host()).cloned();
        self.counted(match service {
            Some(service) => match asked.https_port {
                Some(port) => service.send_to_https(asked, port).await,
                None => service.respond(asked).await,
            },
            None => of_no_site(asked),
        })
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
        self.sites.borrow_mut().of(|| Some(request.host))?.plain(request)
    }

    /// The response to any other.
    pub(crate) async fn respond(&self, asked: &Asked<'_>) -> Response<Payload> {
        finish(self.answer(asked).await)
    }

    /// Whether a request that puts something in place may be more than one of a wrong method.
    pub(crate) fn takes_uploads(&self, asked: &Asked<'_>) -> bool {
        asked.https_port.is_none()
            && self.sites.borrow_mut().of(|| asked.host()).is_some_and(Service::takes_uploads)
    }

    /// The answer to such a request, whose content is taken if it is read.
    pub(crate) async fn take<B>(
        &self,
        asked: &Asked<'_>,
        content: &mut Option<B>,
        interim: Interim<'_>,
    ) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let service = self.sites.borrow_mut().of(|| asked.host()).cloned();
        let Some(service) = service else { return self.counted(of_no_site(asked)) };
        let upload = counted::Upload::new(&asked.head.method, &self.counts);
        let counts = &*self.counts;
        let mut offered = content.take().map(|content| counted::Content { content, counts });
        let answer = service.take(asked, &mut offered, interim).await;
        *content = offered.map(|offered| offered.content);
        upload.end(&answer);
        self.counted(answer)
    }

    /// The response to a request that is refused before its target is looked at.
    pub(crate) fn refuse(&self, status: StatusCode) -> Response<Payload> {
        finish(self.refusal(status))
    }

    /// The name whose password came with a request that was asked for one.
    pub(crate) fn user_of(&self, head: &Parts) -> Option<Box<str>> {
        if !head.headers.contains_key(AUTHORIZATION) {
            return None;
        }
        let asked = Asked { head, client: None, server_name: None, https_port: None };
        self.sites.borrow_mut().of(|| asked.host())?.user_of(&asked)
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
pub(crate) fn finish(answer: Answer) -> Response<Payload> {
    let Answer { status, headers, content, cached } = answer;
    let mut response = Response::new(match content {
        Content::Empty => Payload::Bytes(Bytes::new()),
        Content::Memory(bytes) => Payload::Bytes(bytes),
        Content::File(file, range) => file.to_be_sent(range),
        Content::UntilEnd(file) => file.to_be_sent(0..u64::MAX),
        Content::Sequence(sequence) => Payload::Sequence(Box::new(InSequence::new(sequence))),
        #[cfg(feature = "remote")]
        Content::Relayed(relayed) => Payload::Reading(relayed.into_reading()),
    });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(cached) = cached {
        response.extensions_mut().insert(cached);
    }
    response
}

/// The answer where no site is for the host.
fn of_no_site(asked: &Asked<'_>) -> Answer {
    let is_misdirected = || {
        let (name, host) = (asked.server_name?, asked.host()?);
        Some(!is_same(name.as_bytes(), host))
    };
    let status = match check_message(asked.head) {
        Err(refusal) => refusal.status(),
        // RFC 9110 §15.5.20: the client may try it over another connection.
        Ok(()) if is_misdirected() == Some(true) => StatusCode::MISDIRECTED_REQUEST,
        Ok(()) => StatusCode::NOT_FOUND,
    };
    let answer = Answer::error(status);
    if asked.head.method == Method::HEAD { answer.without_content() } else { answer }
}
