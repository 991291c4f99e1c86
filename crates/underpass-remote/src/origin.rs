//! Where objects come from.

use underpass_client::{Ask, Client, ClientError, Condition, Field, Interrupt, Method, Range};
use underpass_client::{Response, Url};

use crate::bucket::{Bucket, BucketError};
use crate::key::Key;

/// Where objects come from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, behind an Arc")]
pub enum Origin {
    /// A web server.
    Http(HttpOrigin),
    /// A bucket that speaks S3.
    Bucket(Bucket),
}

/// A web server, or a part of one.
#[derive(Debug)]
pub struct HttpOrigin {
    /// Without a slash at its end.
    base: String,
    client: Client,
}

/// What an origin is asked for, with the name.
#[derive(Debug, Clone, Copy)]
pub struct OriginAsk<'a> {
    /// GET or HEAD.
    pub method: Method,
    /// Which bytes; for GET alone.
    pub range: Range,
    /// In which case.
    pub condition: Condition<'a>,
    /// More fields.
    pub fields: &'a [Field],
}

/// A URL that no origin can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// It is not the URL of an origin.
    #[error(
        "{url}: {why}; an origin is http://HOST[:PORT][/PATH], https://… or s3://BUCKET/PREFIX"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is not that of a bucket, or there can be no such object.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl Origin {
    /// The origin at a URL, which is asked by this client.
    ///
    /// # Errors
    ///
    /// If it is not an `http` or `https` URL, or has a query or a fragment; for `s3`, those of
    /// [`Bucket::parse`], which reads files.
    pub fn parse(url: &str, client: Client) -> Result<Self, OriginError> {
        if url.starts_with("s3:") {
            return Ok(Self::Bucket(Bucket::parse(url, client)?));
        }
        HttpOrigin::parse(url, client).map(Self::Http)
    }

    /// What is asked for under a path, with its query, that begins with a slash.
    ///
    /// # Errors
    ///
    /// If it cannot be part of a URL, or there can be no such object.
    pub fn url(&self, path_and_query: &str) -> Result<Url, OriginError> {
        match self {
            Self::Http(origin) => origin.url(path_and_query),
            Self::Bucket(bucket) => Ok(bucket.url(path_and_query)?),
        }
    }

    /// The path and query of what has this key, if it is one of this origin's.
    pub(crate) fn path<'k>(&self, key: &'k Key) -> Option<&'k str> {
        let root = self.url("/x").ok()?.to_string();
        let path = key.as_str().strip_prefix(root.strip_suffix("/x")?)?;
        path.starts_with('/').then_some(path)
    }

    /// Asks for a path with its query. Every final status is a value; of a bucket, those that
    /// [`Bucket::ask`] names.
    ///
    /// # Errors
    ///
    /// Those of [`Client::ask`] and of [`Bucket::ask`].
    pub fn ask<'i>(
        &self,
        path_and_query: &str,
        ask: &OriginAsk<'_>,
        interrupt: &'i Interrupt,
    ) -> Result<Response<'i>, ClientError> {
        match self {
            Self::Http(origin) => origin.ask(path_and_query, ask, interrupt),
            Self::Bucket(bucket) => bucket.ask(path_and_query, ask, interrupt),
        }
    }
}

impl HttpOrigin {
    fn parse(url: &str, client: Client) -> Result<Self, OriginError> {
        let wrong = |why: &str| OriginError::Url { url: url.to_owned(), why: why.to_owned() };
        if url.contains(['?', '#']) {
            return Err(wrong("it has a query or a fragment"));
        }
        Url::parse(url).map_err(wrong)?;
        Ok(Self { base: url.trim_end_matches('/').to_owned(), client })
    }

    fn url(&self, path_and_query: &str) -> Result<Url, OriginError> {
        let url = format!("{}{path_and_query}", self.base);
        let wrong = |why: &str| OriginError::Url { url: url.clone(), why: why.to_owned() };
        if !path_and_query.starts_with('/') {
            return Err(wrong("its path does not begin with a slash"));
        }
        Url::parse(&url).map_err(wrong)
    }

    fn ask<'i>(
        &self,
        path_and_query: &str,
        ask: &OriginAsk<'_>,
        interrupt: &'i Interrupt,
    ) -> Result<Response<'i>, ClientError> {
        let url = self.url(path_and_query).map_err(|error| ClientError::Protocol {
            end: self.base.clone(),
            what: error.to_string(),
        })?;
        let OriginAsk { method, range, condition, fields } = *ask;
        self.client.ask(&Ask { method, url: &url, range, condition, fields }, interrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_its_own_comes_before_what_is_asked_for() {
        let origin = Origin::parse("http://o:81/base/", Client::default()).unwrap();
        assert_eq!(origin.url("/a%20b?c").unwrap().to_string(), "http://o:81/base/a%20b?c");
        assert!(origin.url("@evil/").is_err());
        let path = |url: &str| origin.path(&Key::new(url).unwrap()).map(str::to_owned);
        assert_eq!(path("http://o:81/base/a%20b?c").as_deref(), Some("/a%20b?c"));
        assert_eq!(path("http://o:81/other"), None);
        assert_eq!(path("http://o:81/base2"), None);
        for wrong in ["s3://", "ftp://o", "o", "http://", "http://o/?a", "http://o/#a"] {
            assert!(Origin::parse(wrong, Client::default()).is_err(), "{wrong}");
        }
    }
}
