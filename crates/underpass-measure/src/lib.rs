//! What was copied on the way from a file to a socket, and what was not: measured.
//!
//! [`Evidence`] is what the kernel was seen to do, as plain data; [`Figure`] is a number and
//! how it came to be known. Everything that judges is a function from the one to the other.
#![forbid(unsafe_code)]

mod account;
mod affinity;
mod cache;
mod call;
mod chance;
mod claims;
mod compare;
mod evidence;
mod explain;
mod eyes;
mod figure;
mod findings;
mod methods;
mod namespace;
mod observe;
#[cfg(feature = "html")]
mod page;
mod probe;
mod proc;
mod sheet;
mod terms;
mod usage;
mod words;

pub use affinity::pin;
pub use compare::{CompareError, Program, Progress, Request, Specimen, serve};
pub use evidence::{
    Calls, Evidence, FileId, FileKind, Lent, Mapped, Memory, Named, Origin, Pages, Process,
    Received, Socket,
};
pub use explain::{
    Came, Counted, Finding, Reason, Report, Session, Share, Shortfall, Summary, Watch, WatchError,
};
pub use figure::Figure;
pub use findings::Findings;
pub use observe::Tier;
pub use probe::{Probe, ProbeError, Sight};
pub use terms::{Link, Pair};
pub use words::printable;
