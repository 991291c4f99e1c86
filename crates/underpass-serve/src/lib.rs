//! Static file service over HTTP/1.1.
#![deny(unsafe_code)]

pub mod access_log;
pub mod answer;
mod body;
mod closing;
pub mod conditional;
mod connection;
mod content;
mod conversation;
mod current_root;
mod date;
mod direct;
mod error_page;
pub mod field_rules;
mod first_line;
#[cfg(fuzzing)]
pub mod fuzzing;
mod host;
mod leases;
mod listing;
mod lookup;
pub mod media_type;
mod metrics;
mod multipart;
mod parking;
pub mod pattern;
mod plain_request;
mod progress;
pub mod range;
mod reading;
mod refusal;
pub mod representation;
mod responder;
pub mod root;
mod sending;
pub mod sequence;
mod server;
pub mod service;
mod site;
mod site_options;
mod state;
pub mod stations;
pub mod target;
mod transport;
mod tree;
mod until_end;
mod wire;

pub use leases::LeaseError;
pub use lookup::Lookup;
pub use server::{BindError, Options, Server};
pub use site_options::{RANGES_MAX, SiteOptions};
pub use underpass_daemon::endpoint::Endpoint;
pub use underpass_daemon::{RunError, Settings};
