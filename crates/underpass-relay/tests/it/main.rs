//! Relays and echoes between real peers.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails here")]

mod echo;
mod ends;
mod faults;
mod fixture;
mod java;
mod opening;
mod peers;
mod proxy;
mod resets;
mod streams;
mod targets;
mod trust;
mod urgent;
