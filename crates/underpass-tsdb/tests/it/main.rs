//! Tests of the reader against Prometheus.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails here")]

mod analyze;
mod buckets;
mod chunks;
#[cfg(feature = "parquet")]
mod columns;
mod damage;
mod dump;
mod head;
mod index;
mod opening;
mod overlaps;
mod promtool;
mod query;
mod query_damage;
mod server;
mod verify;
