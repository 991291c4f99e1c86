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

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, DATE, HeaderMap, HeaderName, HeaderValue,
    LOCATION,
};
use http::request::Parts;
use http::{Method as HttpMethod, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use underpass_client::{ClientError, Condition, Field, Interrupt, Method, Range, Response};
use underpass_remote::{Collect, Key, OriginAsk};

use super::ask::{pairs, status_of};
use super::policy::Why;
use super::question::range;
use super::status::CacheStatus;
use super::under_way::Mark;
use super::{OriginSite, heads, policy};
use crate::answer::{Answer, Content};
use crate::reading::Reading;
use crate::refusal::chain;

/// Bytes that are read at a time, of which a few may wait for the client.
const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = 4;

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
    pieces: mpsc::Receiver<io::Result<Bytes>>,
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
    ) -> (Answer, CacheStatus) {
        self.counts.count_relayed(why);
        let failed = |status| (Answer::error(status), CacheStatus::Failed);
        let permit = Arc::clone(&self.relays).try_acquire_owned();
        let (Ok(permit), Ok(interrupt)) = (permit, self.interrupt()) else {
            return failed(StatusCode::SERVICE_UNAVAILABLE);
        };
        let key = self.key(path).filter(|_| why == Why::Length && is_anybody(&request.headers));
        let key = key.map(|key| (key.clone(), self.under_way.begin(&key)));
        // What is kept for all is not for what one client says of itself.
        let fields = if key.is_some() { Vec::new() } else { fields(&request.headers) };
        let onward = Onward {
            path: path.to_owned(),
            method: if request.method == HttpMethod::HEAD { Method::Head } else { Method::Get },
            range: range(&request.headers),
            fields,
            key,
        };
        let (sender, come) = oneshot::channel();
        let site = Arc::clone(self);
        let run = move || site.send_on(&onward, (&interrupt, permit), sender);
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(run);
        let come = if thread.is_ok() { come.await.ok() } else { None };
        match come {
            Some(Ok(come)) => {
                self.counts.count_asked(Some(come.status.as_u16()));
                (answer(come, request), CacheStatus::Relayed(why))
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
        (interrupt, _permit): (&Interrupt, OwnedSemaphorePermit),
        sender: oneshot::Sender<Result<Come, ClientError>>,
    ) {
        let Onward { path, method, range, fields, key } = onward;
        let condition = Condition::Always;
        let ask = OriginAsk { method: *method, range: *range, condition, fields };
        let asked_ms = heads::now_ms();
        let response = match self.origin.ask(path, &ask, interrupt) {
            Ok(response) => response,
            Err(error) => return drop(sender.send(Err(error))),
        };
        if let Some(to) = self.moved(path, &response) {
            let (status, pieces) = (StatusCode::TEMPORARY_REDIRECT, mpsc::channel(1).1);
            let headers = HeaderMap::from_iter([(LOCATION, to)]);
            return drop(sender.send(Ok(Come { status, headers, len: Some(0), pieces })));
        }
        let (pieces, receiver) = mpsc::channel(PIECES);
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
        if sender.send(Ok(come)).is_ok()
            && let Some(collect) = copy(response, &pieces, collect)
            && let Some((key, mark)) = key
        {
            self.keep(key, mark, collect);
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

/// Until the client is gone, at the latest; what is to be kept, if all of it came.
fn copy(
    mut response: Response<'_>,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    mut collect: Option<Collect>,
) -> Option<Collect> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let piece = match response.body.read(&mut buffer) {
            Ok(0) => return collect,
            Ok(n) => Ok(Bytes::copy_from_slice(&buffer[..n])),
            Err(error) => Err(error),
        };
        if let (Ok(bytes), Some(all)) = (&piece, &mut collect)
            && all.write(bytes).is_err()
        {
            collect = None;
        }
        let is_last = piece.is_err();
        if pieces.blocking_send(piece).is_err() || is_last {
            return None;
        }
    }
}

fn answer(come: Come, request: &Parts) -> Answer {
    let Come { status, mut headers, len, mut pieces } = come;
    headers.remove(DATE);
    let has_content = request.method != HttpMethod::HEAD
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !has_content {
        return Answer { status, headers, content: Content::Empty };
    }
    headers.remove(CONTENT_LENGTH);
    if let Some(len) = len {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
    if len == Some(0) {
        return Answer { status, headers, content: Content::Empty };
    }
    let pieces = std::iter::from_fn(move || pieces.blocking_recv());
    Answer { status, headers, content: Content::Relayed(Relayed(Reading::new(pieces, len))) }
}
