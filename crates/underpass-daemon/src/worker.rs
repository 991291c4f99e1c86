//! A worker: one thread, one runtime, its listening sockets, and the connections it accepts.
//!
//! When as many connections are open as may be, the one that has been idle longest is closed, if
//! the service offers that: one of this worker, or else of each other one. Otherwise each worker
//! accepts one more, which waits; the others wait in the kernel's queue, and past that queue in the
//! clients' own retries. To stop, a worker takes what the queue holds, closes its sockets, and lets
//! connections continue until they end or the grace is over.
//!
//! Source: accept(2), "Error handling"; listen(2).

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{spawn_local, unconstrained, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::limits::pause_after;
use crate::listen::BACKLOG;
use crate::listener::{Accepted, Acceptor, Listener};
use crate::log::Lines;
use crate::per_address::{OfClient, PerAddress};
use crate::service::{Admitted, Open, Service};

/// How often the log is written out.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// How often an idle connection is given up while another waits for its place.
const MAKE_ROOM_EVERY: Duration = Duration::from_millis(100);

/// How often a stopping worker looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often in a row nothing must be under way before a stopping worker ends: what the sockets
/// had received before the signal is read by then.
const QUIET_LOOKS: u32 = 2;

/// What a worker is given at its start.
pub(crate) struct Start<M> {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) make: M,
    pub(crate) lines: Lines,
    pub(crate) admission: Arc<Semaphore>,
    pub(crate) per_address: Option<Arc<PerAddress>>,
    /// Asks all workers to give up an idle connection.
    pub(crate) crowded: Arc<Notify>,
    pub(crate) grace: Option<Duration>,
    /// How many signals have asked for the end.
    pub(crate) stop: watch::Receiver<u32>,
}

struct Worker<S> {
    service: Rc<S>,
    admission: Arc<Semaphore>,
    per_address: Option<Arc<PerAddress>>,
    crowded: Arc<Notify>,
    open: Rc<Cell<usize>>,
    /// Of these, the ones that wait for their place.
    waiting: Rc<Cell<usize>>,
    /// Tells when one has got its place.
    placed: Rc<Notify>,
}

/// Serves until a signal, and until connections have ended. Gives how many were cut by a second
/// signal or at the end of the grace.
///
/// # Errors
///
/// If the runtime cannot be made or the sockets cannot be watched.
pub(crate) fn run<S: Service>(start: Start<impl FnOnce(Lines) -> S>) -> io::Result<usize> {
    let Start { listeners, make, lines, admission, per_address, crowded, grace, mut stop } = start;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let mut acceptor = Acceptor::new(listeners)?;
        let is_logging = lines.is_on();
        let (open, waiting, placed) = Default::default();
        let service = Rc::new(make(lines));
        let worker = Worker { service, admission, per_address, crowded, open, waiting, placed };
        let mut flush = interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // An error means that the daemon itself is gone.
                _ = stop.wait_for(|&signals| signals > 0) => break,
                _ = flush.tick(), if is_logging => worker.service.flush(),
                () = worker.crowded.notified() => {
                    worker.service.close_idle();
                }
                accepted = worker.accept(&mut acceptor) => match accepted {
                    Ok(accepted) => worker.start(accepted),
                    Err(error) => if let Some(pause) = pause_after(&error) {
                        worker.service.give_way();
                        worker.service.close_idle();
                        sleep(pause).await;
                    }
                },
            }
        }
        worker.accept_queued(&mut acceptor).await;
        drop(acceptor);
        Ok(worker.drain(grace, stop).await)
    })
}

impl<S: Service> Worker<S> {
    /// Accepts a connection, once those that were accepted before have room.
    async fn accept(&self, acceptor: &mut Acceptor) -> io::Result<(usize, Accepted)> {
        while self.waiting.get() > 0 {
            if timeout(MAKE_ROOM_EVERY, self.placed.notified()).await.is_err() {
                self.make_room();
            }
        }
        poll_fn(|cx| acceptor.poll_accept(cx)).await
    }

    /// Gives up an idle connection, if one waits for its place.
    fn make_room(&self) {
        if self.waiting.get() > 0 && !self.service.close_idle() {
            self.crowded.notify_waiters();
        }
    }

    /// Accepts what the kernel has already: it would be reset with the listener.
    async fn accept_queued(&self, acceptor: &mut Acceptor) {
        // Has tokio ask epoll(7): it does not know yet of what came a moment ago.
        yield_now().await;
        // However many there are: tokio would end the task's turn, and the queue with it.
        let accepting = unconstrained(poll_fn(|cx| {
            for _ in 0..BACKLOG {
                match acceptor.poll_accept(cx) {
                    Poll::Ready(Ok(accepted)) => self.start(accepted),
                    Poll::Ready(Err(error)) if pause_after(&error).is_none() => {}
                    Poll::Ready(Err(_)) | Poll::Pending => break,
                }
            }
            Poll::Ready(())
        }));
        accepting.await;
    }

    /// Starts to serve a connection, as soon as one more may be open. One too many of its client's
    /// is reset.
    fn start(&self, (listener, socket): (usize, Accepted)) {
        let peer = socket.peer().map(|peer| peer.ip());
        let Some(of_client) = OfClient::of(self.per_address.as_ref(), peer) else {
            return socket.reset_when_closed();
        };
        let (service, open) = (Rc::clone(&self.service), Open::new(&self.open));
        match Arc::clone(&self.admission).try_acquire_owned() {
            Ok(permit) => {
                let admitted = Admitted::new(permit, open, listener, of_client);
                first_step(Box::pin(service.serve(socket, admitted)));
            }
            Err(_) => {
                let admission = Arc::clone(&self.admission);
                let (_one, placed) = (Open::new(&self.waiting), Rc::clone(&self.placed));
                let mut waiting = Waiting { socket: Some(socket), placed, _one };
                self.make_room();
                first_step(Box::pin(async move {
                    // Never closed, so there is always a permit in the end.
                    let Ok(permit) = admission.acquire_owned().await else { return };
                    let socket = waiting.socket.take();
                    drop(waiting);
                    if let Some(socket) = socket {
                        let admitted = Admitted::new(permit, open, listener, of_client);
                        service.serve(socket, admitted).await;
                    }
                }));
            }
        }
    }

    /// Waits until nothing is under way, or the grace is over, or there is a second signal.
    async fn drain(&self, grace: Option<Duration>, mut stop: watch::Receiver<u32>) -> usize {
        self.service.stop();
        let end = grace.map(|grace| Instant::now() + grace);
        let mut quiet_looks = 0;
        while self.open.get() > 0 && end.is_none_or(|end| Instant::now() < end) {
            tokio::select! {
                _ = stop.wait_for(|&signals| signals > 1) => break,
                () = sleep(LOOK_EVERY) => {}
            }
            self.service.flush();
            self.make_room();
            quiet_looks = if self.busy() == 0 { quiet_looks + 1 } else { 0 };
            if quiet_looks == QUIET_LOOKS {
                break;
            }
        }
        self.busy()
    }

    fn busy(&self) -> usize {
        self.open.get().saturating_sub(self.service.idle())
    }
}

/// A client that waits for its turn, and is reset if that never comes.
struct Waiting {
    socket: Option<Accepted>,
    placed: Rc<Notify>,
    _one: Open,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.socket.iter().for_each(Accepted::reset_when_closed);
        self.placed.notify_one();
    }
}

/// Makes the first step of a connection at once: a client waits for it, and hardly one for the
/// last steps of the connections that were woken with the listener. What the step waits for, the
/// task asks for once more. A panic ends the connection and nothing else, as in a task.
fn first_step(mut connection: Pin<Box<impl Future<Output = ()> + 'static>>) {
    let mut no_one = Context::from_waker(Waker::noop());
    let step = catch_unwind(AssertUnwindSafe(|| connection.as_mut().poll(&mut no_one)));
    if matches!(step, Ok(Poll::Pending)) {
        spawn_local(connection);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::net::TcpStream;
    use std::num::NonZeroUsize;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::spawn;

    use super::*;
    use crate::listen::listen;
    use crate::log::{OpenLog, Sink};

    /// Never ends a connection, and panics at the first if it is to.
    struct Odd {
        panics: Cell<bool>,
    }

    impl Service for Odd {
        const UNIT: &'static str = "connection";

        async fn serve(self: Rc<Self>, _socket: Accepted, _admitted: Admitted) {
            assert!(!self.panics.take(), "as was asked for");
            std::future::pending::<()>().await;
        }

        fn flush(&self) {}
    }

    /// Ends the connection that is open longest when it is to make room.
    struct Yielding {
        open: RefCell<VecDeque<Rc<Notify>>>,
        served: Sender<()>,
    }

    impl Service for Yielding {
        const UNIT: &'static str = "connection";

        async fn serve(self: Rc<Self>, _socket: Accepted, _admitted: Admitted) {
            let end = Rc::<Notify>::default();
            self.open.borrow_mut().push_back(Rc::clone(&end));
            self.served.send(()).unwrap();
            end.notified().await;
        }

        fn flush(&self) {}

        fn close_idle(&self) -> bool {
            let oldest = self.open.borrow_mut().pop_front();
            oldest.map(|end| end.notify_one()).is_some()
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What a worker says at its end.
    type Said = Receiver<io::Result<usize>>;

    /// A worker with some clients, of which it serves two at a time.
    fn start<S: Service>(
        clients: usize,
        make: impl FnOnce(Lines) -> S + Send + 'static,
    ) -> (watch::Sender<u32>, Vec<TcpStream>, Said) {
        start_at(&vec![0; clients], make)
    }

    /// The same with several listeners: for each client, the one that it connects to.
    fn start_at<S: Service>(
        clients: &[usize],
        make: impl FnOnce(Lines) -> S + Send + 'static,
    ) -> (watch::Sender<u32>, Vec<TcpStream>, Said) {
        let any = || listen("127.0.0.1:0".parse().unwrap(), NonZeroUsize::MIN).unwrap().remove(0);
        let sockets: Vec<_> =
            (0..=clients.iter().copied().max().unwrap_or(0)).map(|_| any()).collect();
        let connect = |nth: usize| TcpStream::connect(sockets[nth].local_addr().unwrap()).unwrap();
        let clients = clients.iter().map(|nth| connect(*nth)).collect();
        let (stop, stopping) = watch::channel(0);
        let start = Start {
            listeners: sockets.into_iter().map(Listener::Tcp).collect(),
            make,
            lines: OpenLog::open(&Sink::Off).unwrap().start(|_| {}).unwrap().lines(),
            admission: Arc::new(Semaphore::new(2)),
            per_address: None,
            crowded: Arc::default(),
            grace: None,
            stop: stopping,
        };
        let (ended, end) = channel();
        spawn(move || ended.send(run(start)));
        (stop, clients, end)
    }

    fn odd(panics: bool) -> impl FnOnce(Lines) -> Odd + Send {
        move |_| Odd { panics: Cell::new(panics) }
    }

    #[test]
    fn two_signals_that_are_seen_at_once_are_two() {
        let (stop, _clients, end) = start(2, odd(false));
        stop.send_replace(2);
        assert_eq!(end.recv_timeout(PATIENCE).unwrap().unwrap(), 2);
    }

    #[test]
    fn a_connection_that_panics_at_its_first_step_ends_alone() {
        let (stop, _clients, end) = start(2, odd(true));
        stop.send_replace(2);
        assert_eq!(end.recv_timeout(PATIENCE).unwrap().unwrap(), 1);
    }

    #[test]
    fn a_connection_gets_the_place_of_an_idle_one_without_a_pause() {
        const CLIENTS: u32 = 150;
        let (served, serving) = channel();
        let begin = Instant::now();
        let make = |_| Yielding { open: RefCell::default(), served };
        let (stop, _clients, end) = start(CLIENTS as usize, make);
        for _ in 0..CLIENTS {
            serving.recv_timeout(PATIENCE).unwrap();
        }
        assert!(begin.elapsed() < CLIENTS * MAKE_ROOM_EVERY / 2, "{:?}", begin.elapsed());
        stop.send_replace(2);
        end.recv_timeout(PATIENCE).unwrap().unwrap();
    }

    /// Says of each connection which listener it came through.
    struct Telling(Sender<usize>);

    impl Service for Telling {
        const UNIT: &'static str = "connection";

        async fn serve(self: Rc<Self>, _socket: Accepted, admitted: Admitted) {
            self.0.send(admitted.listener()).unwrap();
            yield_now().await;
        }

        fn flush(&self) {}
    }

    #[test]
    fn a_connection_knows_its_listener_also_if_it_waited_for_its_place() {
        let (told, telling) = channel();
        let through = [1, 0, 2, 1, 1, 0, 0];
        let (stop, _clients, end) = start_at(&through, move |_| Telling(told));
        let mut seen: Vec<_> =
            through.iter().map(|_| telling.recv_timeout(PATIENCE).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 0, 0, 1, 1, 1, 2]);
        stop.send_replace(2);
        end.recv_timeout(PATIENCE).unwrap().unwrap();
    }
}
