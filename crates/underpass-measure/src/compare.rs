//! `underpass compare`: every method of the engine on the same bytes, measured side by side.

pub mod report;
