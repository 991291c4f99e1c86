//! A TCP and Unix proxy whose bytes go from socket to socket by splice.
//!
//! [`Relay::bind`] makes a relay of [`Options`], [`Relay::run`] runs it until a signal.
#![forbid(unsafe_code)]

mod connection;
mod endpoint;
mod flow;
mod health;
mod journal;
mod metrics;
mod pipe;
mod proxy;
mod server;
mod socket;
mod tally;
mod targets;
mod worker;

pub use endpoint::{Endpoint, EndpointError};
pub use journal::Sink;
pub use proxy::Version;
pub use server::{BindError, Options, Relay, RunError, Targets, TargetsError};
