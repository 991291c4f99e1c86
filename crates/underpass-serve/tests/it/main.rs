//! The server over real sockets: raw requests, and curl.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails here")]

mod access;
mod archive;
mod browser;
mod cases;
mod change;
mod coded;
mod conformance;
mod cors;
mod curl;
mod direct;
mod ends;
mod few_descriptors;
mod fields;
mod fixture;
mod h2spec;
mod hostile;
mod hosts;
mod http2;
mod http2_cases;
mod http2_limits;
mod http2_peers;
mod http2_streams;
mod http2_upload;
mod idle;
mod lookup;
mod metadata;
mod nginx;
mod odd_files;
#[cfg(feature = "remote")]
mod origin;
mod parts;
mod raw;
mod shape;
mod tls;
mod truth;
mod upload;
mod upload_browser;
mod upload_form;
mod upload_resumed;
mod ways;
