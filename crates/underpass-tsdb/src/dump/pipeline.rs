//! Series made into text by several threads, in the order of the series, in bounded memory.
//!
//! A thread takes the next few series under a lock, and a queue for their text with them; the
//! queues are emptied in the order in which they were taken. A thread whose text is not asked for
//! yet waits with two pages, and no more queues are given out than are soon asked for: so a slow
//! reader of the output makes all of them wait.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::page::Page;

/// Nothing takes the text any more: writing failed, or a signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

/// What series are made into. `L` is what is told of a loss.
#[derive(Debug)]
pub(super) enum Piece<'p, L> {
    Text(&'p [u8]),
    Loss(L),
    Done(Count),
}

/// What was done since the last count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) series: u64,
    pub(super) samples: u64,
    /// Samples that the format cannot hold.
    pub(super) left_out: u64,
}

/// Takes pieces, in order.
pub(super) type Deliver<'d, L> = dyn FnMut(Piece<'_, L>) -> Result<(), Stopped> + 'd;

/// Pages that wait in a queue.
const QUEUE_PAGES: usize = 2;

/// Threads, whatever is asked for.
const THREADS_MAX: usize = 256;

/// Queues for each thread, with the one that it fills.
const QUEUES: usize = 2;

/// Chunks of the series that a thread takes at a time: some megabytes of text.
const TURN_CHUNKS: usize = 256;

/// Series that a thread takes at a time.
const TURN_SERIES: usize = 1024;

/// A piece on its way to the one who delivers it.
#[derive(Debug)]
pub(super) enum Message<L> {
    Page(Vec<u8>, usize),
    Loss(L),
    Done(Count),
}

/// Where a thread's text goes.
pub(super) enum Outlet<'d, L> {
    Direct(&'d mut Deliver<'d, L>),
    Queue(SyncSender<Message<L>>, &'d Spare),
}

/// Pages that are to be used again.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, page: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(page);
    }
}

impl<L> Outlet<'_, L> {
    /// Takes a page with `len` bytes of text, and gives one for what follows.
    pub(super) fn page(&mut self, page: Vec<u8>, len: usize) -> Result<Vec<u8>, Stopped> {
        match self {
            Self::Direct(deliver) => deliver(Piece::Text(&page[..len])).map(|()| page),
            Self::Queue(queue, spare) => {
                queue.send(Message::Page(page, len)).map_err(|_| Stopped)?;
                Ok(spare.take())
            }
        }
    }

    pub(super) fn loss(&mut self, loss: L) -> Result<(), Stopped> {
        match self {
            Self::Direct(deliver) => deliver(Piece::Loss(loss)),
            Self::Queue(queue, _) => queue.send(Message::Loss(loss)).map_err(|_| Stopped),
        }
    }

    pub(super) fn done(&mut self, count: Count) -> Result<(), Stopped> {
        match self {
            Self::Direct(deliver) => deliver(Piece::Done(count)),
            Self::Queue(queue, _) => queue.send(Message::Done(count)).map_err(|_| Stopped),
        }
    }
}

/// The series that no thread has taken, and where the queue of those taken next goes. There is no
/// such place once all are taken.
struct Turns<I, L> {
    series: I,
    queues: Option<SyncSender<Receiver<Message<L>>>>,
}

impl<I: Iterator, L> Turns<I, L> {
    fn take(&mut self, chunks: fn(&I::Item) -> usize) -> Option<Turn<I::Item, L>> {
        let queues = self.queues.as_ref()?;
        let (mut series, mut weight) = (Vec::new(), 0);
        while weight < TURN_CHUNKS && series.len() < TURN_SERIES {
            let Some(next) = self.series.next() else { break };
            weight += chunks(&next);
            series.push(next);
        }
        let (queue, messages) = sync_channel(QUEUE_PAGES);
        if series.is_empty() || queues.send(messages).is_err() {
            self.queues = None;
            return None;
        }
        Some(Turn { series, queue })
    }
}

struct Turn<S, L> {
    series: Vec<S>,
    queue: SyncSender<Message<L>>,
}

/// Has each of `series` made into text by a worker, and the pieces delivered in order. `chunks`
/// tells how much work one is.
pub(super) fn in_order<S, L, W>(
    threads: usize,
    series: impl Iterator<Item = S> + Send,
    chunks: fn(&S) -> usize,
    worker: impl Fn() -> W + Sync,
    deliver: &mut Deliver<'_, L>,
) -> Result<(), Stopped>
where
    S: Send,
    L: Send,
    W: FnMut(S, &mut Page<'_, '_, L>) -> Result<(), Stopped>,
{
    let threads = threads.min(THREADS_MAX);
    let (queues, taken) = sync_channel(threads * QUEUES);
    let (turns, spare) = (Mutex::new(Turns { series, queues: Some(queues) }), Spare::default());
    thread::scope(|scope| {
        let mut started = 0;
        while threads > 1 && started < threads {
            let take = || take_turns(&turns, chunks, &mut worker(), &spare);
            // pthread_create(3), EAGAIN: a limit on threads or memory. Those there are do it all.
            if thread::Builder::new().spawn_scoped(scope, take).is_err() {
                break;
            }
            started += 1;
        }
        if started == 0 {
            let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
            let mut outlet = Outlet::Direct(deliver);
            return work(turns.series.by_ref(), &mut worker(), &mut outlet, Vec::new()).map(drop);
        }
        empty(taken, &spare, deliver)
    })
}

fn take_turns<I: Iterator, L>(
    turns: &Mutex<Turns<I, L>>,
    chunks: fn(&I::Item) -> usize,
    worker: &mut impl FnMut(I::Item, &mut Page<'_, '_, L>) -> Result<(), Stopped>,
    spare: &Spare,
) {
    let mut page = Vec::new();
    let take = || turns.lock().unwrap_or_else(PoisonError::into_inner).take(chunks);
    while let Some(Turn { series, queue }) = take() {
        let mut outlet = Outlet::Queue(queue, spare);
        match work(series.into_iter(), worker, &mut outlet, page) {
            Ok(rest) => page = rest,
            Err(Stopped) => return,
        }
    }
}

/// Returns a page for what follows.
fn work<S, L>(
    mut series: impl Iterator<Item = S>,
    worker: &mut impl FnMut(S, &mut Page<'_, '_, L>) -> Result<(), Stopped>,
    outlet: &mut Outlet<'_, L>,
    page: Vec<u8>,
) -> Result<Vec<u8>, Stopped> {
    let mut page = Page::new(page, outlet);
    series.try_for_each(|series| worker(series, &mut page))?;
    page.end()
}

/// Delivers what is in the queues. If that fails, all threads find that their queues are gone.
fn empty<L>(
    taken: Receiver<Receiver<Message<L>>>,
    spare: &Spare,
    deliver: &mut Deliver<'_, L>,
) -> Result<(), Stopped> {
    taken.into_iter().flatten().try_for_each(|message| match message {
        Message::Page(page, len) => {
            let delivered = deliver(Piece::Text(&page[..len]));
            spare.give(page);
            delivered
        }
        Message::Loss(loss) => deliver(Piece::Loss(loss)),
        Message::Done(count) => deliver(Piece::Done(count)),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::page::PAGE_LEN;
    use super::*;

    /// Each series is a number, and its text that number of times a letter.
    fn text_of(series: usize) -> Vec<u8> {
        vec![b'a' + u8::try_from(series % 26).unwrap(); series * 37 % 3_000]
    }

    fn write(series: usize, page: &mut Page<'_, '_, usize>) -> Result<(), Stopped> {
        page.push(&text_of(series))?;
        if series % 100 == 7 {
            page.loss(series)?;
        }
        page.done(Count { series: 1, samples: 2, left_out: 0 })
    }

    #[test]
    fn any_number_of_threads_makes_the_same_text() {
        let expected: Vec<u8> = (0..5_000).flat_map(text_of).collect();
        for threads in [1, 2, 7] {
            let (mut text, mut losses) = (Vec::<u8>::new(), Vec::new());
            let mut done = Count::default();
            let mut deliver = |piece: Piece<'_, usize>| {
                match piece {
                    Piece::Text(piece) => text.extend(piece),
                    Piece::Loss(loss) => losses.push(loss),
                    Piece::Done(count) => {
                        done.series += count.series;
                        done.samples += count.samples;
                    }
                }
                Ok(())
            };
            in_order(threads, 0..5_000, |_| 30, || write, &mut deliver).unwrap();
            assert!(text == expected, "{threads} threads");
            assert_eq!(losses, (0..50).map(|at| at * 100 + 7).collect::<Vec<_>>());
            assert_eq!((done.series, done.samples), (5_000, 10_000));
        }
    }

    /// All threads have a turn before the first of them is allowed to end.
    #[test]
    fn threads_work_at_the_same_time() {
        let together = Barrier::new(3);
        let worker = || {
            let mut is_first = true;
            let together = &together;
            move |series, page: &mut Page<'_, '_, usize>| {
                if std::mem::take(&mut is_first) {
                    together.wait();
                }
                write(series, page)
            }
        };
        in_order(3, 0..5_000, |_| 1, worker, &mut |_| Ok(())).unwrap();
    }

    #[test]
    fn a_writer_that_stops_ends_all_threads_and_takes_no_more_series() {
        for threads in [1, 4] {
            let taken = AtomicUsize::new(0);
            let worker = || {
                |_, page: &mut Page<'_, '_, usize>| {
                    taken.fetch_add(1, Ordering::Relaxed);
                    page.push(&[b'x'; PAGE_LEN / 2])
                }
            };
            let mut pages = 0;
            let mut deliver = |_: Piece<'_, usize>| {
                pages += 1;
                if pages < 10 { Ok(()) } else { Err(Stopped) }
            };
            let ended = in_order(threads, 0.., |_| 1, worker, &mut deliver);
            assert_eq!(ended, Err(Stopped));
            // Ten pages, and for each thread a turn of which two pages wait.
            assert!(taken.load(Ordering::Relaxed) < 100 + threads * QUEUES * 300);
        }
    }

    /// Whether turns are one page or 32: there are pages in the queues given out, and one more
    /// that each thread fills.
    #[test]
    fn what_waits_for_a_slow_writer_is_bounded() {
        let made = AtomicUsize::new(0);
        let worker = || {
            |_, page: &mut Page<'_, '_, usize>| {
                made.fetch_add(1, Ordering::Relaxed);
                page.push(&[b'x'; PAGE_LEN])
            }
        };
        let turns: [fn(&usize) -> usize; 2] = [|_| TURN_CHUNKS, |_| TURN_CHUNKS / 32];
        for (chunks, bound) in turns.into_iter().zip([4 * QUEUES + 4, 4 * (QUEUE_PAGES + 2)]) {
            made.store(0, Ordering::Relaxed);
            let (mut written, mut ahead_max) = (0, 0);
            let mut deliver = |piece: Piece<'_, usize>| {
                if let Piece::Text(text) = piece {
                    thread::yield_now();
                    written += text.len() / PAGE_LEN;
                    ahead_max = ahead_max.max(made.load(Ordering::Relaxed) - written);
                }
                Ok(())
            };
            in_order(4, 0..2_000, chunks, worker, &mut deliver).unwrap();
            assert_eq!(written, 2_000);
            assert!(ahead_max <= bound + 4, "{ahead_max} of {bound}");
        }
    }
}
