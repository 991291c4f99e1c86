//! `underpass log`: a log that Kafka's clients take for a broker.
//!
//! Topics are directories of segment files, in which record batches stand exactly as on the wire. A
//! fetch is answered from them by sendfile(2), and a produce request is appended as it came.
#![forbid(unsafe_code)]

mod api;
pub mod batch;
mod chain;
pub mod client;
mod compression;
mod connection;
mod flusher;
#[cfg(fuzzing)]
pub mod fuzzing;
mod groups;
mod log;
mod metrics;
mod open_files;
mod partition;
mod producers;
mod records;
mod server;
mod time;
mod topics;
mod uuid;
mod whole_file;
mod wire;
mod worker;

pub use log::{StorageError, check, dump};
pub use partition::{Level, Promise};
pub use server::{BindError, GroupsError, Options, ProducerIdsError, Server, TopicsError};
