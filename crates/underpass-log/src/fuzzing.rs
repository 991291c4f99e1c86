//! What fuzz targets are shown of the inside.

pub use crate::log::fuzzing as log;
pub use crate::wire::fuzzing::{Decoded, request, response};
