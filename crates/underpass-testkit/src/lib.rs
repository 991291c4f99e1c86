//! Fixtures shared by the tests.
#![forbid(unsafe_code)]
