//! What checks a log: a client whose bytes are made by hand, what producers and consumers of it
//! were told, and what of that cannot be.

pub mod answer;
#[cfg(test)]
mod apache_tests;
pub mod batch;
pub mod client;
pub mod history;
pub mod workload;
