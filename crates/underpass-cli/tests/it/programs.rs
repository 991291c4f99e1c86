//! Programs that people run, each watched by `underpass explain` while it is asked for files, and
//! each line of the answer held against what strace and the client saw of the same bytes.
//!
//! What today's answer has wrong is listed with each program. A line of the list that comes out
//! right fails its test, so that it is struck; one that comes out wrong in another way fails too.
//! The outcomes are written to a page of the documentation by `cargo xtask programs`.

mod apache;
mod client;
mod commands;
mod go;
mod haproxy;
mod java;
mod judged;
mod kafka;
mod lighttpd;
mod nginx;
mod node;
mod openssl;
mod own;
mod python;
mod rsync;
mod samba;
mod signals;
mod site;
mod truth;
mod vsftpd;
mod watched;
