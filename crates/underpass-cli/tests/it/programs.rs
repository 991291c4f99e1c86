//! Programs that people run, each watched by `underpass explain` while it is asked for files, and
//! each line of the answer held against what strace and the client saw of the same bytes.
//!
//! What today's answer has wrong is told with each program, and by how many bytes at most. One that
//! comes out right fails its test, so that it is struck; one that is wrong by more fails, too.
//! The outcomes are written to a page of the documentation by `cargo xtask programs`.

mod apache;
mod axum;
mod cache;
mod client;
mod commands;
mod go;
mod haproxy;
mod held;
mod java;
mod judged;
mod kafka;
mod lighttpd;
mod made;
mod nginx;
mod node;
mod openssl;
mod overlay;
mod own;
mod python;
mod rsync;
mod samba;
mod signals;
mod site;
mod truth;
mod vsftpd;
mod watched;
