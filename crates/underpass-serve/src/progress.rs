//! How far the conversation with a client is, as its wire sees it.
//!
//! hyper does not say when it holds nothing that would be lost with it. The wire can tell: hyper
//! flushes the socket only when its own write buffer is empty, and asks for more bytes only
//! when it has used up what it read.

use std::cell::{Cell, Ref, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::request::Parts;

use crate::access_log::Cut;
use crate::account::Account;
use crate::content::{Content, ContentEnd};
use crate::first_line::FirstLine;
use crate::sending::{Client, Sending};
use crate::site::Site;
use crate::stations::Asked;

/// The state of a connection's conversation.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) site: Rc<Site>,
    /// The peer's address; that of a Unix socket has none.
    pub(crate) client: Option<IpAddr>,
    /// The name that it asked for in the handshake.
    server_name: Option<Box<str>>,
    /// The port of https, if clients of its listener are sent there.
    pub(crate) https_port: Option<u16>,
    /// Requests whose responses hyper has not taken whole.
    open: Cell<usize>,
    /// Whether hyper may hold bytes that the socket has not taken.
    is_unflushed: Cell<bool>,
    /// Whether bytes came after the last request, or its content, ended.
    is_in_head: Cell<bool>,
    /// Whether this server ends the connection after the response, whatever more is on its way.
    is_last: Cell<bool>,
    written_bytes: Cell<u64>,
    /// What a request is still to send and no one is interested in.
    content: RefCell<Option<Content>>,
    leaving: RefCell<Option<Leaving>>,
    first_line: RefCell<FirstLine>,
}

impl Progress {
    pub(crate) fn new(site: Rc<Site>, client: Option<IpAddr>) -> Self {
        Self {
            site,
            client,
            server_name: None,
            https_port: None,
            open: Cell::default(),
            is_unflushed: Cell::default(),
            is_in_head: Cell::default(),
            is_last: Cell::default(),
            written_bytes: Cell::default(),
            content: RefCell::default(),
            leaving: RefCell::default(),
            first_line: RefCell::default(),
        }
    }

    /// The same where the handshake named a server.
    pub(crate) fn under_name(self, server_name: Option<&str>) -> Self {
        Self { server_name: server_name.map(Into::into), ..self }
    }

    /// The same where clients are sent to this port of https.
    pub(crate) fn led_to(self, https_port: Option<u16>) -> Self {
        Self { https_port, ..self }
    }

    /// A request of this client's.
    pub(crate) fn asked<'r>(&'r self, head: &'r Parts) -> Asked<'r> {
        let client = self.site.proxies.client(self.client, &head.headers);
        let (server_name, https_port) = (self.server_name.as_deref(), self.https_port);
        Asked { head, client, server_name, https_port }
    }

    /// Whether a request waits for its response, or for the rest of it.
    pub(crate) fn is_answering(&self) -> bool {
        self.open.get() > 0 || self.is_unflushed.get()
    }

    /// Whether a request has its response, and is to send more of its content.
    pub(crate) fn is_in_content(&self) -> bool {
        !self.is_answering() && self.content.borrow().is_some()
    }

    /// Whether nothing is under way but a head of which part has come.
    pub(crate) fn is_in_head(&self) -> bool {
        !self.is_answering() && !self.is_in_content() && self.is_in_head.get()
    }

    /// Whether nothing would be lost with hyper's state, save bytes it would hand back.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_answering()
            && !self.is_in_content()
            && !self.is_in_head.get()
            && !self.is_last.get()
    }

    /// Whether the client may still send, unaware that this server ends the connection.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last.get()
    }

    /// Has the connection end with the response under way.
    pub(crate) fn end_after_this(&self) {
        self.is_last.set(true);
    }

    /// Bytes that the socket has taken.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.get()
    }

    /// The first line of the head that began last, as far as it is known.
    pub(crate) fn first_line(&self) -> Ref<'_, FirstLine> {
        self.first_line.borrow()
    }

    /// `unread` is a head that came with the request before it, unless its first line is known.
    pub(crate) fn note_head(&self, unread: &[u8]) {
        let mut first_line = self.first_line.borrow_mut();
        if first_line.as_bytes().is_empty() {
            first_line.add(unread);
        }
    }

    /// What this request is still to send is to be discarded.
    pub(crate) fn discard(&self, content: Content) {
        *self.content.borrow_mut() = Some(content);
    }

    /// Discards what has come of the content. Ready when there is no more of it.
    pub(crate) fn poll_content(&self, cx: &mut Context<'_>) -> Poll<ContentEnd> {
        let mut content = self.content.borrow_mut();
        let Some(discarding) = content.as_mut() else { return Poll::Ready(ContentEnd::Whole) };
        let end = ready!(discarding.poll(cx));
        *content = None;
        if end != ContentEnd::Whole {
            self.end_after_this();
        }
        Poll::Ready(end)
    }

    /// The same until no more of it is here.
    pub(crate) fn poll_content_here(&self, cx: &mut Context<'_>) -> Poll<ContentEnd> {
        if let Poll::Ready(end) = self.poll_content(cx) {
            return Poll::Ready(end);
        }
        if self.content.borrow().as_ref().is_some_and(Content::is_awaited) {
            return Poll::Ready(ContentEnd::Whole);
        }
        // hyper looks at the socket once more, and wakes no one if nothing is there.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// From now on what is written is this response, until all of it is flushed.
    pub(crate) fn leave(&self, sending: Sending) {
        *self.leaving.borrow_mut() = Some(Leaving { sending, head_left: None });
    }

    /// Tells of a response that its client does not get whole.
    pub(crate) fn cut(&self, by: Cut, reason: impl fmt::Display) {
        match &mut *self.leaving.borrow_mut() {
            Some(leaving) => leaving.sending.cut(by, reason),
            None => {
                self.site.counts.count_cut(by);
                tracing::warn!("a response to {} was cut short: {reason}", Client(self.client));
            }
        }
    }

    pub(crate) fn note_read(&self, bytes: &[u8]) {
        if !self.is_answering() && self.content.borrow().is_none() {
            self.is_in_head.set(true);
            self.first_line.borrow_mut().add(bytes);
        }
    }

    /// `head_bytes` is how many of the bytes that hyper wants to write are a head, if any are.
    pub(crate) fn note_written(&self, head_bytes: usize, bytes: usize, account: &Account) {
        self.written_bytes.set(self.written_bytes.get() + bytes as u64);
        self.site.counts.count_sent(bytes, account);
        if let Some(leaving) = self.leaving.borrow_mut().as_mut() {
            leaving.note_written(head_bytes as u64, bytes as u64, account);
        }
    }

    pub(crate) fn note_flushed(&self) {
        if self.is_unflushed.replace(false) && self.open.get() == 0 {
            self.leaving.take();
        }
    }
}

/// The one response that a connection of HTTP/1 sends at a time.
#[derive(Debug)]
struct Leaving {
    sending: Sending,
    /// Bytes of its head that are still to be written; `None` before the first byte was.
    head_left: Option<u64>,
}

impl Leaving {
    fn note_written(&mut self, head_bytes: u64, bytes: u64, account: &Account) {
        let head_left = self.head_left.get_or_insert(head_bytes);
        let of_head = bytes.min(*head_left);
        *head_left -= of_head;
        self.sending.note(bytes - of_head, account);
    }
}

/// A request that is being answered: dropped when hyper has taken the whole response.
#[derive(Debug)]
pub(crate) struct Open(Rc<Progress>);

impl Open {
    pub(crate) fn new(progress: &Rc<Progress>) -> Self {
        progress.open.set(progress.open.get() + 1);
        progress.is_in_head.set(false);
        progress.first_line.borrow_mut().clear();
        Self(Rc::clone(progress))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.is_unflushed.set(true);
    }
}
