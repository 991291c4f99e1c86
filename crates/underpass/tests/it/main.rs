//! The engine's tests against the real kernel.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod transfer_parity;
