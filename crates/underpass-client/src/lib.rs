//! HTTP/1.1 as a client for threads that may wait, with the content kept out of this program's
//! memory.
//!
//! Reading the head of a response takes not one byte after it (`MSG_PEEK`), so content of a known
//! length can be spliced from the socket, and a request's content goes by sendfile; with TLS too,
//! if the kernel does it. Chunked content passes through memory.
//!
//! [`Client::ask`] gives a [`Response`], whatever its status; its [`Body`] is a source for the
//! engine, and a reader. A [`Client`] says how servers are asked: with which fields, as whom, by
//! which proxy, and trusting whom. Each wait is ended by an [`Interrupt`], which also has the
//! timeouts.
//!
//! ```no_run
//! use underpass::{Sink, transfer};
//! use underpass_client::{Ask, Client, Condition, Interrupt, Method, Url};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, interrupt) = (Client::default().keeping_connections(), Interrupt::never()?);
//! let url = Url::parse("http://origin.example/large.bin")?;
//! let ask = Ask { condition: Condition::IfNoneMatch("\"v1\""), ..Ask::new(Method::Get, &url) };
//! let mut response = client.ask(&ask, &interrupt)?.accepted()?;
//! let file = std::fs::File::create("large.bin")?;
//! match response.body.source() {
//!     // By splice, in the kernel.
//!     Some(source) => drop(transfer(source, Sink::file(&file, 0))?),
//!     None => drop(std::io::copy(&mut response.body, &mut &file)?),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Source: RFC 9110 §9.3.1, §9.3.4, §14, §15; RFC 9112 §6.3, §7.1.
#![forbid(unsafe_code)]

mod answer;
mod ask;
mod body;
mod chunked;
mod client;
mod condition;
pub mod connect;
mod connection;
mod credentials;
mod early;
mod error;
mod extent;
#[cfg(fuzzing)]
pub mod fuzzing;
mod get;
mod head;
mod interrupt;
mod netrc;
mod pool;
mod proxy;
mod put;
mod put_whole;
mod range;
mod tls;
mod trust;
mod url;
mod validator;
mod waiting;

pub use answer::is_closed;
pub use ask::{Ask, Method, Response};
pub use body::{Body, Place};
pub use chunked::ChunkedWriter;
pub use client::{Client, Field, FieldError};
pub use condition::Condition;
pub use connection::Connection;
pub use early::is_answer;
pub use error::ClientError;
pub use get::REDIRECTS_MAX;
pub use head::Head;
pub use interrupt::{Interrupt, Timeouts, Woken, interrupted, is_idle};
pub use netrc::Netrc;
pub use proxy::Proxies;
pub use put::Put;
pub use range::{Range, RangeError};
pub use tls::InUserSpace;
pub use trust::Trust;
pub use url::Url;
pub use validator::Validator;
pub use waiting::WaitingStream;
