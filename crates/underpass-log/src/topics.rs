//! The topics of a data directory.
