//! Moves file bytes to sockets, and sockets to files, beneath user space.
#![forbid(unsafe_code)]

mod stability;
mod warm;

pub use stability::{Stability, UnknownStability};
