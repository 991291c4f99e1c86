//! The library's tests against servers of their own; those of the command are with the command.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod https;
