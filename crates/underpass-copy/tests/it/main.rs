//! The library's tests, against servers that they start; the command's tests are with the command.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod https;
