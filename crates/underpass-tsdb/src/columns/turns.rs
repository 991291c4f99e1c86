//! Series in turns of about a row group each, which several threads encode and one writes in order.
//!
//! A thread takes the next turn under a lock, and with it a queue for what it makes of it; the
//! queues are emptied in the order in which they were taken. A thread whose queue is full waits,
//! and few more queues are given out than there are threads, so memory is bounded by the number of
//! threads and not by the length of a series.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::query::{Loss, MergedSeries, Reader, Selection, Series};

use super::ColumnsError;
use super::run::{Deliver, Encoders, Piece, Run};

/// Chunks of a turn. Prometheus cuts them at 120 samples, so they make a row group of 250,000.
const TURN_CHUNKS: usize = 2048;

/// Pieces that wait in a queue: few of them are large.
const QUEUE_PIECES: usize = 4;

/// Some series in a row.
#[derive(Debug)]
struct Turn {
    /// The number of the first in the tables.
    first: u32,
    series: Vec<Series>,
    /// What could not be read on the way to them.
    losses: Vec<Loss>,
}

/// More than any machine's processors make sense for.
const THREADS_MAX: usize = 256;

/// The series that are left, and the number of the next.
struct Turns<'s> {
    series: MergedSeries<'s>,
    next: u32,
}

type Message = Result<Piece, ColumnsError>;

/// Encodes each series of a selection and delivers the pieces, in order.
pub(super) fn each(
    selection: &Selection<'_>,
    threads: usize,
    encoders: &Encoders,
    deliver: &mut Deliver<'_>,
) -> Result<(), ColumnsError> {
    let mut turns = Turns { series: selection.series(), next: 0 };
    if threads > 1 {
        return by_threads(turns, selection, threads, encoders, deliver);
    }
    let (mut run, mut reader) = (Run::new(encoders), selection.reader());
    while let Some(turn) = turns.take() {
        turn.encode(&mut run, &mut reader, deliver)?;
    }
    Ok(())
}

fn by_threads(
    turns: Turns<'_>,
    selection: &Selection<'_>,
    threads: usize,
    encoders: &Encoders,
    deliver: &mut Deliver<'_>,
) -> Result<(), ColumnsError> {
    let (queues, taken) = sync_channel(threads);
    let shared = Mutex::new(Shared { turns, queues: Some(queues) });
    thread::scope(|scope| {
        let work = || {
            let (mut run, mut reader) = (Run::new(encoders), selection.reader());
            while let Some((turn, queue)) = lock(&shared).take() {
                if !turn.encode_into(&queue, &mut run, &mut reader) {
                    break;
                }
            }
        };
        // pthread_create(3), EAGAIN: a limit on threads or memory. Those there are do it all.
        let spawn = |_: &usize| thread::Builder::new().spawn_scoped(scope, work).is_ok();
        if (0..threads.min(THREADS_MAX)).take_while(spawn).count() == 0 {
            let (mut run, mut reader) = (Run::new(encoders), selection.reader());
            while let Some(turn) = lock(&shared).turns.take() {
                turn.encode(&mut run, &mut reader, deliver)?;
            }
            return Ok(());
        }
        // On an error the queues are dropped here, and the threads end.
        taken.into_iter().flatten().try_for_each(|piece: Message| deliver(piece?))
    })
}

fn lock<'l, 's>(shared: &'l Mutex<Shared<'s>>) -> MutexGuard<'l, Shared<'s>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What threads take turns from, and where the queue of each turn goes. There is no such place once
/// all turns are taken.
struct Shared<'s> {
    turns: Turns<'s>,
    queues: Option<SyncSender<Receiver<Message>>>,
}

impl Shared<'_> {
    fn take(&mut self) -> Option<(Turn, SyncSender<Message>)> {
        let queues = self.queues.as_ref()?;
        let (queue, messages) = sync_channel(QUEUE_PIECES);
        let turn = self.turns.take().filter(|_| queues.send(messages).is_ok());
        if turn.is_none() {
            self.queues = None;
        }
        turn.map(|turn| (turn, queue))
    }
}

impl Turns<'_> {
    fn take(&mut self) -> Option<Turn> {
        let (first, mut series, mut chunks) = (self.next, Vec::new(), 0);
        while chunks < TURN_CHUNKS {
            let Some(next) = self.series.next() else { break };
            chunks += next.parts.iter().map(|part| part.chunks.len()).sum::<usize>();
            self.next += 1;
            series.push(next);
        }
        let losses = self.series.take_losses();
        let is_empty = series.is_empty() && losses.is_empty();
        (!is_empty).then_some(Turn { first, series, losses })
    }
}

impl Turn {
    fn encode(
        self,
        run: &mut Run,
        reader: &mut Reader<'_>,
        deliver: &mut Deliver<'_>,
    ) -> Result<(), ColumnsError> {
        self.losses.into_iter().map(Piece::Loss).try_for_each(&mut *deliver)?;
        for (number, series) in (self.first..).zip(self.series) {
            run.add(number, series, reader, deliver)?;
        }
        run.finish(deliver)
    }

    /// Returns whether to continue: not after an error, nor where nothing empties the queue.
    fn encode_into(
        self,
        queue: &SyncSender<Message>,
        run: &mut Run,
        reader: &mut Reader<'_>,
    ) -> bool {
        let mut deliver = |piece| queue.send(Ok(piece)).map_err(|_| ColumnsError::Stopped);
        match self.encode(run, reader, &mut deliver) {
            Ok(()) => true,
            Err(ColumnsError::Stopped) => false,
            Err(error) => queue.send(Err(error)).is_ok_and(|()| false),
        }
    }
}
