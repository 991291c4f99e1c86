//! Servers of the S3 protocol.

mod racy;
mod s3s;
mod versitygw;

pub use racy::{Flaw, Racy};
pub use s3s::{S3sFs, S3sServer};
pub use versitygw::{Gateway, Request, Versitygw};

/// The one bucket that each of them has.
pub const BUCKET: &str = "data";

/// The key that may read and write it.
pub const KEY_ID: &str = "tester";

/// The key's secret.
pub const SECRET: &str = "secret-of-tester";
