//! What may be kept of an origin's answer, and how long it may be given out without asking again.
//!
//! What a shared cache may keep, and for how long it is fresh, are `http-cache-semantics`' to say.
//! Stale answers are this file's, since that crate has nothing of them.
//!
//! Source: RFC 9111 §3 (storing), §3.5 (Authorization), §4.2 (freshness), §4.2.2 (heuristics),
//! §4.2.3 (age), §4.2.4 (stale), §5.2 (directives have no case); RFC 5861 (stale-while-revalidate,
//! stale-if-error); RFC 9110 §12.5.5 (Vary).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, DATE, HeaderMap, HeaderValue, SET_COOKIE, VARY,
};
use http::{Request, Response, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};

use crate::conditional::sole;

/// The longest that something is fresh of which its origin says nothing but how old it is.
const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// RFC 9111 §1.2.2: what is larger is taken as this.
const SECONDS_MAX: u64 = 1 << 31;

/// What holds where an answer says nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defaults {
    /// How long it is fresh; a tenth of its age, and a day at most, without.
    pub fresh_for: Option<Duration>,
    /// How long after that it is given out while the origin is asked in the background.
    pub stale_while_revalidate: Duration,
    /// How long after that it is given out if the origin fails.
    pub stale_if_error: Duration,
}

/// Why an answer is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    /// Its status is another than 200.
    Status,
    /// It says so.
    NoStore,
    /// It is for one client.
    Private,
    /// It tells one client who that is.
    SetCookie,
    /// The request said who asks, and the answer does not say that it is for all.
    Authorization,
    /// It depends on fields of the request.
    Vary,
    /// It has no length until it ends.
    Length,
    /// It is larger than what is kept, or there is no room.
    Room,
    /// It was purged each time that it was asked for.
    Purged,
}

impl Why {
    pub(crate) const ALL: [Self; 9] = [
        Self::Status,
        Self::NoStore,
        Self::Private,
        Self::SetCookie,
        Self::Authorization,
        Self::Vary,
        Self::Length,
        Self::Room,
        Self::Purged,
    ];

    /// As fields, metrics and logs have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::SetCookie => "set-cookie",
            Self::Authorization => "authorization",
            Self::Vary => "vary",
            Self::Length => "length",
            Self::Room => "room",
            Self::Purged => "purged",
        }
    }
}

/// In which case something stale is asked to stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instead {
    /// The origin is asked in the background.
    WhileAsking,
    /// The origin was asked, and failed.
    OfError,
}

/// How long an answer is fresh, and may be given out after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    asked: SystemTime,
    /// How old it was then: how long the answer took counts as age.
    age: Duration,
    fresh_for: Duration,
    while_asking: Duration,
    if_error: Duration,
}

impl Policy {
    /// That of a 200 with these fields, that was asked for at this time.
    pub(crate) fn of(headers: &HeaderMap, asked_ms: u64, defaults: &Defaults) -> Self {
        let asked = UNIX_EPOCH + Duration::from_millis(asked_ms.min(SECONDS_MAX * 1_000_000));
        let directives = Directives::of(headers);
        let forbids_stale = ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage"];
        let is_never_stale = forbids_stale.iter().any(|name| directives.has(name));
        let stale = |name: &str, default: Duration| match directives.seconds(name) {
            _ if is_never_stale => Duration::ZERO,
            Some(seconds) => seconds,
            None => default,
        };
        Self {
            asked,
            age: age(headers).max(apparent_age(headers, asked)),
            fresh_for: fresh_for(headers, &directives, asked, defaults),
            while_asking: stale("stale-while-revalidate", defaults.stale_while_revalidate),
            if_error: stale("stale-if-error", defaults.stale_if_error),
        }
    }

    /// How old it is, and how long it is fresh from now on. A clock that was set back makes it
    /// stale: there is no telling how long it has been here.
    pub(crate) fn lifetime(&self, now: SystemTime) -> (Duration, Duration) {
        match now.duration_since(self.asked) {
            Ok(here) => (self.age + here, self.fresh_for.saturating_sub(self.age + here)),
            Err(_) => (self.age, Duration::ZERO),
        }
    }

    /// Whether it may be given out at once.
    pub(crate) fn is_fresh(&self, now: SystemTime) -> bool {
        self.lifetime(now).1 > Duration::ZERO
    }

    /// For how long it has been stale.
    pub(crate) fn stale_for(&self, now: SystemTime) -> Duration {
        self.lifetime(now).0.saturating_sub(self.fresh_for)
    }

    /// Whether it may be given out though it is stale.
    pub(crate) fn may_stand_in(&self, instead: Instead, now: SystemTime) -> bool {
        let limit = match instead {
            Instead::WhileAsking => self.while_asking,
            Instead::OfError => self.if_error,
        };
        // Nothing is known of the time that passed while the clock was set back.
        now >= self.asked && self.stale_for(now) < limit
    }
}

/// Why a GET or HEAD that was answered with this is not kept, if it is not.
pub(crate) fn refusal(request: &HeaderMap, status: StatusCode, headers: &HeaderMap) -> Option<Why> {
    let directives = Directives::of(headers);
    let of_directives = [("no-store", Why::NoStore), ("private", Why::Private)];
    let named = of_directives.into_iter().find(|(name, _)| directives.has(name));
    if status != StatusCode::OK {
        Some(Why::Status)
    } else if let Some((_, why)) = named {
        Some(why)
    } else if headers.contains_key(SET_COOKIE) {
        Some(Why::SetCookie)
    } else if varies(headers) {
        Some(Why::Vary)
    } else if request.contains_key(AUTHORIZATION) && !allows_sharing(&directives) {
        Some(Why::Authorization)
    } else if !semantics(headers, UNIX_EPOCH).is_storable() {
        Some(Why::NoStore)
    } else {
        None
    }
}

/// RFC 9111 §3.5.
fn allows_sharing(directives: &Directives) -> bool {
    ["public", "s-maxage", "must-revalidate"].iter().any(|name| directives.has(name))
}

/// By another field than Accept-Encoding, which this cache always sends as `identity`.
fn varies(headers: &HeaderMap) -> bool {
    let values = headers.get_all(VARY).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let names = names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    names.into_iter().any(|name| !name.eq_ignore_ascii_case(b"accept-encoding"))
}

/// How old an answer was when it was asked for, by the clock of who made it. In whole seconds, as
/// its Date is.
fn apparent_age(headers: &HeaderMap, asked: SystemTime) -> Duration {
    let date = sole(headers, &DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let since = date.and_then(|date| asked.duration_since(date).ok());
    Duration::from_secs(since.unwrap_or_default().as_secs().min(SECONDS_MAX))
}

/// How old an answer was when it came, as it says.
fn age(headers: &HeaderMap) -> Duration {
    let value = headers.get(AGE).and_then(|value| value.to_str().ok());
    value.and_then(|text| seconds(text.trim())).unwrap_or_default()
}

fn fresh_for(
    headers: &HeaderMap,
    directives: &Directives,
    asked: SystemTime,
    defaults: &Defaults,
) -> Duration {
    if directives.has("no-cache") {
        return Duration::ZERO;
    }
    // Larger numbers than the crate reads would be none to it.
    let explicit = ["s-maxage", "max-age"].iter().find(|name| directives.has(name));
    if let Some(name) = explicit {
        return directives.seconds(name).unwrap_or_default();
    }
    let by_rules = semantics(headers, asked).time_to_live(asked);
    if headers.contains_key(http::header::EXPIRES) || directives.has("immutable") {
        return by_rules;
    }
    defaults.fresh_for.unwrap_or_else(|| by_rules.min(HEURISTIC_MAX))
}

/// What the crate says of a plain GET with this answer, as of when it was asked for. It knows no
/// directive in capitals. How old the answer was is counted here, and the crate's sum may overflow.
fn semantics(headers: &HeaderMap, asked: SystemTime) -> CachePolicy {
    let mut headers = headers.clone();
    headers.remove(AGE);
    let lower: Vec<_> = headers.get_all(CACHE_CONTROL).iter().filter_map(in_lower_case).collect();
    headers.remove(CACHE_CONTROL);
    lower.into_iter().for_each(|value| {
        headers.append(CACHE_CONTROL, value);
    });
    let mut response = Response::new(());
    *response.headers_mut() = headers;
    let options = CacheOptions { shared: true, ..CacheOptions::default() };
    CachePolicy::new_options(&Request::new(()), &response, asked, options)
}

fn in_lower_case(value: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&value.as_bytes().to_ascii_lowercase()).ok()
}

/// The directives of Cache-Control, in lower case.
struct Directives(Vec<(String, Option<String>)>);

impl Directives {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(CACHE_CONTROL).iter();
        let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
        let mut all = Vec::new();
        for text in texts {
            for part in text.split(',') {
                let (name, value) = match part.split_once('=') {
                    Some((name, value)) => (name, Some(value.trim().trim_matches('"').to_owned())),
                    None => (part, None),
                };
                all.push((name.trim().to_owned(), value));
            }
        }
        Self(all)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Its number; nothing if it has none, or two that differ.
    fn seconds(&self, name: &str) -> Option<Duration> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        let first = values.next()?.as_deref().and_then(seconds)?;
        values.all(|value| value.as_deref().and_then(seconds) == Some(first)).then_some(first)
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().unwrap_or(SECONDS_MAX).min(SECONDS_MAX));
    number.map(Duration::from_secs)
}

/// Whether a client wants no answer but from the cache.
pub(crate) fn is_only_if_cached(request: &HeaderMap) -> bool {
    Directives::of(request).has("only-if-cached")
}

#[cfg(test)]
mod tests;
