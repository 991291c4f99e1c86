//! What readers of a store get, whatever its origin does.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails here")]

mod bodies;
