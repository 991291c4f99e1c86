//! Answers that are not kept: the origin is asked for each client.
//!
//! Head and fields are made anew of what was read, on both sides: no line is copied, so nothing
//! that one end reads in another way than the other passes. The content is copied through memory,
//! on a thread that may wait for both.
//!
//! Source: RFC 9110 §7.6 (forwarding), §7.6.1 (fields of a connection).

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, DATE, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LOCATION,
};
use http::request::Parts;
use http::{Method as HttpMethod, StatusCode};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use underpass_client::{ClientError, Condition, Field, Method, Range, Response};
use underpass_remote::{Collect, Key, OriginAsk};

use super::ask::{pairs, status_of};
use super::policy::Why;
use super::question::range;
use super::relays::Relay;
use super::status::CacheStatus;
use super::times::Times;
use super::under_way::Mark;
use super::{OriginSite, heads, policy};
use crate::answer::{Answer, Content};
use crate::reading::Reading;
use crate::refusal::chain;

/// Bytes that are read at a time, of which a few may wait for the client.
const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = 4;

/// Why one ends that nothing is wrong with.
const CUT: &str = "it was cut: its client took nothing while others waited, or the server ends";

/// Fields that are between a client and this server, or that are made anew.
const NOT_FORWARDED: [&str; 16] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "if-range",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Content that comes from an origin for one client.
pub struct Relayed(Reading);

impl Relayed {
    /// Its length, if that is known.
    #[must_use]
    pub(crate) const fn left(&self) -> Option<u64> {
        self.0.left()
    }

    pub(crate) fn into_reading(self) -> Reading {
        self.0
    }
}

impl fmt::Debug for Relayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relayed").field("left", &self.left()).finish_non_exhaustive()
    }
}

/// The head of an answer, and what its content comes from.
struct Come {
    status: StatusCode,
    headers: HeaderMap,
    len: Option<u64>,
    pieces: Pieces,
}

/// Content as it comes. What ends before its end is an error, also where no length tells.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    /// Whether all that there is was put in.
    is_over: Arc<AtomicBool>,
    is_ended: bool,
}

/// A request as it is sent on.
struct Onward {
    path: String,
    method: Method,
    range: Range,
    fields: Vec<Field>,
    /// What it is kept under if it has no length and is for all.
    key: Option<(Key, Mark)>,
}

impl OriginSite {
    /// Asks for one client alone.
    pub(super) async fn relay(
        self: &Arc<Self>,
        path: &str,
        request: &Parts,
        why: Why,
        times: &mut Times,
    ) -> (Answer, CacheStatus) {
        let since = Instant::now();
        let (answer, status, took) = self.relay_timed(path, request, why).await;
        times.add(since, took);
        (answer, status)
    }

    async fn relay_timed(
        self: &Arc<Self>,
        path: &str,
        request: &Parts,
        why: Why,
    ) -> (Answer, CacheStatus, Option<Duration>) {
        self.counts.count_relayed(why);
        let failed = |status| (Answer::error(status), CacheStatus::Failed, None);
        let Ok(interrupt) = self.interrupt() else {
            return failed(StatusCode::SERVICE_UNAVAILABLE);
        };
        let Some(relay) = self.relays.begin(interrupt).await else {
            return failed(StatusCode::SERVICE_UNAVAILABLE);
        };
        let key = self.key(path).filter(|_| why == Why::Length && is_anybody(&request.headers));
        let key = key.map(|key| (key.clone(), self.under_way.begin(&key)));
        // What is kept for all is not for what one client says of itself.
        let fields = match key {
            Some(_) => Vec::new(),
            None if self.has_directories() => fields(&conditions(&request.headers)),
            None => fields(&request.headers),
        };
        let onward = Onward {
            path: path.to_owned(),
            method: if request.method == HttpMethod::HEAD { Method::Head } else { Method::Get },
            range: range(&request.headers),
            fields,
            key,
        };
        let since = Instant::now();
        let (sender, come) = oneshot::channel();
        let (site, runtime) = (Arc::clone(self), Handle::current());
        let run = move || site.send_on(&onward, &(relay, runtime), sender);
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(run);
        let come = if thread.is_ok() { come.await.ok() } else { None };
        match come {
            Some(Ok(come)) => {
                self.counts.count_asked(Some(come.status.as_u16()));
                (answer(come, request), CacheStatus::Relayed(why), Some(since.elapsed()))
            }
            Some(Err(error)) => {
                self.counts.count_asked(None);
                let status = status_of(&error);
                self.counts.warn(|| format!("{path}: {status}: {}", chain(&error)));
                failed(status)
            }
            None => failed(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// Whether a request says nothing of who asks.
fn is_anybody(headers: &HeaderMap) -> bool {
    !headers.contains_key(COOKIE) && !headers.contains_key(AUTHORIZATION)
}

/// What a bucket is told of a request: other fields of S3 mean more than they do elsewhere, and are
/// signed.
fn conditions(headers: &HeaderMap) -> HeaderMap {
    let conditions = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
    let given = conditions.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?)));
    given.map(|(name, value)| (name, value.clone())).collect()
}

/// Fields of a request that are for its origin too.
fn fields(headers: &HeaderMap) -> Vec<Field> {
    let named: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let is_onward =
        |name: &HeaderName| !NOT_FORWARDED.contains(&name.as_str()) && !named.contains(name);
    let onward = headers.iter().filter(|(name, _)| is_onward(name));
    let onward = onward.filter_map(|(name, value)| {
        format!("{name}: {}", std::str::from_utf8(value.as_bytes()).ok()?).parse().ok()
    });
    onward.collect()
}

impl OriginSite {
    fn send_on(
        &self,
        onward: &Onward,
        by: &(Relay, Handle),
        sender: oneshot::Sender<Result<Come, ClientError>>,
    ) {
        let Onward { path, method, range, fields, key } = onward;
        let condition = Condition::Always;
        let ask = OriginAsk { method: *method, range: *range, condition, fields };
        let asked_ms = heads::now_ms();
        let response = match self.origin.ask(path, &ask, by.0.interrupt()) {
            Ok(response) => response,
            Err(error) => return drop(sender.send(Err(error))),
        };
        if let Some(to) = self.moved(path, &response) {
            let (status, pieces) = (StatusCode::TEMPORARY_REDIRECT, Pieces::of(mpsc::channel(1).1));
            let headers = HeaderMap::from_iter([(LOCATION, to)]);
            return drop(sender.send(Ok(Come { status, headers, len: Some(0), pieces })));
        }
        let (pieces, receiver) = mpsc::channel(PIECES);
        let receiver = Pieces::of(receiver);
        let is_over = Arc::clone(&receiver.is_over);
        let headers = heads::to_map(pairs(&heads::without_connection(&response)));
        let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let len = response.body.remaining();
        let is_for_all = policy::refusal(&HeaderMap::new(), status, &headers).is_none();
        // What ends with its connection may have been cut short.
        let tells_its_end = response.head.field("transfer-encoding").is_some();
        let key = key.as_ref().filter(|_| len.is_none() && tells_its_end && is_for_all);
        let head = heads::kept(&response, 0, asked_ms);
        let collect = key.and_then(|(key, _)| self.store.collect(key, head).ok());
        let come = Come { status, headers, len, pieces: receiver };
        let give = |piece: io::Result<Bytes>| {
            self.counts.count_received(piece.as_ref().map_or(0, Bytes::len));
            by.0.give(&by.1, &pieces, piece)
        };
        if sender.send(Ok(come)).is_ok()
            && let Some(all) = copy(response, collect, give)
        {
            is_over.store(true, Ordering::Release);
            if let (Some(collect), Some((key, mark))) = (all, key) {
                self.keep(key, mark, collect);
            }
        }
    }

    /// All of it came.
    fn keep(&self, key: &Key, mark: &Mark, collect: Collect) {
        if mark.is_purged() || collect.finish().is_err() {
            return;
        }
        if mark.is_purged() {
            self.store.purge(key);
        }
        self.negative.forget(key);
    }
}

/// Until the client is to have no more, at the latest. If all came: what is to be kept of it.
fn copy(
    mut response: Response<'_>,
    mut collect: Option<Collect>,
    mut give: impl FnMut(io::Result<Bytes>) -> bool,
) -> Option<Option<Collect>> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let piece = match response.body.read(&mut buffer) {
            Ok(0) => return Some(collect),
            Ok(n) => Ok(Bytes::copy_from_slice(&buffer[..n])),
            Err(error) => Err(error),
        };
        if let (Ok(bytes), Some(all)) = (&piece, &mut collect)
            && all.write(bytes).is_err()
        {
            collect = None;
        }
        let is_last = piece.is_err();
        if !give(piece) || is_last {
            return None;
        }
    }
}

impl Pieces {
    fn of(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { receiver, is_over: Arc::default(), is_ended: false }
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(piece) = self.receiver.blocking_recv() {
            return Some(piece);
        }
        let is_short = !self.is_over.load(Ordering::Acquire) && !self.is_ended;
        self.is_ended = true;
        is_short.then(|| Err(io::Error::other(CUT)))
    }
}

fn answer(come: Come, request: &Parts) -> Answer {
    let Come { status, mut headers, len, pieces } = come;
    headers.remove(DATE);
    let has_content = request.method != HttpMethod::HEAD
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !has_content {
        return Answer { status, headers, content: Content::Empty, cached: None };
    }
    headers.remove(CONTENT_LENGTH);
    if let Some(len) = len {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
    if len == Some(0) {
        return Answer { status, headers, content: Content::Empty, cached: None };
    }
    Answer {
        status,
        headers,
        content: Content::Relayed(Relayed(Reading::new(pieces, len))),
        cached: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_ends_before_its_end_is_an_error() {
        for is_over in [false, true] {
            let (sender, receiver) = mpsc::channel(2);
            let pieces = Pieces::of(receiver);
            pieces.is_over.store(is_over, Ordering::Release);
            sender.try_send(Ok(Bytes::from_static(b"x"))).unwrap();
            drop(sender);
            let all: Vec<_> = pieces.map(|piece| piece.is_ok()).collect();
            assert_eq!(all, if is_over { vec![true] } else { vec![true, false] });
        }
    }
}
