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
