//! Objects of a bucket that speaks S3, beneath a prefix: asked for by path, listed, put, deleted.
//!
//! A path is a key behind the prefix, decoded once. Keys that have names of dots in them can have
//! no URL and are not there; keys with empty names can be asked for.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use underpass::Source;
use underpass_client::{
    Ask, Client, ClientError, Condition, Field, Interrupt, Method, Range, Response, Url,
};

use crate::origin::OriginAsk;
use crate::s3::environment::Environment;
use crate::s3::listing;
pub use crate::s3::listing::{Entry, Kind, Page};
use crate::s3::place::Place;
use crate::s3::refusal::{self, Refusal, Request};
use crate::s3::signer::{Content, Settings, Signer};

/// As SigV4 wants them in a URL: all but the unreserved characters of RFC 3986 §2.3.
const NOT_IN_QUERIES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const NOT_IN_PATHS: &AsciiSet = &NOT_IN_QUERIES.remove(b'/');

/// The longest key of S3, in bytes.
const KEY_BYTES_MAX: usize = 1_024;

/// The one byte that tells why a HEAD was refused, as an answer without content cannot.
const FIRST_BYTE: Range = Range::From { first: 0, last: Some(0) };

/// A bucket, and what of it is used.
#[derive(Debug)]
pub struct Bucket {
    place: Place,
    /// Its URL, without a slash at the end.
    base: String,
    region: String,
    signer: Option<Signer>,
    client: Client,
    files_read_again: Vec<PathBuf>,
}

/// Why there is no such bucket, or no such object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {what}")]
pub struct BucketError {
    name: String,
    what: String,
}

impl Bucket {
    /// Reads `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&profile=NAME`; what it leaves out is of
    /// the environment, named as AWS' own tools name it, or of `~/.aws`. Makes no request.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them.
    pub fn parse(url: &str, client: Client) -> Result<Self, BucketError> {
        Self::of(url, client, &Environment::of_process())
    }

    pub(crate) fn of(
        url: &str,
        client: Client,
        environment: &Environment,
    ) -> Result<Self, BucketError> {
        let name = url.split('?').next().unwrap_or(url).to_owned();
        let failed = |what| BucketError { name: name.clone(), what };
        let place = Place::parse(url).map_err(failed)?;
        let settings = Settings::of(&place, environment, &client).map_err(failed)?;
        let Settings { base, region, signer } = settings;
        let profiles = environment.profile_files().into_iter().flatten();
        let profiles = profiles.filter(|path| path.exists());
        let files_read_again = environment.token_files().into_iter().chain(profiles).collect();
        Ok(Self { place, base, region, signer, client, files_read_again })
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("s3://{}/{}", self.place.bucket, self.place.prefix)
    }

    /// Files that are read again, by a process that may be confined by then: tokens when
    /// credentials have expired, profiles when the URL is parsed anew.
    #[must_use]
    pub fn files_read_again(&self) -> &[PathBuf] {
        &self.files_read_again
    }

    /// Where the object of a path is: what names it everywhere.
    ///
    /// # Errors
    ///
    /// That no object can have this name.
    pub fn url(&self, path_and_query: &str) -> Result<Url, BucketError> {
        let key = self.key(path_and_query)?;
        self.url_of(&key).map_err(|what| self.no_object(&key, what))
    }

    /// The key of a path.
    fn key(&self, path_and_query: &str) -> Result<String, BucketError> {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let path = path.strip_prefix('/').unwrap_or(path);
        let no_object = |what| self.no_object(path, what);
        let path = percent_decode_str(path).decode_utf8();
        let path = path.map_err(|_| no_object("keys are UTF-8"))?;
        if path.split('/').any(|name| matches!(name, "." | "..")) {
            return Err(no_object("names of dots are for directories"));
        }
        let key = format!("{}{path}", self.place.prefix);
        match key.len() {
            _ if path.is_empty() => Err(no_object("it is a directory")),
            0..=KEY_BYTES_MAX => Ok(key),
            _ => Err(no_object("keys have at most 1,024 bytes")),
        }
    }

    fn url_of(&self, key: &str) -> Result<Url, &'static str> {
        Url::parse(&format!("{}/{}", self.base, utf8_percent_encode(key, NOT_IN_PATHS)))
    }

    fn no_object(&self, path: &str, what: &'static str) -> BucketError {
        let (bucket, prefix) = (&self.place.bucket, &self.place.prefix);
        let name = format!("s3://{bucket}/{prefix}{path}");
        BucketError { name, what: format!("there can be no such object: {what}") }
    }

    /// Asks for an object. Values are the statuses 2xx, 304, 404, 409, 412, 416 and 5xx; 404 means
    /// that there is no such object, or none that these credentials may read, since some servers
    /// do not tell which. Its content is used up.
    ///
    /// # Errors
    ///
    /// Those of [`Client::ask`]; [`ClientError::Protocol`] with the remedy for all other refusals:
    /// no such bucket, another region, credentials that are wrong or have expired, a clock that is.
    pub fn ask<'i>(
        &self,
        path_and_query: &str,
        ask: &OriginAsk<'_>,
        interrupt: &'i Interrupt,
    ) -> Result<Response<'i>, ClientError> {
        let key = self.key(path_and_query).map_err(|error| self.wrong("", error.what))?;
        let response = self.ask_for(&key, ask, interrupt)?;
        if ask.method != Method::Head || is_settled(response.status) || response.status == 404 {
            return self.judged(&key, response);
        }
        drop(response);
        let get = OriginAsk { method: Method::Get, range: FIRST_BYTE, ..*ask };
        let answer = self.judged(&key, self.ask_for(&key, &get, interrupt)?)?;
        match answer.status {
            404 => Ok(answer),
            status => Err(self.wrong(&key, format!("HEAD is refused, and GET answered {status}"))),
        }
    }

    fn ask_for<'i>(
        &self,
        key: &str,
        ask: &OriginAsk<'_>,
        interrupt: &'i Interrupt,
    ) -> Result<Response<'i>, ClientError> {
        let method =
            if ask.method == Method::Head { http::Method::HEAD } else { http::Method::GET };
        let url = self.url_of(key).map_err(|what| self.wrong(key, what))?;
        let mut fields = self.signed(method, key, &url, Content::None)?;
        fields.extend_from_slice(ask.fields);
        let &OriginAsk { method, range, condition, .. } = ask;
        let ask = Ask { method, url: &url, range, condition, fields: &fields };
        self.client.ask(&ask, interrupt)
    }

    /// Puts an object. A 412 says that the condition does not hold, as may a 409; a 404 says so
    /// where it was If-Match.
    ///
    /// # Errors
    ///
    /// Those of [`Client::put`]: after one it is not known whether the object was put, unless it
    /// [`is_unsent`](ClientError::is_unsent); [`ClientError::Protocol`] as for [`Bucket::ask`].
    pub fn put<'i>(
        &self,
        path: &str,
        content: Source<'_>,
        condition: Condition<'_>,
        interrupt: &'i Interrupt,
    ) -> Result<Response<'i>, ClientError> {
        let key = self.key(path).map_err(|error| self.wrong("", error.what))?;
        let url = self.url_of(&key).map_err(|what| self.wrong(&key, what))?;
        let fields = self.signed(http::Method::PUT, &key, &url, Content::Unread)?;
        let response = self.client.put(&url, content, condition, &fields, interrupt)?;
        self.judged(&key, response)
    }

    /// Takes an object away; there may be none.
    ///
    /// # Errors
    ///
    /// As for [`Bucket::put`].
    pub fn delete<'i>(
        &self,
        path: &str,
        condition: Condition<'_>,
        interrupt: &'i Interrupt,
    ) -> Result<Response<'i>, ClientError> {
        let key = self.key(path).map_err(|error| self.wrong("", error.what))?;
        let url = self.url_of(&key).map_err(|what| self.wrong(&key, what))?;
        let fields = self.signed(http::Method::DELETE, &key, &url, Content::None)?;
        let ask = Ask { condition, fields: &fields, ..Ask::new(Method::Delete, &url) };
        self.judged(&key, self.client.ask(&ask, interrupt)?)
    }

    /// A page of the names in a directory, which is empty or ends with a slash and is not encoded;
    /// at most `max` of them, and a thousand. A server may give fewer than there are on any page.
    /// `None` if these credentials may not list the bucket.
    ///
    /// # Errors
    ///
    /// As for [`Bucket::ask`]; here all statuses but 200 are errors.
    pub fn list(
        &self,
        directory: &str,
        next: Option<&str>,
        max: u32,
        interrupt: &Interrupt,
    ) -> Result<Option<Page>, ClientError> {
        let prefix = format!("{}{directory}", self.place.prefix);
        let encoded = |text: &str| utf8_percent_encode(text, NOT_IN_QUERIES).to_string();
        let next = next.map(|next| format!("continuation-token={}&", encoded(next)));
        let url = format!(
            "{}?{}delimiter=%2F&encoding-type=url&list-type=2&max-keys={}&prefix={}",
            self.base,
            next.unwrap_or_default(),
            max.min(1_000),
            encoded(&prefix)
        );
        let url = Url::parse(&url).map_err(|what| self.wrong(&prefix, what))?;
        let fields = self.signed(http::Method::GET, &prefix, &url, Content::None)?;
        let ask = Ask { fields: &fields, ..Ask::new(Method::Get, &url) };
        let mut response = self.client.ask(&ask, interrupt)?;
        match response.status {
            200 => {}
            status if is_settled(status) => {
                return Err(self.wrong(&prefix, format!("its keys are not listed: {status}")));
            }
            status => {
                let refusal = refusal_of(&mut response);
                if status == 403 && refusal.is_of_the_object(status) {
                    return Ok(None);
                }
                return Err(self.wrong(&prefix, self.reason(&refusal, &response)));
            }
        }
        let content = content_of(&mut response, listing::BYTES_MAX);
        let content = content.map_err(|error| self.wrong(&prefix, error.to_string()))?;
        let page = Page::parse(&content, &prefix);
        page.map(Some).map_err(|why| self.wrong(&prefix, why))
    }

    /// Whether the bucket can be asked: for the start of a program.
    ///
    /// # Errors
    ///
    /// As for [`Bucket::ask`].
    pub fn check(&self, interrupt: &Interrupt) -> Result<(), ClientError> {
        let none = "underpass-asks-for-what-is-not-there";
        let first = OriginAsk {
            method: Method::Get,
            range: FIRST_BYTE,
            condition: Condition::Always,
            fields: &[],
        };
        self.ask(none, &first, interrupt).map(drop)
    }

    fn signed(
        &self,
        method: http::Method,
        key: &str,
        url: &Url,
        content: Content,
    ) -> Result<Vec<Field>, ClientError> {
        let Some(signer) = &self.signer else { return Ok(Vec::new()) };
        let fields = signer.fields(method, &url.to_string(), content);
        fields.map_err(|what| self.wrong(key, what))
    }

    /// The answer, unless it says that the bucket is asked in a wrong way.
    fn judged<'i>(
        &self,
        key: &str,
        mut response: Response<'i>,
    ) -> Result<Response<'i>, ClientError> {
        if is_settled(response.status) {
            return Ok(response);
        }
        let refusal = refusal_of(&mut response);
        if refusal.is_of_the_object(response.status) {
            response.status = 404;
            return Ok(response);
        }
        Err(self.wrong(key, self.reason(&refusal, &response)))
    }

    fn reason(&self, refusal: &Refusal, response: &Response<'_>) -> String {
        let known = self.signer.as_ref().and_then(|signer| signer.credential().ok());
        let request = Request {
            bucket: &self.place.bucket,
            host: self.host(),
            region: &self.region,
            key_id: known.as_ref().map(|known| known.key_id.as_str()),
            now: SystemTime::now(),
        };
        let date = response.head.field("date");
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        refusal.reason(response.status, &request, date)
    }

    fn wrong(&self, key: &str, what: impl Into<String>) -> ClientError {
        let end = format!("s3://{}/{key} at {}", self.place.bucket, self.host());
        ClientError::Protocol { end, what: what.into() }
    }

    pub(crate) fn host(&self) -> &str {
        let rest = self.base.split_once("//").map_or(self.base.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }
}

/// Whether the status alone tells what came of a request.
const fn is_settled(status: u16) -> bool {
    matches!(status, 200..300 | 304 | 409 | 412 | 416 | 500..)
}

/// What a refusal says; the region may be in a field too.
fn refusal_of(response: &mut Response<'_>) -> Refusal {
    let content = content_of(response, refusal::BYTES_MAX).unwrap_or_default();
    let mut refusal = Refusal::parse(&content);
    let region = response.head.field("x-amz-bucket-region").map(str::to_owned);
    refusal.region = refusal.region.or(region);
    refusal
}

/// All of the content, which has at most that many bytes.
fn content_of(response: &mut Response<'_>, max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let n = response.body.by_ref().take(max + 1).read_to_end(&mut content)?;
    if n as u64 > max {
        return Err(io::Error::other(format!("its answer has more than {max} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
