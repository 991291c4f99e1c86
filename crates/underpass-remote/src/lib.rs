//! A sparse local file that fills from a remote object, while its readers send what is there.
//!
//! A [`Store`] has one directory and knows objects by their [`Key`]. What of it may be kept, and
//! for how long, is its caller's to know: the caller asks an [`Origin`], inserts what may be kept
//! with the [`Head`] of the answer, and lets the [`Fill`] run. Who wants bytes of it is a reader
//! of the [`Object`], which asks for what is missing by itself.

#![forbid(unsafe_code)]

pub mod bucket;
mod checksum;
mod collect;
mod directory;
mod drive;
mod entry;
mod error;
mod evict;
mod extents;
#[cfg(test)]
mod faults_tests;
mod fill;
#[cfg(fuzzing)]
pub mod fuzzing;
mod head;
mod key;
mod meta;
mod object;
mod origin;
mod plan;
#[cfg(test)]
mod power_tests;
pub mod probe;
mod receive;
#[cfg(test)]
mod rig;
mod s3;
mod scrub;
mod store;
mod tags;
#[doc(hidden)]
pub mod testing;
mod threads;
mod turn;
mod waiting;
mod writing;

pub use collect::Collect;
pub use entry::Entry;
pub use error::{ObjectError, StoreError};
pub use fill::Fill;
pub use head::Head;
pub use key::{KEY_BYTES_MAX, Key, KeyError};
pub use object::{LOOK_EVERY, Object, Wanted};
pub use origin::{HttpOrigin, Origin, OriginAsk, OriginError};
pub use scrub::Scrubbed;
pub use store::{Store, StoreFacts, StoreOptions};
