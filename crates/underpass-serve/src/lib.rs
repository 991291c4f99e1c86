//! Static file service over HTTP/1.1 and HTTP/2, with and without TLS.
#![deny(unsafe_code)]
#![cfg_attr(
    all(feature = "remote", not(test)),
    expect(dead_code, reason = "the site of an origin, which uses it, follows")
)]

mod accepts;
pub mod access;
pub mod access_log;
mod account;
pub mod addresses;
pub mod answer;
mod archive;
#[cfg(feature = "remote")]
mod arriving;
mod body;
mod certificates;
mod closing;
pub mod conditional;
mod connection;
mod content;
mod conversation;
pub mod cors;
mod current_root;
mod date;
mod direct;
pub mod encoding;
mod error_page;
mod error_pages;
pub mod field_rules;
mod first_line;
mod fixed_status;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handshake;
mod host;
mod hosts;
mod leases;
mod limits;
mod links;
mod listing;
mod lookup;
pub mod media_type;
mod metadata_rules;
mod metrics;
mod multipart;
mod number;
mod parking;
pub mod pattern;
mod plain_request;
mod prefix;
mod progress;
mod proxies;
mod proxy_header;
pub mod range;
mod reading;
mod redirects;
mod refusal;
pub mod representation;
mod responder;
pub mod root;
mod sending;
pub mod sequence;
mod server;
pub mod service;
mod siblings;
mod site;
mod site_options;
mod sites;
mod state;
pub mod stations;
mod taking;
pub mod target;
mod tls;
mod to_https;
mod transport;
mod tree;
mod until_end;
pub mod upload;
mod weight;
mod wire;

pub use archive::{Archives, Format, Formats, FormatsError};
pub use certificates::{CertificateError, Pair, Wrong};
pub use conversation::Http2Options;
pub use error_pages::{ErrorPage, ErrorPageError, ErrorPages};
pub use fixed_status::{FixedStatus, FixedStatusError, FixedStatuses};
pub use hosts::{HostPattern, HostPatternError};
pub use leases::LeaseError;
pub use limits::Limits;
pub use links::{Symlinks, SymlinksError};
pub use listing::Listings;
pub use lookup::{FilePath, FilePathError, Lookup};
pub use metadata_rules::MetadataRules;
pub use prefix::{PathPrefix, PathPrefixError};
pub use proxies::Proxies;
pub use redirects::{Redirect, RedirectError, Redirects};
pub use server::{BindError, Options, Server};
pub use site_options::{RANGES_MAX, SiteOptions};
pub use sites::{Publisher, Sites};
pub use state::EntityTags;
pub use tls::TlsOptions;
pub use to_https::ToHttps;
pub use underpass_daemon::endpoint::Endpoint;
pub use underpass_daemon::{Network, NetworkError, PerAddressLimit, RunError, Settings};
