//! Prometheus' remote read: what a client asks, and the two forms of an answer.
//!
//! Source: prometheus/prompb/remote.proto; prometheus.io, "Remote Read API".

mod bits;
mod encode;
mod frames;
mod protobuf;
mod request;
mod samples;
mod snappy;
