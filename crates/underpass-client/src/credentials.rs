//! Users and passwords, which no message shows.
//!
//! Source: RFC 7617 §2; RFC 3986 §3.2.1.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fluent_uri::pct_enc::EStr;
use fluent_uri::pct_enc::encoder::Userinfo;

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    user_and_password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Those before the `@` of a URL, where a password may be missing.
    pub(crate) fn of_url(text: &EStr<Userinfo>) -> Self {
        let mut user_and_password = text.decode().to_bytes().into_owned();
        if !text.as_str().contains(':') {
            user_and_password.push(b':');
        }
        Self { user_and_password }
    }

    pub(crate) fn new(user: &str, password: &str) -> Self {
        Self { user_and_password: format!("{user}:{password}").into_bytes() }
    }

    /// The value of an Authorization field.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(&self.user_and_password))
    }
}
