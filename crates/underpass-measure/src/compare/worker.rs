//! A process that carries out one order and says what it cost: the hidden end of `compare`.
//!
//! It dies with the process that started it: the kernel kills it when the thread that forked it
//! ends, and where that came before it asked for it, its channel is at its end. It is killed and
//! does not clean up, so nothing it makes may have a name. The keeper of a control group, which
//! has one, outlives its maker for as long as removing it takes.
//!
//! Source: PR_SET_PDEATHSIG(2const), sched_setaffinity(2).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::Signal;
use underpass::{Error, ErrorKind, Method, Policy, Side, Sink, Source, Stability, Step, Transfer};
use underpass_sys::look::Words;
use underpass_sys::region::{Access, Region};

use super::channel;
use super::group;
use super::order::{Account, Order, Receiving, Reply, Sending};
use crate::affinity::pin;
use crate::methods::facts;
use crate::usage::{Meter, Peak};

/// Carries out the order that comes over `channel`, and returns when the channel ends.
///
/// # Errors
///
/// Those of the channel. What goes wrong with the order is answered over it instead.
pub fn serve(channel: BorrowedFd<'_>) -> io::Result<()> {
    let Some((order, descriptors)) = channel::receive::<Order>(channel)? else { return Ok(()) };
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or(io::ErrorKind::InvalidData);
    let start = Start { channel, go: File::from(next()?) };
    if let Order::Keep(group) = order {
        channel::send(channel, &Reply::Ready, &[])?;
        channel::receive::<Order>(channel)?;
        return group::remove(&group);
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let first = next()?;
    let reply = match order {
        Order::Send(sending) => send(start, &sending, &first, &next()?),
        Order::Receive(receiving) => receive(start, &receiving, first, &File::from(next()?)),
        Order::Read { passes } => read(start, &File::from(first), passes),
        Order::Keep(_) => Err(io::ErrorKind::InvalidData.into()),
    };
    let reply = reply.unwrap_or_else(|error| Reply::Failed(error.to_string()));
    channel::send(channel, &reply, &[])
}

/// Where the word to begin comes from.
struct Start<'c> {
    channel: BorrowedFd<'c>,
    go: File,
}

impl Start<'_> {
    /// Says that everything is ready and waits for the word.
    fn wait(mut self) -> io::Result<()> {
        channel::send(self.channel, &Reply::Ready, &[])?;
        self.go.read_exact(&mut [0])
    }
}

/// Moves the bytes as ordered.
fn send(
    start: Start<'_>,
    sending: &Sending,
    source: &OwnedFd,
    sink: &OwnedFd,
) -> io::Result<Reply> {
    let Ok(method) = sending.method.parse() else {
        return Ok(Reply::Refused(format!("there is no method {}", sending.method)));
    };
    sending.processor.map_or(Ok(()), pin)?;
    start.wait()?;
    let mut account = Account::default();
    if sending.shows_sink {
        // io_uring's operations name no descriptor that a watcher sees; this call does.
        rustix::io::write(sink, &[])?;
    }
    let maps = facts(method).maps;
    let mut memory = Peak::of(source)?;
    let meter = Meter::process()?;
    let (mut at, patient_until) = (0, Instant::now() + MEMORY_WAIT_MAX);
    while at < sending.bytes {
        let len = sending.transfer_bytes.max(1).min(sending.bytes - at);
        let mut transfer = transfer(sending, method, (source, sink), at, len)?;
        // A look takes longer than a small transfer: not all of those are looked at.
        let nth = at / sending.transfer_bytes.max(1);
        let outcome = if sending.looks_at_memory && (nth < 64 || nth.is_multiple_of(64)) {
            step_through(&mut transfer, (source.as_fd(), sink.as_fd()), maps, &mut memory)?
        } else {
            transfer.run().map(|_| ())
        };
        book(&mut account, &transfer);
        if let Err(error) = outcome {
            if is_short_of_memory(&error) && Instant::now() < patient_until {
                std::thread::park_timeout(MEMORY_PAUSE);
                continue;
            }
            return Ok(refusal(&error));
        }
        at += len;
    }
    account.book(&meter)?;
    account.bytes = at;
    account.peak = sending.looks_at_memory.then_some(memory.most);
    Ok(Reply::Done(Box::new(account)))
}

fn transfer<'a>(
    sending: &Sending,
    method: Method,
    (source, sink): (&'a OwnedFd, &'a OwnedFd),
    at: u64,
    len: u64,
) -> io::Result<Transfer<'a>> {
    let source = if sending.from_file {
        Source::file(source, at..at + len)?
    } else {
        Source::stream(source).take(len)
    };
    let sink = if sending.to_file { Sink::file(sink, at) } else { Sink::stream(sink) };
    let transfer = Transfer::new(source, sink).policy(Policy::Only(method));
    // The bare method: the file is this comparison's own, or its user keeps it still.
    Ok(transfer.stability(Stability::None))
}

/// Runs a transfer and looks at the memory in use after each of its calls.
fn step_through(
    transfer: &mut Transfer<'_>,
    (source, sink): (BorrowedFd<'_>, BorrowedFd<'_>),
    maps: bool,
    memory: &mut Peak,
) -> io::Result<Result<(), Error>> {
    loop {
        match transfer.step() {
            Ok(Step::Done) => return Ok(Ok(())),
            Ok(Step::Wait(side)) => {
                let (fd, events) = match side {
                    Side::Source => (source, PollFlags::IN),
                    Side::Sink => (sink, PollFlags::OUT),
                };
                let wait =
                    || rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, events)], None);
                rustix::io::retry_on_intr(wait)?;
            }
            Ok(Step::Moved(n)) => memory.look(if maps { n } else { 0 })?,
            Ok(Step::Buffered(_) | Step::Cold { .. } | _) => memory.look(0)?,
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Adds what one transfer did.
fn book(account: &mut Account, transfer: &Transfer<'_>) {
    let ledger = transfer.ledger();
    account.calls += Method::ALL.iter().map(|&method| ledger.of(method).calls).sum::<u64>();
    account.zero_copy_done += ledger.zero_copy_done();
    account.zero_copy_copied += ledger.zero_copy_copied();
}

/// Whether earlier transfers lent so much that the kernel, or the engine, takes no more until
/// the receiver has read some of it.
fn is_short_of_memory(error: &Error) -> bool {
    let is_full = matches!(error.kind, ErrorKind::Unsupported { errno: Some(Errno::NOBUFS), .. });
    is_full && error.moved == 0
}

/// How long a run waits in all for memory to be given back, and before it asks again.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(5);
const MEMORY_PAUSE: Duration = Duration::from_millis(1);

fn refusal(error: &Error) -> Reply {
    // What there is no room for here says nothing against the other rows.
    let is_refused = matches!(
        error.kind,
        ErrorKind::Unsupported { .. } | ErrorKind::Io(Errno::NOSPC | Errno::DQUOT)
    );
    (if is_refused { Reply::Refused } else { Reply::Failed })(error.to_string())
}

/// Reads the stream to its end.
fn receive(
    start: Start<'_>,
    receiving: &Receiving,
    stream: OwnedFd,
    file: &File,
) -> io::Result<Reply> {
    receiving.processor.map_or(Ok(()), pin)?;
    let stream = File::from(stream);
    let read = |buffer: &mut [u8]| match receiving.discards {
        false => (&stream).read(buffer),
        // tcp(7): "MSG_TRUNC ... causes the received bytes of data to be discarded".
        true => Ok(rustix::net::recv(&stream, buffer, RecvFlags::TRUNC)?.1),
    };
    let mut buffer = vec![0; receiving.call_bytes.max(1)];
    let mut expected = vec![0; if receiving.compares { buffer.len() } else { 0 }];
    start.wait()?;
    let mut account = Account::default();
    let meter = Meter::process()?;
    loop {
        let n = match read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            answer => answer?,
        };
        if receiving.compares && account.differs_at.is_none() {
            file.read_exact_at(&mut expected[..n], account.bytes)?;
            let differs = first_difference(&buffer[..n], &expected[..n]);
            account.differs_at = differs.map(|index| account.bytes + index as u64);
        }
        account.bytes += n as u64;
    }
    account.book(&meter)?;
    Ok(Reply::Done(Box::new(account)))
}

/// Looks at every word of a file through a mapping.
fn read(start: Start<'_>, file: &File, passes: u32) -> io::Result<Reply> {
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    start.wait()?;
    let mut account = Account::default();
    let region = Region::map(file.try_clone()?.into(), 0, len, Access::Read, Box::new(()))?;
    for _ in 0..passes {
        let meter = Meter::thread()?;
        let words = Words::of_region(&region, 0..len / 8 * 8).into_iter().flatten();
        std::hint::black_box(words.fold(0, u64::wrapping_add));
        account.passes.push(meter.used()?);
    }
    Ok(Reply::Done(Box::new(account)))
}

/// Where two slices of one length first differ.
pub(super) fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    // Comparing whole slices is a memcmp, and they are all but always the same.
    if one == other {
        return None;
    }
    one.iter().zip(other).position(|(a, b)| a != b)
}
