//! What pages of other origins may do.

use std::time::Duration;

use clap::Args;
use http::HeaderValue;
use underpass_serve::cors::{Cors, Origin};

use crate::values::duration;

/// The flags about cross-origin requests.
#[derive(Debug, Args)]
#[command(next_help_heading = "Other origins")]
pub(crate) struct CorsArguments {
    /// Pages of these origins may read the files: '*', or https://a.example,https://b.example.
    ///
    /// An origin is a scheme and a host, with a port if it is not the usual one; 'null' is one too.
    /// Credentials are never allowed.
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    cors_allow_origins: Vec<Origin>,

    /// Fields that pages may add to requests.
    #[arg(long, value_name = "NAMES", default_value = "*", requires = "cors_allow_origins")]
    cors_allow_headers: HeaderValue,

    /// Fields of answers that pages may read, apart from those that they always may.
    #[arg(
        long,
        value_name = "NAMES",
        default_value = "Accept-Ranges, Content-Encoding, Content-Range, ETag",
        requires = "cors_allow_origins"
    )]
    cors_expose_headers: HeaderValue,

    /// How long browsers may remember what is allowed.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10m",
        value_parser = duration,
        requires = "cors_allow_origins"
    )]
    cors_max_age: Duration,
}

impl CorsArguments {
    pub(super) fn cors(self) -> Option<Cors> {
        (!self.cors_allow_origins.is_empty()).then_some(Cors {
            origins: self.cors_allow_origins,
            allow_headers: self.cors_allow_headers,
            expose_headers: self.cors_expose_headers,
            max_age: self.cors_max_age,
        })
    }
}
