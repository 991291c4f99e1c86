//! Unmodified tonic with connections of ours.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod faults;
mod shape;
