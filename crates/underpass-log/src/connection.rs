//! A connection: frames in, frames out, one request at a time.
