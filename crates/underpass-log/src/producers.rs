//! What idempotent producers have written, so that a batch sent twice is appended once.
