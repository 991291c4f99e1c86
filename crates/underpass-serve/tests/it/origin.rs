//! Objects of an origin, kept here: how they come, and how they leave meanwhile.

mod arrive;
mod herd;
mod kept;
mod not_kept;
mod place;
mod purged;
mod ranges;
mod shared;
mod stale;
mod warm;
