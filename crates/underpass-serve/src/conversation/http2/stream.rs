//! One request and its response.
//!
//! Source: RFC 9113 §5.4.2 (stream errors), §6.9 (flow control), §8.1 (what a client may stop
//! sending).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{DATE, EXPECT};
use http::request::Parts;
use http::{Method, Request, Response as Head};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::buffer::BUFFER_BYTES;
use super::outgoing::Outgoing;
use super::piece::Piece;
use super::received::Received;
use super::request::normalise;
use super::session::{Open, Response, Session};
use crate::access_log::Cut as CutBy;
use crate::account::Account;
use crate::answer::Answer;
use crate::body::cut_by;
use crate::date::Second;
use crate::sending::Sending;
use crate::taking::TooSlow;
use crate::upload::is_upload;

/// How long a client may take to stop sending what no one reads.
const LINGER: Duration = Duration::from_secs(5);

/// Answers a request: at once if nothing has to be waited for, or else by a task.
pub(super) fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Piece>,
    session: &Rc<Session>,
) {
    if session.is_full() {
        session.note_reset();
        return respond.send_reset(Reason::ENHANCE_YOUR_CALM);
    }
    let open = Open::new(session);
    let (mut head, content) = request.into_parts();
    let refused = normalise(&mut head, session.limits.header_bytes_max)
        .err()
        .map(|status| session.site.refusal(status));
    let is_upload = refused.is_none() && is_upload(&head);
    if is_upload && session.site.takes_uploads(&session.asked(&head)) {
        return drop(spawn_local(take(head, content, respond, open)));
    }
    if !content.is_end_stream() {
        return drop(spawn_local(discard(refused, head, content, respond, open)));
    }
    let at_once = refused.or_else(|| session.site.answer_at_once(&session.asked(&head)));
    match at_once {
        None => drop(spawn_local(look_up(head, respond, open))),
        Some(answer) => {
            if let Some(mut rest) = begin(answer, head, respond, open)
                && !rest.is_sent_at_once()
            {
                spawn_local(rest.send());
            }
        }
    }
}

async fn look_up(head: Parts, respond: SendResponse<Piece>, open: Open) {
    let respond = RefCell::new(respond);
    let answer = unless_reset(&respond, open.0.site.answer(&open.0.asked(&head))).await;
    send(answer, head, respond, open).await;
}

/// Answers an upload, whose content is read if it is wanted.
async fn take(head: Parts, content: RecvStream, respond: SendResponse<Piece>, open: Open) {
    let respond = RefCell::new(respond);
    let (answer, unread) = {
        let asked = open.0.asked(&head);
        let waits_for = head.headers.contains_key(EXPECT).then_some(&respond);
        let mut content = Received::new(content, waits_for);
        let mut offered = Some(&mut content);
        let interim = |answer: Answer| send_interim(answer, &respond);
        let answering = open.0.site.take(&asked, &mut offered, Some(&interim));
        let answer = unless_reset(&respond, answering).await;
        (answer, content.into_stream())
    };
    send(answer, head, respond, open).await;
    linger(unread).await;
}

/// Sends an answer before the last one.
fn send_interim(answer: Answer, respond: &RefCell<SendResponse<Piece>>) {
    let mut head = Head::new(());
    (*head.status_mut(), *head.headers_mut()) = (answer.status, answer.headers);
    // One who has left is told of by what comes next.
    if let Err(error) = respond.borrow_mut().send_informational(head) {
        tracing::debug!("an interim response was not sent: {error}");
    }
}

/// Answers a request whose content no answer depends on.
async fn discard(
    refused: Option<Answer>,
    head: Parts,
    content: RecvStream,
    respond: SendResponse<Piece>,
    open: Open,
) {
    let respond = RefCell::new(respond);
    let answer = match refused {
        None => unless_reset(&respond, open.0.site.answer(&open.0.asked(&head))).await,
        refused => refused,
    };
    send(answer, head, respond, open).await;
    linger(content).await;
}

/// curl looks at no answer of a stream that is reset while it sends. It stops by itself once it has
/// one, and without more room it sends little until then.
async fn linger(mut unread: RecvStream) {
    let end = async { while let Some(Ok(_)) = unread.data().await {} };
    drop(timeout(LINGER, end).await);
}

/// The answer, if the client waits for it.
async fn unless_reset(
    respond: &RefCell<SendResponse<Piece>>,
    answering: impl Future<Output = Answer>,
) -> Option<Answer> {
    let mut answering = pin!(answering);
    let unless_reset = poll_fn(|cx| {
        let reset = respond.borrow_mut().poll_reset(cx);
        match reset {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => answering.as_mut().poll(cx).map(Some),
        }
    });
    unless_reset.await
}

async fn send(
    answer: Option<Answer>,
    head: Parts,
    respond: RefCell<SendResponse<Piece>>,
    open: Open,
) {
    let Some(answer) = answer else { return open.0.note_reset() };
    if let Some(rest) = begin(answer, head, respond.into_inner(), open) {
        rest.send().await;
    }
}

/// Sends the head of an answer, and gives what has content to follow.
fn begin(
    answer: Answer,
    request: Parts,
    mut respond: SendResponse<Piece>,
    open: Open,
) -> Option<Rest> {
    let answer = if request.method == Method::HEAD { answer.without_content() } else { answer };
    let Answer { status, headers, content, cached } = answer;
    let sending = Sending::new(&open.0.site, open.0.client, request, status).with(cached);
    let response = Rc::new(Response { open, sending: RefCell::new(sending) });
    let outgoing = Outgoing::new(content);
    let is_all = outgoing.left() == Some(0);
    let mut head = Head::new(());
    *head.status_mut() = status;
    *head.headers_mut() = headers;
    head.headers_mut().insert(DATE, Second::now().into_imf_fixdate());
    match respond.send_response(head, is_all) {
        Ok(stream) => (!is_all).then_some(Rest { stream, outgoing, response }),
        // The client has reset it, or has left.
        Err(error) => {
            tracing::debug!("a response was not sent: {error}");
            response.session().note_reset();
            None
        }
    }
}

/// A response whose head is sent, and its content not.
struct Rest {
    stream: SendStream<Piece>,
    outgoing: Outgoing,
    response: Rc<Response>,
}

/// Why a client does not get all of a response.
enum Cut {
    /// It has reset the stream, or left.
    Gone,
    /// It takes nothing of it.
    Stalled,
    /// The content is not available.
    Failed(io::Error),
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Rest {
    /// Sends content that is in memory, if the client has room for all of it.
    fn is_sent_at_once(&mut self) -> bool {
        let Some(bytes) = self.outgoing.in_memory().cloned() else { return false };
        self.stream.reserve_capacity(bytes.len());
        // What came of it is known if there is more to do.
        self.stream.capacity() >= bytes.len() && self.send_piece(bytes, true, None).is_ok()
    }

    async fn send(mut self) {
        match self.send_pieces().await {
            Ok(()) => {}
            Err(Cut::Gone) => self.response.session().note_reset(),
            Err(Cut::Stalled) => {
                let time = self.response.session().limits.send_time;
                self.cut(CutBy::Client, &TooSlow::Nothing(time));
                self.stream.send_reset(Reason::CANCEL);
            }
            Err(Cut::Failed(error)) => {
                self.cut(cut_by(&error), &error);
                self.stream.send_reset(Reason::INTERNAL_ERROR);
            }
        }
    }

    fn cut(&self, by: CutBy, reason: &dyn std::fmt::Display) {
        self.response.sending.borrow_mut().cut(by, reason);
    }

    async fn send_pieces(&mut self) -> Result<(), Cut> {
        while poll_fn(|cx| self.poll_content(cx)).await? {
            let room = self.room().await?;
            let pieces = Arc::clone(&self.response.session().pieces);
            let Ok(place) = pieces.acquire_owned().await else { return Err(Cut::Gone) };
            let room = room.min(poll_fn(|cx| self.poll_socket(cx)).await?);
            match self.outgoing.take(room, &self.response.session().fetches)? {
                // Others may use the window of the connection meanwhile.
                None => self.stream.reserve_capacity(0),
                Some(bytes) => {
                    let is_last = self.outgoing.left() == Some(0);
                    self.send_piece(bytes, is_last, Some(place))?;
                    if is_last {
                        return Ok(());
                    }
                }
            }
        }
        self.send_piece(Bytes::new(), true, None)
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Cut>> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut::Gone));
        }
        let ready = ready!(self.outgoing.poll_ready(cx));
        if let Some(waited) = self.outgoing.take_waited() {
            let account = Account::of_disk(waited);
            self.response.session().site.counts.count_sent(0, &account);
            self.response.sending.borrow_mut().note(0, &account);
        }
        Poll::Ready(ready.map_err(Cut::Failed))
    }

    /// Waits until the client has room, and says how much of it to use.
    async fn room(&mut self) -> Result<usize, Cut> {
        let left = self.outgoing.left().map_or(BUFFER_BYTES, |left| {
            usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES))
        });
        self.stream.reserve_capacity(left);
        let time = self.response.session().limits.send_time;
        match timeout(time, poll_fn(|cx| self.poll_room(cx))).await {
            Ok(room) => room.map(|room| room.min(left)),
            Err(_) => Err(Cut::Stalled),
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Cut>> {
        loop {
            match self.stream.capacity() {
                0 => {}
                room => return Poll::Ready(Ok(room)),
            }
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(Err(Cut::Gone)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Waits until the socket has room, and says how much.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Cut>> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut::Gone));
        }
        self.response.session().poll_room(cx).map(|room| match room {
            0 => Err(Cut::Gone),
            room => Ok(room),
        })
    }

    fn send_piece(
        &mut self,
        bytes: Bytes,
        is_last: bool,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Cut> {
        let piece = Piece::new(bytes, place, &self.response);
        self.stream.send_data(piece, is_last).map_err(|_| Cut::Gone)
    }
}
