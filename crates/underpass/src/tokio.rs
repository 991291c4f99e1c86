//! The engine under tokio.

pub(crate) mod cold_fetch;
pub(crate) mod copy_stream;
pub(crate) mod drive;
pub(crate) mod flow;
pub(crate) mod jobs;
pub(crate) mod listener;
mod pipe;
pub(crate) mod pool_task;
pub(crate) mod readiness;
pub(crate) mod stream;
