//! What the probe sees, against programs that do known things on a real kernel.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod explain;
mod hidden;
mod matrix;
mod matrix_memory;
mod matrix_names;
mod matrix_peers;
mod matrix_sockets;
mod matrix_tls;
mod matrix_totals;
mod matrix_waiting;
