//! Copies bytes from any of a file, a stream, a socket or a URL to any other, by the engine's
//! methods wherever both ends allow it.
//!
//! [`Session::open`] takes a [`Request`] and [`Session::copy`] carries it out; the [`Report`] says
//! what was done and how, and a [`Failure`] what arrived before it. A file gets its name when it is
//! whole, and not before. One thread moves the bytes of one copy.
//!
//! ```no_run
//! use underpass_copy::{Endpoint, Request, Session, catch_signals};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = Endpoint::parse("large.bin".as_ref())?;
//! let sink = Endpoint::parse("tcp://localhost:9000".as_ref())?;
//! let interrupt = catch_signals()?;
//! let session = Session::open(Request::new(source, sink), &interrupt, &mut |_| {})?;
//! match session.copy(&mut |_| {}) {
//!     Ok(report) => println!("{report}"),
//!     Err(failure) => eprintln!("{}", failure.error),
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod asking;
mod attributes;
mod digest;
mod drive;
mod endpoint;
mod error;
mod exchange;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hidden;
mod holes;
mod inlet;
mod limit;
mod memory;
mod outlet;
mod parallel;
mod pieces;
mod range_reader;
mod report;
mod request;
mod resume;
mod serve;
mod session;
mod signals;
mod sizes;
mod socket;
mod source_to_sink;
mod stop;
mod stream;
mod target;
mod tree;

pub use digest::{Algorithm, Checksum, UnknownAlgorithm};
pub use drive::Event;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{CopyError, Failure, Usage};
pub use report::{Rate, Report, Used};
pub use request::Request;
pub use session::Session;
pub use signals::catch_signals;
pub use underpass_client::{
    Client, Field, FieldError, Interrupt, Netrc, Proxies, Range, RangeError, Timeouts, Trust, Url,
};
