//! The engine's tests against the real kernel.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod changes;
#[cfg(feature = "tokio")]
mod copy_stream;
#[cfg(feature = "tokio")]
mod examples;
mod file_bytes;
#[cfg(feature = "tokio")]
mod flow;
mod forgery;
mod frames;
#[cfg(feature = "tokio")]
mod stream_cork;
#[cfg(feature = "tokio")]
mod stream_faults;
#[cfg(feature = "tls")]
mod tls;
#[cfg(all(feature = "tls", feature = "tokio"))]
mod tls_tokio;
mod transfer_cork;
mod transfer_ends;
mod transfer_faults;
mod transfer_files;
mod transfer_parity;
mod transfer_shape;
#[cfg(feature = "tokio")]
mod transfer_tokio;

/// A file of the pattern that nothing has open for writing. A process that another test starts has
/// the descriptors of this one until it executes its program, and no lease is given meanwhile
/// (fcntl(2), `F_SETLEASE`).
fn unwritten(path: &std::path::Path, len: u64) -> std::fs::File {
    use std::os::fd::AsFd;
    std::fs::write(path, underpass_testkit::payload::pattern(0..len)).unwrap();
    let file = std::fs::File::open(path).unwrap();
    let lease = || underpass_sys::lease::take(file.as_fd()).ok();
    underpass_testkit::wait::until(std::time::Duration::from_secs(10), lease).unwrap();
    underpass_sys::lease::release(file.as_fd()).unwrap();
    file
}
