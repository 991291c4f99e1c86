//! HTTP/1: one response at a time, of one request after the other.
//!
//! Source: RFC 9112 §9.3 (persistence), §9.5 (failures and timeouts), §9.6 (half-closed clients).

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep};

use super::ticks::{TICK, Ticks};
use super::{End, refuse, report};
use crate::access_log::Cut;
use crate::closing::close_in_stages;
use crate::connection::{Counted, Idle, Shared};
use crate::progress::Progress;
use crate::refusal::of_malformed;
use crate::responder::Responder;
use crate::transport::Transport;
use crate::wire::Wire;

/// Lets hyper converse until the connection ends, or is idle and may be parked.
pub(crate) async fn converse(idle: Idle, shared: &Rc<Shared>) -> Option<Idle> {
    let mut conversation = Conversation::new(idle, shared);
    let mut tick = pin!(sleep(TICK));
    let end = poll_fn(|cx| conversation.poll(cx, tick.as_mut())).await;
    conversation.end(end).await
}

/// A connection in hyper's hands.
struct Conversation<'s> {
    hyper: http1::Connection<TokioIo<Wire>, Responder>,
    transport: Rc<RefCell<Transport>>,
    progress: Rc<Progress>,
    shared: &'s Shared,
    _under_hyper: Counted<'s>,
    busy: Option<Counted<'s>>,
    ticks: Ticks,
}

impl<'s> Conversation<'s> {
    fn new(idle: Idle, shared: &'s Rc<Shared>) -> Self {
        let Idle { transport, unread, https_port } = idle;
        let progress = Progress::new(Rc::clone(&shared.site), transport.peer());
        let progress = Rc::new(progress.under_name(transport.server_name()).led_to(https_port));
        let transport = Rc::new(RefCell::new(transport));
        let wire = Wire::new(Rc::clone(&transport), unread, Rc::clone(&progress));
        let hyper = http1::Builder::new()
            .writev(true)
            .half_close(true)
            .max_header_size(shared.limits.header_bytes_max)
            .serve_connection(
                TokioIo::new(wire),
                Responder { progress: Rc::clone(&progress), shared: Rc::clone(shared) },
            );
        let _under_hyper = Counted::new(&shared.under_hyper);
        Self {
            hyper,
            transport,
            progress,
            shared,
            _under_hyper,
            busy: None,
            ticks: Ticks::default(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, tick: Pin<&mut Sleep>) -> Poll<End> {
        if let Poll::Ready(end) = Pin::new(&mut self.hyper).poll(cx) {
            return Poll::Ready(end.map_or_else(End::Failed, |()| End::Over));
        }
        let _discarded = self.progress.poll_content(cx);
        if !self.progress.is_answering() {
            self.busy = None;
        } else if self.busy.is_none() {
            self.busy = Some(Counted::new(&self.shared.busy));
        }
        if self.progress.is_idle() {
            if self.shared.is_stopping.get() && !self.transport.borrow().has_bytes() {
                return Poll::Ready(End::Over);
            }
            return Poll::Ready(End::Idle);
        }
        self.poll_tick(cx, tick)
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<End> {
        while tick.as_mut().poll(cx).is_ready() {
            // Not from now: connections that were late together would be so for ever.
            let next = tick.deadline() + TICK;
            tick.as_mut().reset(next.max(Instant::now()));
            let (transport, limits) = (self.transport.borrow(), &self.shared.limits);
            if let Some(end) = self.ticks.tick(&self.progress, &transport, limits) {
                return Poll::Ready(end);
            }
        }
        Poll::Pending
    }

    /// Ends the conversation, and the connection with it unless that is idle.
    async fn end(self, end: End) -> Option<Idle> {
        let Self { hyper, transport, progress, shared, busy, _under_hyper, .. } = self;
        let unread = hyper.into_parts().read_buf;
        let mut transport = Rc::into_inner(transport)?.into_inner();
        let status = match end {
            End::Idle => {
                // An empty buffer would keep its 8 KiB for as long as the connection is parked.
                let unread = if unread.is_empty() { Bytes::new() } else { unread };
                let https_port = progress.https_port;
                return Some(Idle { transport: transport.rested(), unread, https_port });
            }
            End::Over
                if !progress.is_last()
                    && unread.is_empty()
                    && !transport.is_secure()
                    && !transport.has_bytes() =>
            {
                return None;
            }
            End::Over | End::TooLong => None,
            End::Stalled(how) => {
                progress.cut(Cut::Client, how);
                transport.reset_when_closed();
                return None;
            }
            End::HeadTimeout => Some(StatusCode::REQUEST_TIMEOUT),
            End::Failed(error) => {
                progress.note_head(&unread);
                let head = &unread[..unread.len().min(shared.limits.header_bytes_max)];
                let status = of_malformed(&error, &progress.first_line(), head);
                if status.is_none() {
                    report(&error, &progress);
                    return None;
                }
                status
            }
        };
        if let Some(status) = status {
            refuse(&transport, status, None, &progress);
        }
        // Once, also if it was busy before: a connection is one of those under hyper.
        let busy = busy.unwrap_or_else(|| Counted::new(&shared.busy));
        close_in_stages(&mut transport, shared.limits.send_time, || drop(busy)).await;
        None
    }
}
