//! What fuzz targets are shown of the inside.

pub use crate::wire::fuzzing::{Decoded, request, response};
