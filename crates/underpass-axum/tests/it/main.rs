//! Unmodified axum with a listener of ours.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod connect_info;
mod gzip;
mod shape;
