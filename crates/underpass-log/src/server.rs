//! The server: its options made into the daemon's settings and what workers share.
