//! Fixtures shared by the tests: what the machine can do, payloads and their peers, traced
//! programs, made-up disks and networks, servers and senders as children.
#![forbid(unsafe_code)]

pub mod block;
pub mod browser;
pub mod bucket;
pub mod compiled;
pub mod disk;
pub mod fuse;
pub mod h2spec;
pub mod injected;
pub mod kafka;
pub mod kept;
pub mod kernel;
pub mod log;
pub mod midsend;
pub mod network;
pub mod origin;
pub mod payload;
pub mod peer;
pub mod process;
pub mod prometheus;
pub mod python;
pub mod recorded;
pub mod scripted;
pub mod senders;
pub mod served;
pub mod server;
pub mod skip;
pub mod strace;
#[cfg(feature = "tls")]
pub mod tls;
pub mod wait;
pub mod workspace;
