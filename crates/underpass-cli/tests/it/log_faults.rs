//! `underpass log` when something fails: what was acknowledged is there, an offset is given once,
//! and whoever is not concerned does not notice.

mod broker;
mod crash;
mod failing_disk;
mod network;
mod power;
mod waiting;
