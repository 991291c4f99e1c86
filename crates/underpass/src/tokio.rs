//! The engine under tokio.

#[cfg(feature = "axum")]
mod axum;
pub(crate) mod drive;
pub(crate) mod listener;
pub(crate) mod pool_task;
pub(crate) mod stream;
#[cfg(feature = "tonic")]
pub(crate) mod tonic;
