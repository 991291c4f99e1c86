//! What the streams of one connection share.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::Reason;
use http::StatusCode;
use http::request::Parts;
use tokio::sync::Semaphore;

use super::options::Http2Options;
use super::told::Told;
use super::wire::Outlet;
use crate::access_log::{Line, Requested};
use crate::account::{Account, Encrypted};
use crate::connection::Shared;
use crate::limits::Limits;
use crate::sending::Sending;
use crate::site::Site;
use crate::stations::Asked;

/// Pieces of a connection that h2 holds at a time.
const PIECES_MAX: usize = 4;

/// Fetches from a disk that a connection has under way at a time: it is not to fill the pool.
const FETCHES_MAX: usize = 8;

/// How many times as many streams as there may be a client may reset in a second.
const RESETS_MAX: usize = 4;

/// What such a connection begins with.
const FIRST_LINE: &[u8] = b"PRI * HTTP/2.0";

/// The state of a connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) site: Rc<Site>,
    /// The peer's address; that of a Unix socket has none.
    pub(super) client: Option<IpAddr>,
    /// The name that it asked for in the handshake.
    server_name: Option<Box<str>>,
    encrypted: Option<Encrypted>,
    pub(super) limits: Limits,
    /// Until the connection ends.
    outlet: Weak<Outlet>,
    pub(super) pieces: Arc<Semaphore>,
    pub(super) fetches: Arc<Semaphore>,
    streams_max: usize,
    /// Requests whose responses h2 has not written whole.
    open: Cell<usize>,
    has_answered: Cell<bool>,
    /// Streams that the client has reset since the last tick.
    resets: Cell<usize>,
    is_flooded: Cell<bool>,
    /// Bytes of content that h2 holds.
    held: Cell<usize>,
    /// The content that h2 looked at last.
    shown: RefCell<Bytes>,
}

impl Session {
    pub(super) fn new(shared: &Shared, outlet: &Rc<Outlet>, options: &Http2Options) -> Self {
        let transport = outlet.transport();
        Self {
            site: Rc::clone(&shared.site),
            client: transport.peer(),
            server_name: transport.server_name().map(Into::into),
            encrypted: transport.encrypted(),
            limits: shared.limits,
            outlet: Rc::downgrade(outlet),
            pieces: Arc::new(Semaphore::new(PIECES_MAX)),
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            streams_max: usize::try_from(options.streams_max.get()).unwrap_or(usize::MAX),
            open: Cell::default(),
            has_answered: Cell::default(),
            resets: Cell::default(),
            is_flooded: Cell::default(),
            held: Cell::default(),
            shown: RefCell::default(),
        }
    }

    /// A request of this client's.
    pub(super) fn asked<'r>(&'r self, head: &'r Parts) -> Asked<'r> {
        let client = self.site.proxies.client(self.client, &head.headers);
        Asked { head, client, server_name: self.server_name.as_deref(), https_port: None }
    }

    /// How bytes of content leave.
    pub(super) fn account(&self, bytes: usize) -> Account {
        Account::of_memory(bytes, self.encrypted)
    }

    /// Whether a request waits for its response, or for the rest of it.
    pub(super) fn is_answering(&self) -> bool {
        self.open.get() > 0
    }

    /// Whether there was a request.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.get()
    }

    /// Whether streams that the client has reset still take more places than streams may.
    pub(super) fn is_full(&self) -> bool {
        self.open.get() >= self.streams_max.saturating_mul(2)
    }

    /// Counts a stream that the client has reset. To ask for a file and not to want it costs a
    /// client less than a server.
    pub(super) fn note_reset(&self) {
        self.resets.set(self.resets.get() + 1);
        let most = self.streams_max.saturating_mul(RESETS_MAX);
        self.is_flooded.set(self.is_flooded.get() || self.resets.get() > most);
    }

    /// h2 tells the client something. A request that it refuses is counted and has a line here.
    pub(super) fn note_told(&self, told: Told) {
        let bad = |is_bad: bool| is_bad.then_some(StatusCode::BAD_REQUEST);
        let (code, status) = match told {
            Told::StatusAlone => (0, Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)),
            Told::Reset(code) => (code, bad(Reason::from(code) == Reason::PROTOCOL_ERROR)),
            Told::Ends(code) => (code, bad(Reason::from(code) != Reason::NO_ERROR)),
        };
        self.site.counts.count_http2_error(code);
        let Some(status) = status else { return };
        self.site.counts.count_request(status);
        self.site.record(&Line {
            client: self.client,
            time: SystemTime::now(),
            user: None,
            request: Requested::Line(FIRST_LINE),
            status,
            content_bytes: 0,
            account: Account::default(),
            cut: None,
            cached: None,
            took: Duration::ZERO,
        });
    }

    /// A second is over.
    pub(super) fn forget_resets(&self) {
        self.resets.set(0);
    }

    /// Whether the client resets more streams than any would that wants their responses.
    pub(super) fn is_flooded(&self) -> bool {
        self.is_flooded.get()
    }

    /// Bytes of content that h2 holds.
    pub(super) fn held(&self) -> usize {
        self.held.get()
    }

    /// Bytes of files that may be read now; none once the connection has ended.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<usize> {
        self.outlet.upgrade().map_or(Poll::Ready(0), |outlet| outlet.poll_room(cx, self.held()))
    }

    /// h2 has got, or has given on, bytes of content.
    pub(super) fn hold(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
    }

    /// The reverse.
    pub(super) fn release(&self, bytes: usize) {
        self.held.set(self.held.get() - bytes);
    }

    /// h2 looks at this content, which may be in what it writes next.
    pub(super) fn show(&self, bytes: &Bytes) {
        self.shown.replace(bytes.clone());
    }

    /// What it looked at last.
    pub(super) fn take_shown(&self) -> Bytes {
        self.shown.take()
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Open(pub(super) Rc<Session>);

impl Open {
    pub(super) fn new(session: &Rc<Session>) -> Self {
        session.open.set(session.open.get() + 1);
        session.has_answered.set(true);
        Self(Rc::clone(session))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// A response of which h2 holds something, or will.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) open: Open,
    pub(super) sending: RefCell<Sending>,
}

impl Response {
    pub(super) fn session(&self) -> &Session {
        &self.open.0
    }
}
