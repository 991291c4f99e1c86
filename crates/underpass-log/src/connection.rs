//! A connection: requests in, responses out, one at a time.
//!
//! The next request is read when the last one has its response, so that responses come in the order
//! of their requests, as the protocol wants it. What a client sends ahead waits in the kernel.

mod frames;
mod sending;
pub(crate) mod vitals;

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use underpass_daemon::Accepted;

use crate::api::{self, Answer};
use crate::chain::Chain;
use crate::worker::Worker;
pub(crate) use frames::RequestLimits;
use frames::{FrameError, Frames};
use sending::Cut;
use vitals::{Doing, Vitals};

/// A connection, as those who answer its requests see it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    socket: Rc<Accepted>,
    vitals: Rc<Vitals>,
    /// Fetches so far: the next begins with another partition.
    pub(crate) fetches: Cell<usize>,
    requests: Cell<u64>,
    received: Cell<u64>,
    sent: Cell<u64>,
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// There was no further request.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A request has no answer.
    #[error("{0}")]
    Refused(api::Refusal),
    /// The client has left without its answer.
    #[error("the client left before its request was answered")]
    Left,
    /// A response could not be sent.
    #[error("the response could not be sent: {0}")]
    Sending(Cut),
}

/// Serves a connection until it ends.
pub(crate) async fn serve(socket: Accepted, worker: &Rc<Worker>) {
    let socket = Rc::new(socket);
    let connection = Connection {
        worker: Rc::clone(worker),
        vitals: worker.connections.add(&socket),
        socket,
        fetches: Cell::new(0),
        requests: Cell::new(0),
        received: Cell::new(0),
        sent: Cell::new(0),
    };
    let end = connection.answer_all().await;
    connection.say(&end);
}

impl Connection {
    async fn answer_all(&self) -> End {
        let mut frames = Frames::default();
        loop {
            match self.answer_next(&mut frames).await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    async fn answer_next(&self, frames: &mut Frames) -> Result<(), End> {
        self.vitals.now(Doing::Idle);
        let frame = frames.next(&self.socket, &self.vitals, &self.worker.shared.requests).await?;
        self.vitals.now(Doing::Answering);
        self.requests.set(self.requests.get() + 1);
        self.received.set(self.received.get() + frame.len());
        let answer = tokio::select! {
            biased;
            answer = api::answer(self, frame.bytes()) => answer,
            () = self.vitals.left() => return Err(End::Left),
        };
        let pieces = match answer {
            Answer::Response(pieces) => pieces,
            Answer::Nothing => return Ok(()),
            Answer::Close(refusal) => return Err(End::Refused(refusal)),
        };
        drop(frame);
        self.vitals.now(Doing::Sending);
        let sent = sending::send(&self.socket, pieces, &self.worker.shared.counts).await;
        self.sent.set(self.sent.get() + sent.map_err(End::Sending)?);
        Ok(())
    }

    /// Where the client reached this server.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match &*self.socket {
            Accepted::Tcp(stream, _) => stream.local_addr().ok(),
            Accepted::Unix(_) => None,
        }
    }

    /// Who the client is, for descriptions of groups: `/` and its address.
    pub(crate) fn client_host(&self) -> String {
        let peer = self.socket.peer();
        peer.map_or_else(|| "/unix".to_owned(), |peer| format!("/{}", peer.ip().to_canonical()))
    }

    /// A line for the log.
    fn say(&self, end: &End) {
        let is_usual = matches!(end, End::Frame(FrameError::End));
        let client = Client(&self.socket);
        if let End::Sending(cut @ Cut::File { .. }) = end {
            tracing::error!("a response to {client} was cut short: {}", Chain(cut));
        } else if !is_usual {
            tracing::debug!("{client} {end}");
        }
        let (requests, received, sent) =
            (self.requests.get(), self.received.get(), self.sent.get());
        let how = fmt::from_fn(|f| match is_usual {
            true => f.write_str("whole"),
            false => write!(f, "cut why={:?}", end.to_string()),
        });
        self.worker.write_line(format_args!(
            "client={} requests={requests} received={received} sent={sent} end={how}",
            Client(&self.socket)
        ));
    }
}

/// A peer as a log names it.
struct Client<'a>(&'a Accepted);

impl fmt::Display for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.peer() {
            Some(peer) => peer.fmt(f),
            None => f.write_str("unix"),
        }
    }
}
