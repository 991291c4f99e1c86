//! Consumer groups: their members, their generations, their offsets.
#![expect(dead_code, reason = "the handlers are yet to come")]

#[cfg(test)]
mod driver;
mod group;
mod join;
mod member;
mod refusal;
mod session;
#[cfg(test)]
mod simulation;
mod subscription;
#[cfg(test)]
mod tests;

use refusal::Refusal;
