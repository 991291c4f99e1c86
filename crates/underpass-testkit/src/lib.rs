//! Fixtures shared by the tests: what the machine can do, payloads and their peers, traced
//! programs, made-up disks, servers as children.
#![forbid(unsafe_code)]

pub mod disk;
pub mod kernel;
pub mod payload;
pub mod peer;
pub mod server;
pub mod skip;
pub mod strace;
pub mod wait;
