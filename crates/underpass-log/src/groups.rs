//! Consumer groups: their members, their generations, their offsets.

mod clock;
mod coordinator;
#[cfg(test)]
mod coordinator_tests;
#[cfg(test)]
mod driver;
mod entry;
mod expiry;
mod group;
mod join;
mod journal;
mod journal_file;
mod member;
mod offsets;
mod refusal;
mod roster;
mod session;
#[cfg(test)]
mod simulation;
mod subscription;
#[cfg(test)]
mod tests;

use refusal::Refusal;
