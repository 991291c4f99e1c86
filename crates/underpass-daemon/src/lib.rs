//! The house of every server: workers, listening sockets, signals, limits, drain, log,
//! metrics, settings, confinement.
//!
//! A program makes a [`Daemon`] of its [`Settings`] and runs it with a [`Service`] for each
//! worker. Nothing here knows a protocol, but for the header by which a proxy says whose connection
//! it passes on.
#![forbid(unsafe_code)]

pub mod bound_path;
pub mod config;
mod daemon;
pub mod endpoint;
pub mod host_port;
pub mod limits;
pub mod listen;
mod listener;
pub mod log;
pub mod metrics;
mod network;
mod notify;
mod per_address;
pub mod proxy;
mod sandbox;
mod service;
mod signals;
mod worker;

pub use daemon::{BindError, Daemon, FOREVER, RunError, Settings};
pub use listener::Accepted;
pub use network::{Network, NetworkError};
pub use per_address::PerAddressLimit;
pub use sandbox::Sandbox;
pub use service::{Admitted, Program, Service};
