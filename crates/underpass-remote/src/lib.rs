//! A sparse local file that fills from a remote object, while its readers send what is there.

#![forbid(unsafe_code)]
#![expect(dead_code, reason = "the store that uses it all follows")]

mod error;
mod extents;
mod fill;
mod meta;
mod object;
mod plan;
mod waiting;

pub use error::ObjectError;
pub use object::{Object, Wanted};
