//! The echo server: what a client sends comes back to it, by splice.
//!
//! It is a relay whose target is the client. A client that sends and does not read is stopped
//! by its own unread bytes.
//!
//! Source: RFC 862; splice(2).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustix::pipe::{SpliceFlags, splice, tee};
use tokio::time::{Instant, sleep};
use underpass::{Method, Side};
use underpass_daemon::log::Sink;

use crate::connection::{End, OrDash};
use crate::endpoint::Endpoint;
use crate::flow::Flow;
use crate::pipe::{CAPACITY, Pipe};
use crate::server::{BindError, Relay, RunError};
use crate::socket::Socket;
use crate::tally::Direction;
use crate::tee::Tee;
use crate::worker::Worker;

/// How long a connection waits where all pipes are in use.
const OUT_OF_PIPES: Duration = Duration::from_millis(5);

/// What to echo, and where.
#[derive(Debug)]
pub struct EchoOptions {
    /// Where to listen; port 0 takes any free one.
    pub listen: Endpoint,
    /// Threads, each with its own listening socket.
    pub workers: NonZeroUsize,
    /// A file that is made, or emptied, to keep what comes.
    pub tee: Option<PathBuf>,
    /// How long a connection may move nothing; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// How long connections may go on after SIGTERM; `None` for ever.
    pub grace: Option<Duration>,
    /// The most connections open at a time; those past it wait. `None`: what descriptors allow.
    pub connections_max: Option<NonZeroUsize>,
    /// Where metrics are to be had.
    pub metrics: Option<SocketAddr>,
    /// Where a line a connection goes.
    pub log: Sink,
}

/// An echo server that is bound to its address and serves nobody yet.
#[derive(Debug)]
pub struct Echo {
    relay: Relay,
    tee: Option<Arc<Tee>>,
}

impl Echo {
    /// Binds a socket for each worker.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(options: EchoOptions) -> Result<Self, BindError> {
        let tee = options.tee.as_ref().map(|path| {
            let made = Tee::create(path);
            made.map_err(|source| BindError::Tee { path: path.clone(), source })
        });
        let tee = tee.transpose()?.map(Arc::new);
        let relay = Relay::of_echo(options, tee.clone())?;
        Ok(Self { relay, tee })
    }

    /// Where it listens, the port resolved.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        self.relay.endpoint()
    }

    /// Where its metrics are, the port resolved.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.relay.metrics_address()
    }

    /// Echoes until SIGTERM or SIGINT, then lets connections end, for the grace at most.
    ///
    /// # Errors
    ///
    /// [`RunError`]; among them that the file did not take everything.
    pub fn run(self) -> Result<(), RunError> {
        self.relay.run()?;
        match self.tee.and_then(|tee| tee.failure()) {
            Some(error) => Err(RunError::Tee(error)),
            None => Ok(()),
        }
    }
}

/// Echoes to a client until the connection ends.
pub(crate) async fn echo(
    client: Socket,
    peer: Option<SocketAddr>,
    tee: Option<Arc<Tee>>,
    worker: Rc<Worker>,
) {
    worker.count_accepted();
    let mut echo = Echoed {
        client,
        worker,
        peer,
        since: Instant::now(),
        flow: Flow::new(Direction::Up),
        end: End::Cut,
    };
    echo.end = match tee {
        None => echo.move_bytes().await,
        Some(tee) => match echo.move_and_keep(&tee).await {
            Ok(end) => end,
            // The file, and not the client, took no more.
            Err(_) if tee.failure().is_some() => End::Cut,
            Err(_) => End::ClientFailed,
        },
    };
}

/// A connection and its account.
struct Echoed {
    client: Socket,
    worker: Rc<Worker>,
    peer: Option<SocketAddr>,
    since: Instant,
    flow: Flow,
    end: End,
}

impl Echoed {
    async fn move_bytes(&mut self) -> End {
        let limit = self.worker.settings.idle_timeout;
        let mut alarm = std::pin::pin!(sleep(limit.unwrap_or(Duration::MAX)));
        let Self { client, worker, flow, .. } = self;
        let mut active = Instant::now();
        poll_fn(|cx| {
            let moved = flow.moved();
            match flow.poll(cx, client, client, &worker.means, true) {
                Poll::Ready(Ok(())) => return Poll::Ready(End::Closed),
                Poll::Ready(Err(Side::Source | Side::Sink)) => {
                    return Poll::Ready(End::ClientFailed);
                }
                Poll::Pending => {}
            }
            let Some(limit) = limit else { return Poll::Pending };
            if flow.moved() != moved {
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
    async fn move_and_keep(&mut self, tee: &Arc<Tee>) -> io::Result<End> {
        let limit = self.worker.settings.idle_timeout.unwrap_or(Duration::MAX);
        loop {
            let readable = poll_fn(|cx| self.client.poll_read_ready(cx));
            let Ok(readable) = tokio::time::timeout(limit, readable).await else {
                return Ok(End::Idle);
            };
            readable?;
            let [Some(mut pipe), Some(copy)] = [(); 2].map(|()| self.worker.means.pool.take())
            else {
                sleep(OUT_OF_PIPES).await;
                continue;
            };
            let filled = self.client.try_take(|fd| {
                splice(fd, None, &pipe.write, None, CAPACITY, SpliceFlags::NONBLOCK)
            });
            match filled {
                Ok(0) => {
                    self.client.end_sending()?;
                    return Ok(End::Closed);
                }
                Ok(n) => {
                    pipe.held = n;
                    self.keep_and_return(&mut pipe, copy, tee).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.worker.means.pool.give_back(copy);
                }
                Err(error) => return Err(error),
            }
            self.worker.means.pool.give_back(pipe);
        }
    }

    async fn keep_and_return(
        &mut self,
        pipe: &mut Pipe,
        mut copy: Pipe,
        file: &Arc<Tee>,
    ) -> io::Result<()> {
        while pipe.held > 0 {
            let n = tee(&pipe.read, &copy.write, pipe.held, SpliceFlags::NONBLOCK)?;
            copy.held = n;
            let read = copy.read.try_clone()?;
            file.keep(read, n).await?;
            copy.held = 0;
            let mut left = n;
            while left > 0 {
                poll_fn(|cx| self.client.poll_write_ready(cx)).await?;
                let given = self
                    .client
                    .try_give(|fd| splice(&pipe.read, None, fd, None, left, SpliceFlags::NONBLOCK));
                match given {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(n) => {
                        (left, pipe.held) = (left - n, pipe.held - n);
                        self.flow.count(Method::Splice, n, &self.worker.means);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.worker.means.pool.give_back(copy);
        Ok(())
    }
}

impl Drop for Echoed {
    fn drop(&mut self) {
        let is_well = self.end == End::Closed || self.end == End::Idle && !self.flow.is_holding();
        if !is_well {
            self.client.cut_when_closed();
        }
        self.worker.count_end(self.end);
        if self.worker.is_logging() {
            self.worker.write_line(format_args!(
                "client={} end={} seconds={:.3} echoed={} spliced={} copied={}",
                OrDash(self.peer),
                self.end.name(),
                self.since.elapsed().as_secs_f64(),
                self.flow.delivered(),
                self.flow.spliced(),
                self.flow.copied(),
            ));
        }
    }
}
