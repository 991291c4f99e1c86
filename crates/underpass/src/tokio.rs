//! The engine under tokio.

pub(crate) mod drive;
pub(crate) mod flow;
pub(crate) mod jobs;
pub(crate) mod listener;
pub(crate) mod pool_task;
pub(crate) mod readiness;
pub(crate) mod stream;
