//! What share of a running program's file bytes left by reference, and why the rest did not.
//!
//! A report is a pure function of [`Evidence`](crate::evidence::Evidence) and of what else is known
//! of the processes; what looks at the machine is apart from it.

mod calls_only;
mod ethtool;
mod fixes;
mod from_pages;
mod interval;
mod learning;
mod limited;
mod networks;
pub mod outside;
mod pace;
pub mod reasons;
mod refusal;
pub mod report;
mod runtime;
mod seen_calls;
pub mod session;
mod summary;
pub mod watch;

pub(crate) use crate::account::context;

#[cfg(test)]
mod accounts_tests;
#[cfg(test)]
mod made_tests;
#[cfg(test)]
mod pipes_tests;
#[cfg(test)]
mod programs_tests;
#[cfg(test)]
mod reasons_tests;
