//! The engine under tokio.

pub(crate) mod drive;
pub(crate) mod listener;
pub(crate) mod pool_task;
pub(crate) mod stream;
