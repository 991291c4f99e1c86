//! Asking an origin, once for all who wait for the answer.
//!
//! Its head is waited for by a thread of the store; those who want to know are woken by a channel.
//! The thread then takes the content, if it is kept.
//!
//! Source: RFC 9110 §13.1.2 (If-None-Match), §15.5.17 (416); RFC 9111 §4.3.1.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER};
use http::request::Parts;
use http::{Method as HttpMethod, StatusCode};
use tokio::sync::watch;
use tokio::time::timeout;
use underpass_client::{
    ClientError, Condition, Field, Interrupt, Method, Range, Response, Timeouts,
};
use underpass_remote::{Entry, Fill, Key, Object, OriginAsk, StoreError};

use super::negative::Known;
use super::policy::{self, Why};
use super::{OriginSite, heads, lock};
use crate::answer::{Answer, Content};
use crate::conditional::sole;

/// How long it is known of a path that what is there is not kept.
const RELAYED_FOR: Duration = Duration::from_secs(120);

/// An answer that is not kept is given to the one who asked if it is no longer than this; who
/// waits for a longer one asks for it anew, so that no thread of the store waits for a client.
const SMALL: u64 = 256 << 10;

/// What is waited for.
pub(super) type Asking = watch::Receiver<Option<Ended>>;

/// An answer that is for one.
pub(super) type Small = Arc<Mutex<Option<Answer>>>;

/// What came of it.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// It is here, or will be; with the status of the answer. Those who waited find its object
    /// open, and all that came of it.
    Here(Arc<Entry>, u16, Option<Arc<Object>>),
    /// There is nothing.
    Absent(StatusCode),
    /// It is at another path of the origin.
    Moved(HeaderValue),
    /// It is not kept.
    Relay(Why, Small),
    /// The origin failed: the status that says so, and what the origin says of it.
    Failed(StatusCode, HeaderMap),
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    key: Key,
    path: String,
    is_head: bool,
    range: Range,
    entry: Option<Arc<Entry>>,
}

impl Question {
    /// For what is not here, as far as this request wants it.
    pub(super) fn first(key: &Key, path: &str, request: &Parts) -> Self {
        let is_head = request.method == HttpMethod::HEAD;
        Self { is_head, range: range(&request.headers), ..Self::whole(key, path) }
    }

    /// Whether what is here is still so.
    pub(super) fn again(key: &Key, path: &str, entry: &Arc<Entry>) -> Self {
        Self { entry: Some(Arc::clone(entry)), ..Self::whole(key, path) }
    }

    /// For all of it.
    pub(super) fn whole(key: &Key, path: &str) -> Self {
        let (key, path) = (key.clone(), path.to_owned());
        Self { key, path, is_head: false, range: Range::Whole, entry: None }
    }
}

/// The one range that a request is for; all of it for several, or under a condition.
pub(super) fn range(headers: &HeaderMap) -> Range {
    let field = sole(headers, &RANGE).and_then(|field| field.to_str().ok());
    let text = field.filter(|_| !headers.contains_key(IF_RANGE));
    let range = text.and_then(|text| text.trim().strip_prefix("bytes="));
    let range = range.and_then(|range| range.trim().parse().ok());
    // The last no bytes of something are not satisfiable.
    range.filter(|range| *range != Range::Suffix(0)).unwrap_or_default()
}

/// Waits for what comes of it.
pub(super) async fn end(mut asking: Asking, timeouts: Timeouts) -> Ended {
    let said = asking.wait_for(Option::is_some);
    let ended = match timeouts.idle.zip(timeouts.connect) {
        // It may wait for a thread as well, behind fills that take long.
        Some((idle, connect)) => match timeout(idle + connect, said).await {
            Ok(said) => said.ok().and_then(|ended| ended.clone()),
            Err(_) => Some(Ended::Failed(StatusCode::GATEWAY_TIMEOUT, HeaderMap::new())),
        },
        None => said.await.ok().and_then(|ended| ended.clone()),
    };
    // As many wait for a thread as may.
    ended.unwrap_or_else(|| Ended::Failed(StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new()))
}

impl OriginSite {
    /// Asks, or joins those who wait; whether it asks.
    pub(super) fn ask(self: &Arc<Self>, question: Question) -> (Asking, bool) {
        let mut all = lock(&self.asking);
        // One that ended without a word is of no use.
        let known = all.get(&question.key).filter(|known| known.has_changed().is_ok());
        if let Some(known) = known {
            return (known.clone(), false);
        }
        let (sender, asking) = watch::channel(None);
        all.insert(question.key.clone(), asking.clone());
        drop(all);
        let (site, key) = (Arc::clone(self), question.key.clone());
        let is_begun = self.store.spawn(move |interrupt| site.run(&question, &sender, interrupt));
        if !is_begun {
            lock(&self.asking).remove(&key);
        }
        (asking, true)
    }

    fn run(
        &self,
        question: &Question,
        sender: &watch::Sender<Option<Ended>>,
        interrupt: &Interrupt,
    ) {
        let (ended, rest) = self.exchange(question, interrupt);
        if let Ended::Failed(status, _) = &ended {
            tracing::debug!("{}: {status}", question.key);
        }
        // Those who come now find what was made of the answer.
        lock(&self.asking).remove(&question.key);
        sender.send_replace(Some(ended));
        if let Some((fill, response)) = rest {
            fill.run(response, interrupt);
        }
    }

    /// Asks, and what of it is to be taken yet.
    fn exchange<'i>(
        &self,
        question: &Question,
        interrupt: &'i Interrupt,
    ) -> (Ended, Option<(Fill, Response<'i>)>) {
        let response = match self.request(question, interrupt) {
            Ok(response) => response,
            Err(error) => return (self.failed(question, &error), None),
        };
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
            (200 | 206, _) => self.take(question, response),
            (304, Some(entry)) => match self.renew(entry, &response) {
                Some(ended) => (ended, None),
                // It speaks of another one, which is asked for whatever it is.
                None => self.exchange(&Question::whole(&question.key, &question.path), interrupt),
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
            (429 | 500.., _) => {
                let map = heads::to_map(pairs(&heads::without_connection(&response)));
                let retry = map.get(RETRY_AFTER).cloned().map(|value| (RETRY_AFTER, value));
                (Ended::Failed(as_told(said), retry.into_iter().collect()), None)
            }
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
    fn renew(&self, entry: &Arc<Entry>, response: &Response<'_>) -> Option<Ended> {
        let said = heads::without_connection(response);
        let head = heads::merged(&entry.head(), &said, heads::now_ms())?;
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
            self.negative.put(question.key.clone(), known, Instant::now(), self.negative_for);
        }
        Ended::Absent(status)
    }

    /// Keeps what is answered, if it may be kept.
    fn take<'i>(
        &self,
        question: &Question,
        response: Response<'i>,
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
        let head = heads::kept(&response, len);
        match self.store.insert(&question.key, &self.origin, head, first) {
            Ok((entry, fill)) => {
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

    fn not_kept(&self, question: &Question, response: Response<'_>, why: Why) -> Ended {
        let is_plain = !question.is_head && response.status != 206;
        // A head or a part without a length says nothing of the whole.
        if is_plain || why != Why::Length {
            self.store.purge(&question.key);
            let known = Known::Relayed(why);
            self.negative.put(question.key.clone(), known, Instant::now(), RELAYED_FOR);
        }
        let small = if is_plain { small(response) } else { None };
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

/// A status that says the same to clients of this server.
fn as_told(status: StatusCode) -> StatusCode {
    match status.as_u16() {
        429 | 500 | 503 | 504 => status,
        _ => StatusCode::BAD_GATEWAY,
    }
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
    Some(Answer { status, headers, content })
}

pub(super) fn pairs(fields: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}
