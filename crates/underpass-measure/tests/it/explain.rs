//! `explain`: judgements of evidence written by hand, and of real servers.

mod accounts;
mod made;
mod reasons;
