//! The command as a user meets it: exit codes, messages, help.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails here")]

mod client;
mod command;
mod compare;
mod config;
mod copy;
mod explain;
mod explain_asked;
mod explain_ends;
#[path = "../../../underpass-measure/tests/it/hidden.rs"]
mod hidden;
mod log_clients;
mod log_faults;
mod log_groups;
mod log_requests;
mod log_server;
mod log_settings;
mod log_topics;
mod packaging;
mod place;
mod programs;
mod relay;
mod running;
mod sandbox;
mod serve;
mod serve_access;
mod serve_behind;
#[cfg(feature = "remote")]
mod serve_bodies;
#[cfg(feature = "remote")]
mod serve_bucket;
mod serve_hosts;
mod serve_http2;
mod serve_limits;
#[cfg(feature = "remote")]
mod serve_nodes;
#[cfg(feature = "remote")]
mod serve_origin;
mod serve_tls;
mod serve_to_https;
mod serve_upload;
mod service_manager;
mod signals;
mod tsdb;
mod tsdb_analyze;
mod tsdb_dump;
mod tsdb_head;
mod tsdb_serve;
#[cfg(feature = "parquet")]
mod tsdb_tables;
mod tsdb_usage;
mod tsdb_verify;
