//! `explain`: judgements of evidence written by hand, of known senders, and of real servers.

mod accounts;
mod made;
mod networks;
mod numbers;
mod reasons;
mod rests;
mod senders;
mod servers;
mod site;
mod sockets;
