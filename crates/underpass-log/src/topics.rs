//! The topics of a data directory.
#![expect(dead_code, reason = "the handlers of requests come next")]

mod catalog;
mod config;
mod directory;
mod name;
mod setting;
