//! The engine under tokio.

pub(crate) mod drive;
pub(crate) mod errand;
pub(crate) mod listener;
pub(crate) mod stream;
