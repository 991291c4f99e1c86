//! The command `underpass`.
#![forbid(unsafe_code)]

fn main() {}
