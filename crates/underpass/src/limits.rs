//! How much one call moves, how much one turn moves, and what is too small to refer to: the same
//! for transfers, flows and file-backed writes.

/// The most one call moves, so that a fast peer cannot hold its thread: nginx's
/// `sendfile_max_chunk`. With half of it, the call's own cost begins to show.
pub(crate) const QUANTUM: u64 = 2 << 20;

/// Bytes moved before other tasks of the thread get their turn: half a millisecond at 8 GB/s.
#[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "threads have the system's turns"))]
pub(crate) const TURN_BYTES: u64 = 4 << 20;

/// The largest piece of a file, in bytes, that [`Policy::Auto`](crate::Policy::Auto) copies to a
/// socket: one pread(2) and one sendmsg(2) together with what precedes it cost no more than a send
/// and a sendfile(2). From 24 KiB on, sending by reference is cheaper. Measured:
/// `bench/runs/2026-11-21-threshold`.
pub const COPY_MAX_BYTES: usize = 16 * 1024;

/// [`COPY_MAX_BYTES`], for lengths in files.
pub(crate) const COPY_MAX: u64 = COPY_MAX_BYTES as u64;

/// From this many bytes on, a file that goes by reference is corked around its calls. 100 KiB to
/// 64 connections by turns cost a C loop 16.0 us of CPU corked and 15.3 bare; 256 KiB are cheaper
/// corked. Measured: `bench/runs/2026-11-29-serve`, `2026-11-29-transfer`.
pub(crate) const CORK_MIN_BYTES: u64 = 256 << 10;
