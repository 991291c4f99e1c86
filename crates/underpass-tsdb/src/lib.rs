//! Reads the blocks of Prometheus' time series database, without writing a byte near them.
//!
//! Opening a block touches a page or two; everything else is read when it is asked for, through a
//! map or by pread(2) ([`Backend`]). What is damaged is reported as [`Damage`], and the rest is read.
#![forbid(unsafe_code)]

#[expect(dead_code, reason = "the reading of a block is on its way")]
pub mod analyze;
#[expect(dead_code, reason = "the decoders are on their way")]
mod cursor;
pub mod damage;
pub mod file;

pub use damage::{Damage, Fault, Malformed, Section};
pub use file::{Backend, BlockFile, Pattern, Window};
