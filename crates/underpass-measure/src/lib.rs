//! What was copied on the way from a file to a socket, and what was not: measured.
//!
//! [`evidence`] is what the kernel was seen to do, as plain data; [`figure`] is a number and
//! how it came to be known. Everything that judges is a function from the one to the other.
#![forbid(unsafe_code)]

mod account;
mod affinity;
mod cache;
mod call;
pub mod claims;
pub mod compare;
pub mod evidence;
pub mod explain;
pub mod eyes;
pub mod figure;
pub mod observe;
#[cfg(feature = "html")]
pub mod page;
pub mod probe;
mod proc;
pub mod sheet;
mod terms;
mod usage;
mod words;

pub use affinity::pin;
pub use words::printable;
