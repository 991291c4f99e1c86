//! `explain`: judgements of known senders, and of real servers.

mod made;
mod networks;
mod numbers;
mod rests;
mod senders;
mod servers;
mod site;
mod sockets;
