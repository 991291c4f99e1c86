//! A sparse local file that fills from a remote object, while its readers send what is there.

mod extents;
mod meta;
mod plan;
