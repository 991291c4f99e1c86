//! Tests of the reader against Prometheus.

mod chunks;
