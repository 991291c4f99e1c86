//! What the servers have in common: listening sockets, limits, and a log that holds nobody.
//!
//! Nothing here knows a protocol or a runtime.
#![forbid(unsafe_code)]

pub mod bound_path;
pub mod limits;
pub mod listen;
pub mod log;
