//! `underpass compare`: every method of the engine on the same bytes, measured side by side.
//!
//! [`run`] makes a [`Report`](report::Report). Each run has fresh processes: this program run
//! again, by a hidden command that calls [`serve`] with its standard input. They die with the
//! process that started them, files have no names and networks are held by descriptors alone; what
//! has a name, the control groups of claims, is removed by a process that outlives a killed maker.

pub(crate) mod besides;
mod channel;
mod crew;
pub(crate) mod devices;
mod failure;
pub(crate) mod group;
mod judge;
mod machine;
mod network;
pub(crate) mod order;
mod plan;
pub(crate) mod process;
pub(crate) mod report;
mod run;
mod seen;
mod specimen;
mod worker;

pub use failure::CompareError;
pub use process::Program;
pub(crate) use run::run;
pub use run::{Progress, Request};
pub use specimen::Specimen;
pub use worker::serve;

#[cfg(test)]
pub(crate) mod tests;
