//! What share of a running program's file bytes left by reference, and why the rest did not.
//!
//! A report is a pure function of [`Evidence`](crate::evidence::Evidence) and of what else is known
//! of the processes; what looks at the machine is apart from it.

mod asking;
mod calls_only;
mod fixes;
mod from_pages;
mod interval;
mod learning;
mod limited;
mod networks;
pub(crate) mod outside;
mod pace;
pub(crate) mod reasons;
mod refusal;
pub(crate) mod report;
mod runtime;
mod seen_calls;
pub(crate) mod session;
mod summary;
pub(crate) mod watch;

pub(crate) use crate::account::context;
pub use outside::Counted;
pub use reasons::{Finding, Reason};
pub use refusal::WatchError;
pub use report::{Report, Share, Shortfall};
pub use session::{Came, Session};
pub use summary::Summary;
pub use watch::Watch;

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
