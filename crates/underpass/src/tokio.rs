//! The engine under tokio.

pub(crate) mod listener;
pub(crate) mod stream;
