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

use rustix::io::Errno;
use tokio::time::{Instant, sleep, timeout};
use underpass::{Flow, Method, Pipe, Side};

use crate::end::{End, Ending, OrDash};
use crate::socket::Socket;
use crate::tally::{self, Direction};
use crate::tee::Tee;
use crate::worker::Worker;

/// Bytes copied at a time where there is no pipe.
const BUFFER_BYTES: usize = 64 << 10;

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
        flow: Flow::new(),
        kept: [0; 2],
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
    /// Bytes echoed that are kept too, by splice and by copy.
    kept: [u64; 2],
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
            let before = tally::moved(flow);
            let polled = flow.poll_delivered(cx, client.readiness(), client.readiness());
            worker.tally.add_since(before, Direction::Up, flow);
            match polled {
                Poll::Ready(Ok(())) => return Poll::Ready(End::Closed),
                Poll::Ready(Err(_)) => return Poll::Ready(End::ClientFailed),
                Poll::Pending => {}
            }
            let Some(limit) = limit else { return Poll::Pending };
            if tally::moved(flow) != before {
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
            self.until_ready(Side::Source).await?;
            let mut taken = match (Pipe::take(), Pipe::take()) {
                (Some(pipe), Some(copy)) => self.keep_by_pipe(pipe, copy, tee).await,
                (Some(_), None) | (None, _) => Ok(Taken::Refused),
            };
            if matches!(taken, Ok(Taken::Refused)) {
                taken = self.keep_by_copy(tee).await;
            }
            match taken {
                Ok(Taken::End) => {
                    self.client.end_sending().map_err(failed)?;
                    return Ok(End::Closed);
                }
                Ok(Taken::Bytes | Taken::Nothing | Taken::Refused) => {}
                // The file, and not the client, took no more.
                Err(End::ClientFailed) if tee.failure().is_some() => return Err(End::Cut),
                Err(end) => return Err(end),
            }
        }
    }

    /// Waits for the client, for the idle timeout at most.
    async fn until_ready(&self, side: Side) -> Result<(), End> {
        let limit = self.worker.settings.idle_timeout.unwrap_or(Duration::MAX);
        let ready = poll_fn(|cx| self.client.readiness().poll_ready(side, cx));
        timeout(limit, ready).await.map_err(|_| End::Idle)?.map_err(failed)
    }

    /// Takes, keeps and echoes what is there, unless splice(2) is refused.
    async fn keep_by_pipe(
        &mut self,
        mut pipe: Pipe,
        mut copy: Pipe,
        file: &Arc<Tee>,
    ) -> Result<Taken, End> {
        match pipe.try_fill(self.client.readiness()) {
            Ok(0) => return Ok(Taken::End),
            Ok(_) => {}
            Err(Errno::AGAIN) => return Ok(Taken::Nothing),
            Err(errno) if Pipe::is_refusal(errno) => return Ok(Taken::Refused),
            Err(errno) => return Err(failed(errno.into())),
        }
        while pipe.held() > 0 {
            self.is_short = true;
            let mut left = pipe.tee(&mut copy).map_err(|errno| failed(errno.into()))?;
            copy = file.keep(copy).await.map_err(failed)?;
            while left > 0 {
                self.until_ready(Side::Sink).await?;
                let n = given(pipe.try_drain(self.client.readiness(), left).map_err(Into::into))?;
                left -= n;
                self.count(Method::Splice, n);
            }
            self.is_short = false;
        }
        Ok(Taken::Bytes)
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
        self.is_short = true;
        let bytes = file.keep_bytes(bytes).await.map_err(failed)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            self.until_ready(Side::Sink).await?;
            let n = given(self.client.try_write(rest).map(|n| n as u64))?;
            rest = rest.get(usize::try_from(n).unwrap_or(usize::MAX)..).unwrap_or_default();
            self.count(Method::Copy, n);
        }
        self.is_short = false;
        Ok(Taken::Bytes)
    }

    fn count(&mut self, method: Method, n: u64) {
        self.worker.tally.add(Direction::Up, method, n);
        self.kept[usize::from(method == Method::Copy)] += n;
    }

    fn echoed(&self, method: Method) -> u64 {
        self.flow.moved_by(method) + self.kept[usize::from(method == Method::Copy)]
    }
}

/// What a try to take something from the client came to.
enum Taken {
    Bytes,
    End,
    /// Nothing is there now.
    Nothing,
    /// There is no pipe, or no splice(2); nothing was taken.
    Refused,
}

/// How many bytes the client took, none if it has no room now.
fn given(answer: io::Result<u64>) -> Result<u64, End> {
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
                self.echoed(Method::Splice) + self.echoed(Method::Copy),
                self.echoed(Method::Splice),
                self.echoed(Method::Copy),
            ));
        }
    }
}
