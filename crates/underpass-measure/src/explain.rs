//! What share of a running program's file bytes left by reference, and why the rest did not.
//!
//! [`report::Report::new`] is a pure function of [`Evidence`](crate::evidence::Evidence) and a
//! [`context::Context`]; what looks at the machine is apart from it.

mod apportion;
mod calls_only;
pub mod context;
mod ethtool;
mod fixes;
mod from_pages;
mod learning;
mod ledger;
mod networks;
pub mod outside;
mod pace;
pub(crate) mod proc;
mod reading;
pub mod reasons;
mod refusal;
pub mod report;
mod seen_calls;
mod socket;
mod table;
pub mod watch;

#[cfg(test)]
mod accounts_tests;
#[cfg(test)]
mod made_tests;
#[cfg(test)]
mod reasons_tests;
