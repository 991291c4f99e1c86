//! `underpass log` when something fails: what was acknowledged is there, an offset is given once,
//! and those whom it does not concern do not notice.

mod broker;
mod cold;
mod crash;
mod failing_disk;
mod full_disk;
mod many_segments;
mod network;
mod power;
mod slow_consumers;
mod start;
mod waiting;
