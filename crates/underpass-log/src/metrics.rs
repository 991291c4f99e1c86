//! What the metrics say.
