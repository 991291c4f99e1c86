//! Consumer groups: their members, their generations, their offsets.
#![expect(dead_code, reason = "the handlers are yet to come")]

#[cfg(test)]
mod driver;
mod entry;
mod group;
mod join;
mod journal_file;
mod member;
mod offsets;
mod refusal;
mod session;
#[cfg(test)]
mod simulation;
mod subscription;
#[cfg(test)]
mod tests;

use refusal::Refusal;
