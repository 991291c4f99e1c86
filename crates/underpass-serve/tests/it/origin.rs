//! Objects of an origin, kept here: how they come, and how they leave meanwhile.

mod kept;
mod not_kept;
mod place;
mod purged;
mod stale;
