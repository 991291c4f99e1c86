//! What is particular to S3: where a bucket is, as whom it is asked, what it answers.
//!
//! `object_store` finds credentials and signs. Requests are made here, so that their content stays
//! with the kernel, none is repeated unseen, and a listing has every key that a bucket may have
//! (`object_store` has no empty names in a path, and none that are dots).

mod connector;
pub(crate) mod environment;
pub(crate) mod listing;
pub(crate) mod place;
mod profile;
pub(crate) mod refusal;
pub(crate) mod signer;
