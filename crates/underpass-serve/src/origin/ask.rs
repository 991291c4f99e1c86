//! Asking an origin, on a thread of the store: its answer, and what is made of it.
//!
//! The thread then takes the content, if it is kept.
//!
//! Source: RFC 9110 §13.1.2 (If-None-Match), §15.5.17 (416); RFC 9111 §4.3.1; RFC 5861 §4; RFC 6585
//! §4 (429).

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use underpass_client::{ClientError, Condition, Field, Interrupt, Method, Range, Response};
use underpass_remote::{Entry, Fill, Object, OriginAsk, StoreError};

use super::negative::Known;
use super::policy::{self, Why};
use super::question::Question;
use super::{OriginSite, heads};
use crate::answer::{Answer, Content};

/// How long it is known of a path that what is there is not kept.
const RELAYED_FOR: Duration = Duration::from_secs(120);

/// An answer that is not kept is given to the one who asked if it is no longer than this; who
/// waits for a longer one asks for it anew, so that no thread of the store waits for a client.
const SMALL: u64 = 256 << 10;

/// An answer that is for one.
pub(super) type Small = Arc<Mutex<Option<Answer>>>;

/// What came of it.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// It is here, or will be; with the status of the answer. Those who waited find its object
    /// open, and all that came of it.
    Here(Arc<Entry>, u16, Option<Arc<Object>>),
    /// It says this and no more, to all: that there is nothing, or not now.
    Says(StatusCode, HeaderMap),
    /// It is at another path of the origin.
    Moved(HeaderValue),
    /// It is not kept.
    Relay(Why, Small),
    /// The origin failed: the status that says so, and what the origin says of it.
    Failed(StatusCode, HeaderMap),
    /// It was purged meanwhile.
    Purged,
}

impl OriginSite {
    /// Asks, and what of it is to be taken yet.
    pub(super) fn exchange<'i>(
        &self,
        question: &Question,
        interrupt: &'i Interrupt,
    ) -> (Ended, Option<(Fill, Response<'i>)>) {
        let asked_ms = heads::now_ms();
        let response = match self.request(question, interrupt) {
            Ok(response) => response,
            Err(error) => return (self.failed(question, &error), None),
        };
        if question.mark.is_purged() {
            return (Ended::Purged, None);
        }
        if let Some(to) = self.moved(&question.path, &response) {
            return (Ended::Moved(to), None);
        }
        let said = StatusCode::from_u16(response.status).unwrap_or(StatusCode::BAD_GATEWAY);
        match (response.status, &question.entry) {
            // Its other bytes could not be told from those of another generation.
            (206, _) if question.range != Range::Whole && !has_strong_tag(&response) => {
                let whole = Question { range: Range::Whole, ..question.clone() };
                self.exchange(&whole, interrupt)
            }
            (200 | 206, _) => self.take(question, response, asked_ms),
            (304, Some(entry)) => match self.renew(entry, &response, asked_ms) {
                Some(ended) => (ended, None),
                // It speaks of another one, which is asked for whatever it is.
                None => self.exchange(&Question { entry: None, ..question.clone() }, interrupt),
            },
            (status, _) if self.says_absent(status) => {
                let said = if status == 410 { said } else { StatusCode::NOT_FOUND };
                (self.absent(question, said, &response), None)
            }
            (416, _) if question.range != Range::Whole => {
                let head = Question { is_head: true, range: Range::Whole, ..question.clone() };
                self.exchange(&head, interrupt)
            }
            (304 | 416, _) => (Ended::Failed(StatusCode::BAD_GATEWAY, HeaderMap::new()), None),
            (500 | 502..=504, _) => (Ended::Failed(said, retry_after(&response)), None),
            // These are answers and no failures: they are for all who wait.
            (429 | 501.., _) => (Ended::Says(said, retry_after(&response)), None),
            _ => (self.not_kept(question, response, Why::Status), None),
        }
    }

    fn request<'i>(
        &self,
        question: &Question,
        interrupt: &'i Interrupt,
    ) -> Result<Response<'i>, ClientError> {
        let head = question.entry.as_ref().map(|entry| entry.head());
        let of_old = |name: &str| head.as_ref().and_then(|head| head.field(name));
        let date = of_old("last-modified").filter(|_| of_old("etag").is_none());
        let date = date.and_then(|date| format!("If-Modified-Since: {date}").parse().ok());
        let fields: Vec<Field> = date.into_iter().collect();
        let ask = OriginAsk {
            method: if question.is_head { Method::Head } else { Method::Get },
            range: question.range,
            condition: of_old("etag").map_or(Condition::Always, Condition::IfNoneMatch),
            fields: &fields,
        };
        let response = self.origin.ask(&question.path, &ask, interrupt);
        self.counts.count_asked(response.as_ref().ok().map(|response| response.status));
        response
    }

    /// Where the origin sent this request, if that is another of its paths: clients are told, or
    /// relative references of a page would lead elsewhere.
    pub(super) fn moved(&self, path: &str, response: &Response<'_>) -> Option<HeaderValue> {
        let (asked, root) = (self.origin.url(path).ok()?, self.origin.url("/").ok()?);
        let (asked, root, from) = (asked.to_string(), root.to_string(), response.url.to_string());
        let to = from.strip_prefix(root.strip_suffix('/')?).filter(|to| to.starts_with('/'))?;
        // Two slashes would begin the name of another host.
        let to = format!("/{}", to.trim_start_matches('/'));
        if from == asked { None } else { HeaderValue::from_str(&to).ok() }
    }

    fn failed(&self, question: &Question, error: &ClientError) -> Ended {
        let status = status_of(error);
        self.counts
            .warn(|| format!("{}: {status}: {}", question.key, crate::refusal::chain(error)));
        Ended::Failed(status, HeaderMap::new())
    }

    /// What is here is so still.
    fn renew(&self, entry: &Arc<Entry>, response: &Response<'_>, asked_ms: u64) -> Option<Ended> {
        let said = heads::without_connection(response);
        let head = heads::merged(&entry.head(), &said, asked_ms)?;
        // It may be for one client now.
        if policy::refusal(&HeaderMap::new(), StatusCode::OK, &heads::fields(&head)).is_some() {
            return None;
        }
        self.store.refresh(entry, head);
        Some(Ended::Here(Arc::clone(entry), 304, None))
    }

    fn absent(&self, question: &Question, status: StatusCode, response: &Response<'_>) -> Ended {
        self.store.purge(&question.key);
        let map = heads::to_map(pairs(&heads::without_connection(response)));
        let is_for_all = !matches!(
            policy::refusal(&HeaderMap::new(), StatusCode::OK, &map),
            Some(Why::NoStore | Why::Private)
        );
        if is_for_all {
            let known = Known::Absent(status);
            self.know(question, known, self.negative_for);
        }
        Ended::Says(status, HeaderMap::new())
    }

    /// It is so from now on, for a time, but after a purge.
    fn know(&self, question: &Question, known: Known, time: Duration) {
        self.negative.put(question.key.clone(), known, Instant::now(), time);
        if question.mark.is_purged() {
            self.negative.forget(&question.key);
        }
    }

    /// Keeps what is answered, if it may be kept.
    fn take<'i>(
        &self,
        question: &Question,
        response: Response<'i>,
        asked_ms: u64,
    ) -> (Ended, Option<(Fill, Response<'i>)>) {
        let status = response.status;
        let map = heads::to_map(pairs(&heads::without_connection(&response)));
        if let Some(why) = policy::refusal(&HeaderMap::new(), StatusCode::OK, &map) {
            return (self.not_kept(question, response, why), None);
        }
        let Some(len) = response.body.total else {
            return (self.not_kept(question, response, Why::Length), None);
        };
        if question.is_head && !has_strong_tag(&response) {
            // Whether the content is of this head could not be told.
            return (self.not_kept(question, response, Why::Length), None);
        }
        let first = response.body.place.at;
        let first = if question.is_head { 0..0 } else { first..first + here(&response, len) };
        let head = heads::kept(&response, len, asked_ms);
        let head = if question.is_head { heads::of_head(head) } else { head };
        match self.store.insert(&question.key, &self.origin, head, first) {
            Ok((entry, fill)) => {
                self.remove_if_purged(question, &entry);
                let rest = (!question.is_head).then_some((fill, response));
                let object = entry.object(&self.origin).ok();
                (Ended::Here(entry, status, object), rest)
            }
            Err(error) => {
                if !matches!(error, StoreError::TooLarge { .. }) {
                    self.counts.warn(|| crate::refusal::chain(&error));
                }
                (self.not_kept(question, response, Why::Room), None)
            }
        }
    }

    fn remove_if_purged(&self, question: &Question, entry: &Arc<Entry>) {
        let is_there = || self.store.get(&question.key).is_some_and(|it| Arc::ptr_eq(&it, entry));
        if question.mark.is_purged() && is_there() {
            self.store.purge(&question.key);
        }
    }

    fn not_kept(&self, question: &Question, response: Response<'_>, why: Why) -> Ended {
        let is_plain = !question.is_head && response.status != 206;
        // A head or a part without a length says nothing of the whole.
        if is_plain || why != Why::Length {
            self.store.purge(&question.key);
            let known = Known::Relayed(why);
            self.know(question, known, RELAYED_FOR);
        }
        let small = if is_plain { small(response) } else { None };
        let content = small.as_ref().and_then(|answer| answer.content.len()).unwrap_or(0);
        self.counts.count_received(usize::try_from(content).unwrap_or(0));
        Ended::Relay(why, Arc::new(Mutex::new(small)))
    }
}

/// What clients are told of an origin that gave no answer: it is late, or what it says is wrong.
pub(super) const fn status_of(error: &ClientError) -> StatusCode {
    if matches!(error, ClientError::Open { .. }) {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::BAD_GATEWAY
    }
}

/// When it may be asked again, if it says so.
fn retry_after(response: &Response<'_>) -> HeaderMap {
    let map = heads::to_map(pairs(&heads::without_connection(response)));
    map.get(RETRY_AFTER).cloned().map(|value| (RETRY_AFTER, value)).into_iter().collect()
}

/// Whether its bytes can be told from those of another generation.
fn has_strong_tag(response: &Response<'_>) -> bool {
    response.head.field("etag").is_some_and(|tag| tag.starts_with('"'))
}

/// Bytes of the object that this answer has.
fn here(response: &Response<'_>, len: u64) -> u64 {
    let left = response.body.remaining().unwrap_or(len);
    left.min(len - response.body.place.at.min(len))
}

/// All of an answer, if it is small.
fn small(mut response: Response<'_>) -> Option<Answer> {
    let len = response.body.remaining().filter(|len| *len <= SMALL)?;
    let mut content = Vec::new();
    (&mut response.body).take(SMALL + 1).read_to_end(&mut content).ok()?;
    if content.len() as u64 != len {
        return None;
    }
    let mut headers = heads::to_map(pairs(&heads::without_connection(&response)));
    headers.remove(DATE);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    let status = StatusCode::from_u16(response.status).ok()?;
    let content = if content.is_empty() { Content::Empty } else { Content::Memory(content.into()) };
    Some(Answer { status, headers, content, cached: None })
}

pub(super) fn pairs(fields: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}
