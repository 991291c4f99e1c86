//! Prometheus' remote read: old blocks behind a stock Prometheus, which asks this server for the
//! samples that a query needs.
//!
//! Chunks leave as they are in the files, their checksums compared; where they overlap or lost
//! samples to tombstones, or to a client that takes samples alone, they are decoded first.
//!
//! Source: prometheus.io, "Remote Read API"; prometheus/prompb/remote.proto.

mod bits;
mod blocks;
mod body;
mod connection;
mod encode;
mod ended;
mod external;
mod frames;
#[cfg(fuzzing)]
pub mod fuzzing;
mod pieces;
mod protobuf;
mod reading;
mod request;
mod responder;
mod samples;
mod server;
mod snappy;
mod tally;
mod turn;
mod worker;

pub use blocks::BlocksError;
pub use external::{ExternalLabel, ExternalLabelError};
pub use server::{BindError, Options, Server};
