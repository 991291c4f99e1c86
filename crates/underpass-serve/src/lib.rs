//! Static file service over HTTP/1.1.
#![deny(unsafe_code)]

pub mod access_log;
pub mod answer;
mod body;
pub mod conditional;
mod connection;
mod date;
mod error_page;
#[cfg(fuzzing)]
pub mod fuzzing;
mod host;
mod listing;
pub mod media_type;
mod metrics;
mod parking;
pub mod range;
mod reading;
mod refusal;
pub mod representation;
pub mod root;
mod server;
pub mod service;
mod site;
mod state;
pub mod target;
mod tree;
mod until_end;
mod wire;

pub use server::{BindError, Options, Server};
pub use underpass_daemon::RunError;
pub use underpass_daemon::endpoint::Endpoint;
