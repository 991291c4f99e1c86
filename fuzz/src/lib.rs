//! What several targets use: second opinions to compare with, and peers to talk to.
#![forbid(unsafe_code)]

mod client;
mod folder;
mod gorilla;
pub mod http1;
mod mending;
pub mod peer;
pub mod server;

pub use client::hyper_reads;
pub use folder::place;
pub use gorilla::xor_samples;
pub use mending::mend_index;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Makes a write to a closed socket an error and not the end of the process. In a program Rust does
/// so before `main`, which a target does not have.
pub fn ignore_closed_pipes() {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, flag).expect("a signal's handler");
}
