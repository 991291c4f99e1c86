//! One partition's files: a log of record batches, its indexes, its recovery.
