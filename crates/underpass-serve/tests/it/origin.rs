//! Objects of an origin, kept here: how they come, and how they leave meanwhile.

mod arrive;
mod disk;
mod herd;
mod kept;
mod logged;
mod not_kept;
mod place;
mod purged;
mod ranges;
mod shared;
mod stale;
mod warm;
