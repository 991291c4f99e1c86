//! Serves an axum application with files leaving by sendfile(2): the listener is all that
//! changes, and a body of [`underpass_http_body`] is what it sends.
//!
//! ```toml
//! underpass = "0.0"
//! underpass-axum = "0.0"
//! underpass-http-body = "0.0"
//! ```
//!
//! ```no_run
//! use axum::{Router, body::Body, http::Version, routing::get};
//! use underpass::{FileBytes, Stability};
//! use underpass_http_body::FileBody;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let file = FileBytes::map(std::fs::File::open("large.bin")?, .., Stability::Guard)?;
//! let send = async move |version: Version| Body::new(body(file.clone(), version));
//! let app = Router::new().route("/", get(send));
//! let socket = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(underpass_axum::listener(socket), app).await?;
//! # Ok(())
//! # }
//!
//! fn body(file: FileBytes, version: Version) -> FileBody {
//!     match version {
//!         // No layer here reads bodies, and HTTP/1 does not: it leaves by sendfile, unread.
//!         Version::HTTP_11 => FileBody::by_reference(unsafe { file.into_frames() }),
//!         _ => FileBody::copied(file), // read once, checked, then sent
//!     }
//! }
//! ```
//!
//! Give [`FileBody::copied`] to whatever reads bodies on their way: compression, TLS in user space,
//! HTTP/2, which reads the start of each frame. HTTP/2 frames are 16 KiB unless the peer allows
//! more, and copying those is cheaper than a sendfile each; [`listener_with_policy`] changes that.
//!
//! `into_make_service_with_connect_info::<SocketAddr>()` works as with tokio's listener, and with
//! a Unix socket's [`SocketAddr`](tokio::net::unix::SocketAddr) too.
//!
//! [`underpass_http_body`]: https://docs.rs/underpass-http-body
//! [`FileBody::copied`]: https://docs.rs/underpass-http-body
#![forbid(unsafe_code)]

use std::io;

use axum::serve::{ListenerExt, TapIo};
use underpass::{ListeningSocket, Policy, Stream};

/// A listener for `axum::serve` on a TCP or Unix socket.
///
/// That it is axum's [`TapIo`], which here does nothing, is what makes the peer's address
/// available to `into_make_service_with_connect_info`.
pub type Listener<L> = TapIo<Accepting<L>, fn(&mut Stream<<L as ListeningSocket>::Socket>)>;

/// Accepts connections for `axum::serve`; made by [`listener`].
#[derive(Debug)]
pub struct Accepting<L>(underpass::Listener<L>);

/// Has `axum::serve` accept from `socket`, with file-backed bodies going by reference where
/// that is cheaper.
///
/// Errors of accept(2) are waited out, as [`underpass::Listener::accept_next`] says.
pub fn listener<L: ListeningSocket>(socket: L) -> Listener<L> {
    listener_with_policy(socket, Policy::Auto)
}

/// [`listener`], with a choice of how file-backed bodies travel.
pub fn listener_with_policy<L: ListeningSocket>(socket: L, policy: Policy) -> Listener<L> {
    Accepting(underpass::Listener::new(socket).with_policy(policy)).tap_io(|_| {})
}

impl<L: ListeningSocket> axum::serve::Listener for Accepting<L> {
    type Io = Stream<L::Socket>;
    type Addr = L::Address;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        self.0.accept_next().await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.get_ref().local_address()
    }
}
