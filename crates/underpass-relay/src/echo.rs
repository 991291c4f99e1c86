//! The echo server: what a client sends comes back to it, by splice.
//!
//! It is a relay whose target is the client. A client that sends and does not read is stopped
//! by its own unread bytes.
//!
//! Source: RFC 862; splice(2).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustix::pipe::{SpliceFlags, splice, tee};
use tokio::time::{Instant, sleep, timeout};
use underpass::{Method, Side};

use crate::end::{End, Ending, OrDash};
use crate::flow::{BUFFER_BYTES, Flow, Taken, is_refusal};
use crate::pipe::Pipe;
use crate::socket::{Brought, Socket};
use crate::tally::Direction;
use crate::tee::Tee;
use crate::worker::Worker;

/// Bytes taken at once past an urgent one.
const URGENT_BYTES: usize = 4 << 10;

/// Echoes to a client until the connection ends.
pub(crate) async fn echo(
    client: Socket,
    peer: Option<SocketAddr>,
    tee: Option<Arc<Tee>>,
    worker: Rc<Worker>,
) {
    worker.ends.count_accepted();
    let ending = worker.ending();
    let mut echo = Echoed {
        client,
        worker,
        peer,
        since: Instant::now(),
        flow: Flow::new(Direction::Up),
        is_short: false,
        ending,
    };
    echo.ending.end = match tee {
        None => echo.move_bytes().await,
        Some(tee) => echo.move_and_keep(&tee).await.unwrap_or_else(|end| end),
    };
}

/// A connection and its account.
struct Echoed {
    client: Socket,
    worker: Rc<Worker>,
    peer: Option<SocketAddr>,
    since: Instant,
    flow: Flow,
    /// Whether bytes were taken that the client has not got back.
    is_short: bool,
    ending: Ending,
}

impl Echoed {
    async fn move_bytes(&mut self) -> End {
        let limit = self.worker.settings.idle_timeout;
        let mut alarm = std::pin::pin!(sleep(limit.unwrap_or(Duration::MAX)));
        let Self { client, worker, flow, .. } = self;
        let mut active = Instant::now();
        poll_fn(|cx| {
            let moved = flow.delivered();
            match flow.poll(cx, client, client, &worker.means, true) {
                Poll::Ready(Ok(())) => return Poll::Ready(End::Closed),
                Poll::Ready(Err(Side::Source | Side::Sink)) => {
                    return Poll::Ready(End::ClientFailed);
                }
                Poll::Pending => {}
            }
            let Some(limit) = limit else { return Poll::Pending };
            if flow.delivered() != moved {
                active = Instant::now();
            }
            while alarm.as_mut().poll(cx).is_ready() {
                if active.elapsed() >= limit {
                    return Poll::Ready(End::Idle);
                }
                alarm.as_mut().reset(active + limit);
            }
            Poll::Pending
        })
        .await
    }

    /// As [`Echoed::move_bytes`], with everything that comes kept in a file before it is echoed.
    async fn move_and_keep(&mut self, tee: &Arc<Tee>) -> Result<End, End> {
        loop {
            let readable = poll_fn(|cx| self.client.poll_read_ready(cx));
            self.in_time(readable).await?;
            let pool = &self.worker.means.pool;
            let taken = match (pool.take(), pool.take()) {
                (Some(pipe), Some(copy)) => self.keep_by_pipe(pipe, copy, tee).await,
                (first, second) => {
                    first.into_iter().chain(second).for_each(|pipe| pool.give_back(pipe));
                    Ok(None)
                }
            };
            let taken = match taken {
                Ok(None) => self.keep_by_copy(tee).await,
                Ok(Some(taken)) => Ok(taken),
                Err(end) => Err(end),
            };
            match taken {
                Ok(Taken::End) => {
                    self.client.end_sending().map_err(failed)?;
                    return Ok(End::Closed);
                }
                Ok(Taken::Bytes | Taken::Nothing) => {}
                // The file, and not the client, took no more.
                Err(End::ClientFailed) if tee.failure().is_some() => return Err(End::Cut),
                Err(end) => return Err(end),
            }
        }
    }

    /// Waits for the client, for the idle timeout at most.
    async fn in_time(&self, ready: impl Future<Output = io::Result<()>>) -> Result<(), End> {
        let limit = self.worker.settings.idle_timeout.unwrap_or(Duration::MAX);
        timeout(limit, ready).await.map_err(|_| End::Idle)?.map_err(failed)
    }

    /// Takes, keeps and echoes what is there. `None` if splice(2) is refused: nothing has moved,
    /// and bytes have to be copied.
    async fn keep_by_pipe(
        &mut self,
        mut pipe: Pipe,
        mut copy: Pipe,
        file: &Arc<Tee>,
    ) -> Result<Option<Taken>, End> {
        let mut urgent = Vec::new();
        let brought = {
            let mut buffer = self.worker.means.buffer.borrow_mut();
            let (room, _) = buffer.split_at_mut(URGENT_BYTES);
            let brought = self.client.try_splice(&pipe.write, room);
            if let Ok(Brought::InMemory(n)) = brought {
                urgent.extend_from_slice(room.get(..n).unwrap_or_default());
            }
            brought
        };
        let taken = match brought {
            Ok(Brought::InPipe(0) | Brought::InMemory(0)) => Some(Taken::End),
            Ok(Brought::InPipe(n)) => {
                pipe.held = n;
                Some(Taken::Bytes)
            }
            Ok(Brought::InMemory(_)) => {
                self.keep_and_return(urgent, file).await?;
                Some(Taken::Bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Taken::Nothing),
            Err(error) if is_refusal(&error) => None,
            Err(error) => return Err(failed(error)),
        };
        while pipe.held > 0 {
            self.is_short = true;
            let n = tee(&pipe.read, &copy.write, pipe.held, SpliceFlags::NONBLOCK);
            copy.held = n.map_err(|errno| failed(errno.into()))?;
            let read = copy.read.try_clone().map_err(failed)?;
            file.keep(read, copy.held).await.map_err(failed)?;
            let mut left = std::mem::take(&mut copy.held);
            while left > 0 {
                self.in_time(poll_fn(|cx| self.client.poll_write_ready(cx))).await?;
                let n = given(self.client.try_give(|fd| {
                    splice(&pipe.read, None, fd, None, left, SpliceFlags::NONBLOCK)
                }))?;
                (left, pipe.held) = (left - n, pipe.held - n);
                self.flow.count(Method::Splice, n, &self.worker.means);
            }
            self.is_short = false;
        }
        for pipe in [pipe, copy] {
            self.worker.means.pool.give_back(pipe);
        }
        Ok(taken)
    }

    /// As [`Echoed::keep_by_pipe`], through memory.
    async fn keep_by_copy(&mut self, file: &Arc<Tee>) -> Result<Taken, End> {
        let mut bytes = vec![0; BUFFER_BYTES];
        let taken = match self.client.try_receive(&mut bytes) {
            Ok(0) => return Ok(Taken::End),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Taken::Nothing),
            Err(error) => return Err(failed(error)),
        };
        bytes.truncate(taken);
        self.keep_and_return(bytes, file).await?;
        Ok(Taken::Bytes)
    }

    async fn keep_and_return(&mut self, bytes: Vec<u8>, file: &Arc<Tee>) -> Result<(), End> {
        self.is_short = true;
        let bytes = file.keep_bytes(bytes).await.map_err(failed)?;
        let mut sent = 0;
        while sent < bytes.len() {
            self.in_time(poll_fn(|cx| self.client.poll_write_ready(cx))).await?;
            let n = given(self.client.try_send(bytes.get(sent..).unwrap_or_default()))?;
            sent += n;
            self.flow.count(Method::Copy, n, &self.worker.means);
        }
        self.is_short = false;
        Ok(())
    }
}

/// How many bytes the client took, none if it has no room now.
fn given(answer: io::Result<usize>) -> Result<usize, End> {
    match answer {
        Ok(0) => Err(End::ClientFailed),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        answer => answer.map_err(failed),
    }
}

fn failed(_: io::Error) -> End {
    End::ClientFailed
}

impl Drop for Echoed {
    fn drop(&mut self) {
        let is_short = self.is_short || self.flow.is_holding();
        let is_well = self.ending.end == End::Closed || self.ending.end == End::Idle && !is_short;
        if !is_well {
            self.client.cut_when_closed();
        }
        if self.worker.is_logging() {
            self.worker.write_line(format_args!(
                "client={} end={} seconds={:.3} echoed={} spliced={} copied={}",
                OrDash(self.peer),
                self.ending.end.name(),
                self.since.elapsed().as_secs_f64(),
                self.flow.delivered(),
                self.flow.spliced(),
                self.flow.copied(),
            ));
        }
    }
}
