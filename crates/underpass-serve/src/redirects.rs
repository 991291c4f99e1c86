//! Redirects by path, which come before anything is looked up.
//!
//! They are written as in the `_redirects` files of static hosts: from, to and status, with `*` for
//! the rest of a path and `:splat` for what it stood for. The path is compared decoded and
//! normalised; what is put in for `:splat` is encoded again, and holds no empty segment, so that
//! no request chooses the host to which it is sent.
//!
//! Source: RFC 9110 §10.2.2 (Location), §15.4.2 to §15.4.9; RFC 3986 §4.2 (a reference that
//! begins with two slashes names an authority).

use std::str::FromStr;

use http::header::HeaderValue;
use http::request::Parts;
use http::{StatusCode, Uri};

use crate::answer::Answer;
use crate::target::{Target, TargetError, encode};

const SPLAT: &str = ":splat";

/// One redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// A decoded path without a slash at its end.
    from: Vec<u8>,
    /// Whether all that is beneath it is redirected too.
    is_splat: bool,
    to: String,
    status: StatusCode,
}

/// What is wrong with a redirect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// Not two or three words.
    #[error("give 'FROM TO' or 'FROM TO STATUS'")]
    Words,
    /// FROM is not a path.
    #[error("FROM is not a path")]
    From(#[from] TargetError),
    /// FROM has `*` elsewhere than at its end, a name to be filled in, or a query.
    #[error("FROM is a path, at whose end '/*' may stand for the rest; it has no ':names' or '?'")]
    Pattern,
    /// TO cannot be sent as a reference.
    #[error("TO is a path such as /new, or a URL such as https://example.org/new")]
    To,
    /// TO has `:splat` where a request could choose the host, or FROM has no `*`.
    #[error("':splat' belongs in TO, after its host, and stands for the '*' in FROM")]
    Splat,
    /// What it leads to is redirected again, and again.
    #[error("TO is redirected again by the same rule, without end")]
    Endless,
    /// Not the status of a redirect.
    #[error("the status is one of 301, 302, 303, 307 and 308")]
    Status,
}

impl FromStr for Redirect {
    type Err = RedirectError;

    fn from_str(text: &str) -> Result<Self, RedirectError> {
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let (from, to, status) = match *words.as_slice() {
            [from, to] => (from, to, StatusCode::MOVED_PERMANENTLY),
            [from, to, status] => (from, to, parse_status(status)?),
            _ => return Err(RedirectError::Words),
        };
        let (path, is_splat) = match from.strip_suffix("/*") {
            Some(path) => (format!("{path}/"), true),
            None => (from.to_owned(), false),
        };
        if path.contains(['*', '?', '#']) || path.contains("/:") {
            return Err(RedirectError::Pattern);
        }
        let from = without_slash(Target::parse(&path)?.as_bytes()).to_vec();
        check_destination(to, is_splat)?;
        let redirect = Self { from, is_splat, to: to.to_owned(), status };
        if redirect.is_endless() { Err(RedirectError::Endless) } else { Ok(redirect) }
    }
}

fn parse_status(word: &str) -> Result<StatusCode, RedirectError> {
    let status = word
        .parse()
        .ok()
        .filter(|status: &StatusCode| matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308));
    status.ok_or(RedirectError::Status)
}

/// A path must not be read as a host, which browsers do after `/\` too, and a host must be there
/// before anything of a request is put in.
fn check_destination(to: &str, is_splat: bool) -> Result<(), RedirectError> {
    let is_sendable = to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if !is_sendable || to.starts_with("//") {
        return Err(RedirectError::To);
    }
    let host_end = if to.starts_with('/') {
        1
    } else {
        let rest = to.strip_prefix("https://").or_else(|| to.strip_prefix("http://"));
        let rest = rest.ok_or(RedirectError::To)?;
        let host_end = to.len() - rest.len() + rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if to[..host_end].contains(SPLAT) {
            return Err(RedirectError::Splat);
        }
        let is_url = to[..host_end].parse().is_ok_and(|uri: Uri| uri.host().is_some());
        if !is_url {
            return Err(RedirectError::To);
        }
        host_end
    };
    match to.find(SPLAT) {
        Some(at) if !is_splat || at < host_end => Err(RedirectError::Splat),
        _ => Ok(()),
    }
}

impl Redirect {
    /// What `*` stands for if the path is redirected.
    fn splat<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        if without_slash(path) == self.from {
            return Some(b"");
        }
        if !self.is_splat || self.from.is_empty() {
            return self.is_splat.then_some(path);
        }
        path.strip_prefix(&*self.from)?.strip_prefix(b"/")
    }

    /// Whether there is no end to where it leads: the same rule applies to each place that it
    /// leads to.
    fn is_endless(&self) -> bool {
        let path = self.to.split(['?', '#']).next().unwrap_or_default();
        let to = self.path_of(&path.replace(SPLAT, "x"));
        path.contains(SPLAT) && to.is_some_and(|to| self.splat(&to).is_some())
    }

    /// The decoded path of a location in this site.
    fn path_of(&self, location: &str) -> Option<Vec<u8>> {
        let path = location.split(['?', '#']).next()?;
        Target::parse(path).ok().map(|target| target.as_bytes().to_vec())
    }

    /// Where a request is sent; nothing if the rule is for others, or would lead to where the
    /// request is. The query is kept unless TO has one.
    fn location(&self, target: &Target<'_>, query: Option<&str>) -> Option<HeaderValue> {
        let splat = self.splat(target.as_bytes())?;
        let (to, fragment) = self.to.split_at(self.to.find('#').unwrap_or(self.to.len()));
        let mut location = to.replace(SPLAT, &encode(splat).to_string());
        if self.path_of(&location).as_deref() == Some(target.as_bytes()) {
            return None;
        }
        if let Some(query) = query.filter(|_| !to.contains('?')) {
            location.push('?');
            location.push_str(query);
        }
        location.push_str(fragment);
        HeaderValue::try_from(location).ok()
    }
}

fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

/// The redirects of a site: of those that a path has, the first one holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirects(Vec<Redirect>);

impl Redirects {
    /// These, in this order.
    #[must_use]
    pub const fn new(redirects: Vec<Redirect>) -> Self {
        Self(redirects)
    }

    /// Whether requests for this are redirected, which is not up to their query.
    pub(crate) fn have(&self, target: &Target<'_>) -> bool {
        self.0.iter().any(|redirect| redirect.location(target, None).is_some())
    }

    /// The answer to a request that is redirected.
    pub(crate) fn answer(&self, request: &Parts) -> Option<Answer> {
        if self.0.is_empty() {
            return None;
        }
        let target = Target::parse(request.uri.path()).ok()?;
        self.0.iter().find_map(|redirect| {
            let location = redirect.location(&target, request.uri.query())?;
            Some(Answer::redirect(redirect.status, location))
        })
    }
}

#[cfg(test)]
mod tests;
