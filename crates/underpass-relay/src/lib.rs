//! A TCP and Unix proxy whose bytes go from socket to socket by splice, and an echo server.
//!
//! [`Relay::bind`] makes a relay of [`Options`], [`Relay::run`] runs it until a signal; so do
//! [`Echo::bind`] and [`Echo::run`].
#![forbid(unsafe_code)]

mod connect;
mod connection;
mod echo;
mod echo_server;
mod end;
#[cfg(fuzzing)]
pub mod fuzzing;
mod health;
mod metrics;
mod moving;
mod names;
mod server;
mod service;
mod settings;
mod socket;
mod tally;
mod target_list;
mod targets;
mod tee;
mod trust;
mod worker;

pub use echo_server::{Echo, EchoOptions};
pub use server::{BindError, Options, Relay, RunError};
pub use target_list::{Targets, TargetsError};
pub use trust::AcceptProxy;
pub use underpass_daemon::endpoint::{Endpoint, EndpointError};
pub use underpass_daemon::log::Sink;
pub use underpass_daemon::proxy::Version;
pub use underpass_daemon::{Network, NetworkError, PerAddressLimit, Settings};
