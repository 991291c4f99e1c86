//! From a new connection to a secured one, within bounds.
//!
//! A client has 10 s from its connection to the end of the handshake. When more handshakes are
//! under way than there may be, the oldest is given up: a client that is alive takes a few round
//! trips, and those who send nothing make room for it.
//!
//! Source: RFC 8446 §4, §5.1.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use tokio::time::timeout;
use underpass::tls::TlsStream;

use crate::closing::close_in_stages;
use crate::connection::{Idle, Shared};
use crate::conversation::refuse;
use crate::metrics::Shaken;
use crate::progress::Progress;
use crate::tls::Tls;
use crate::transport::Transport;

/// How long a client may take to have shaken hands.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Handshakes of a worker at a time. Each needs some 20 KiB.
const AT_ONCE_MAX: usize = 1024;

/// As much of a request in the clear as the log has of what is not a request.
const LOOK_BYTES: usize = 256;

/// The handshakes that are under way on a worker, in the order in which they began.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    begun: RefCell<BTreeMap<u64, Waker>>,
    /// Begun so far.
    count: Cell<u64>,
}

impl Handshakes {
    pub(crate) fn len(&self) -> usize {
        self.begun.borrow().len()
    }

    /// Gives up all that are under way.
    pub(crate) fn give_up_all(&self) {
        let all = self.begun.take();
        all.into_values().for_each(Waker::wake);
    }

    fn give_up_oldest(&self) {
        let oldest = self.begun.borrow_mut().pop_first();
        oldest.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// `shaking` to its end; nothing, if it takes too long or is given up for others.
    pub(crate) async fn within_bounds<T>(&self, shaking: impl Future<Output = T>) -> Option<T> {
        let place = Place { handshakes: self, ticket: self.count.get() };
        self.count.set(place.ticket + 1);
        self.begun.borrow_mut().insert(place.ticket, Waker::noop().clone());
        if self.len() > AT_ONCE_MAX {
            self.give_up_oldest();
        }
        let mut shaking = pin!(timeout(TIME_MAX, shaking));
        poll_fn(|cx| {
            if !place.keep(cx.waker()) {
                return Poll::Ready(None);
            }
            shaking.as_mut().poll(cx).map(Result::ok)
        })
        .await
    }
}

/// A handshake's place among those that are under way, which it leaves when dropped.
struct Place<'h> {
    handshakes: &'h Handshakes,
    ticket: u64,
}

impl Place<'_> {
    /// Whether it still has its place.
    fn keep(&self, waker: &Waker) -> bool {
        let mut all = self.handshakes.begun.borrow_mut();
        all.get_mut(&self.ticket).map(|kept| kept.clone_from(waker)).is_some()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.handshakes.begun.borrow_mut().remove(&self.ticket);
    }
}

/// What a client began with.
enum Begun {
    Secured(Box<TlsStream>, SocketAddr),
    /// HTTP in the clear.
    InTheClear(Transport),
}

/// Shakes hands with the client of a new connection. Nothing, if the connection is over.
pub(crate) async fn secure(idle: Idle, tls: Tls, shared: &Rc<Shared>) -> Option<Idle> {
    let Idle { transport, unread, https_port } = idle;
    let shaken = |how| shared.site.counts.count_handshake(how);
    match shared.handshakes.within_bounds(shake(transport, tls)).await {
        Some(Ok(Begun::Secured(stream, peer))) => {
            shaken(if stream.is_in_kernel() { Shaken::ByKernel } else { Shaken::ByRustls });
            return Some(Idle { transport: Transport::Tls(stream, peer), unread, https_port });
        }
        Some(Ok(Begun::InTheClear(transport))) => {
            shaken(Shaken::InTheClear);
            refuse_unread(transport, CLEAR, shared).await;
        }
        Some(Err(error)) => {
            shaken(Shaken::Failed);
            tracing::debug!("no handshake: {error}");
        }
        None => shaken(Shaken::GivenUp),
    }
    None
}

async fn shake(transport: Transport, tls: Tls) -> io::Result<Begun> {
    let (socket, peer) = transport.into_tcp()?;
    // A method of HTTP begins with a letter. At the end there is nothing, as the handshake finds.
    let mut first = [0];
    if socket.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
        return Ok(Begun::InTheClear(Transport::of_tcp(socket, peer)));
    }
    let stream = TlsStream::accept(tls.config, socket).await?;
    Ok(Begun::Secured(Box::new(stream), peer))
}

/// Answers a client that does not begin as it should, with this text.
pub(crate) async fn refuse_unread(mut transport: Transport, text: &'static str, shared: &Shared) {
    let mut request = [0; LOOK_BYTES];
    let n = transport.peek(&mut request);
    let progress = Progress::new(Rc::clone(&shared.site), transport.peer());
    progress.note_head(&request[..n]);
    refuse(&transport, StatusCode::BAD_REQUEST, Some(text), &progress);
    close_in_stages(&mut transport, shared.limits.send_time, || {}).await;
}

const CLEAR: &str = "400 Bad Request\nThis port speaks HTTPS, and the request came in the clear.\n";

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::{JoinHandle, spawn_local, yield_now};
    use tokio::time::Instant;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap()
            .block_on(test);
    }

    /// One whose client says nothing.
    fn mute(handshakes: &Rc<Handshakes>) -> JoinHandle<Option<()>> {
        let handshakes = Rc::clone(handshakes);
        spawn_local(async move { handshakes.within_bounds(pending()).await })
    }

    #[test]
    fn a_client_has_ten_seconds() {
        run(async {
            let (handshakes, begin) = (Rc::<Handshakes>::default(), Instant::now());
            assert_eq!(handshakes.within_bounds(async { 7 }).await, Some(7));
            assert_eq!(mute(&handshakes).await.unwrap(), None);
            assert_eq!((begin.elapsed(), handshakes.len()), (TIME_MAX, 0));
        });
    }

    #[test]
    fn one_more_than_there_may_be_costs_the_oldest_its_place() {
        run(async {
            let (handshakes, begin) = (Rc::<Handshakes>::default(), Instant::now());
            let mut all: Vec<_> = (0..AT_ONCE_MAX).map(|_| mute(&handshakes)).collect();
            while handshakes.len() < AT_ONCE_MAX {
                yield_now().await;
            }
            assert!(!all[0].is_finished());
            all.push(mute(&handshakes));
            assert_eq!(all.remove(0).await.unwrap(), None);
            assert_eq!((begin.elapsed(), handshakes.len()), (Duration::ZERO, AT_ONCE_MAX));
            assert!(all.iter().all(|one| !one.is_finished()));
            handshakes.give_up_all();
            for one in all {
                assert_eq!(one.await.unwrap(), None);
            }
            assert_eq!((begin.elapsed(), handshakes.len()), (Duration::ZERO, 0));
        });
    }
}
