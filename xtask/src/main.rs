//! What CI runs.
#![forbid(unsafe_code)]

fn main() {}
