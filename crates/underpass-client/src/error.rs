//! How asking a server fails: the object, the numbers, and what the server said.

use std::io;
use std::time::Duration;

use crate::url::Url;

/// Why a server was not asked, or what it answered instead of what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server could not be reached, or the connection broke off.
    #[error("cannot {verb} {end}")]
    Open {
        /// What was attempted.
        verb: &'static str,
        /// The server, or the proxy for it.
        end: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The server broke the protocol, or cannot be asked in this way.
    #[error("{end}: {what}")]
    Protocol {
        /// The server.
        end: String,
        /// What it did.
        what: String,
    },
    /// The server answered with another status.
    #[error("{url}: the server answered {status} {reason}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
        /// Its phrase, as the server sent it.
        reason: String,
        /// How long the server wants not to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server wants to be asked at another URL, and the request is not one to be repeated.
    #[error("{url}: the server redirects to {to}")]
    Redirect {
        /// Where it was sent.
        url: String,
        /// Where it should be sent.
        to: Box<Url>,
    },
    /// The representation does not have the range.
    #[error("the range {range} does not start within {end}, which has {len} bytes")]
    Range {
        /// What was asked for.
        range: String,
        /// The URL.
        end: String,
        /// Bytes of the representation.
        len: u64,
    },
    /// A method of the kernel, where TLS is in user space.
    #[error("{method} cannot be used with {end} ({why}); use --prefer, or no method")]
    Beneath {
        /// The method.
        method: &'static str,
        /// The URL.
        end: String,
        /// Why TLS is in user space.
        why: String,
    },
}

impl ClientError {
    /// Whether the server could not be reached: it has not got a byte of the request, which can be
    /// sent again whatever it changes.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        let Self::Open { verb, .. } = self else { return false };
        ["connect to", "connect to the proxy", "ask the proxy", "make a TLS connection to"]
            .contains(verb)
    }

    pub(crate) fn open(
        verb: &'static str,
        end: impl ToString,
        error: impl Into<io::Error>,
    ) -> Self {
        Self::Open { verb, end: end.to_string(), source: error.into() }
    }

    pub(crate) fn wrong(url: &Url, what: impl Into<String>) -> Self {
        Self::Protocol { end: url.to_string(), what: what.into() }
    }
}
