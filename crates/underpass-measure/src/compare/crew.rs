//! One run: the processes that move and receive the bytes, started, paired and heard out.
//!
//! Every run has its own processes, so that what they used is what the run cost. The sender
//! has one processor and everybody else another, as far as there are two.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use underpass::Method;

use super::besides;
use super::network::Network;
use super::order::{Account, Order, Receiving, Sending};
use super::plan::Case;
use super::process::{Program, RunError, Worker};
use super::report::{Link, Pair};
use super::specimen::Specimen;
use super::worker::first_difference;
use crate::cache;

/// What all runs have in common.
#[derive(Debug)]
pub(super) struct Setting<'s> {
    pub(super) program: &'s Program,
    pub(super) specimen: &'s Specimen,
    /// By link; the loopback device is always there.
    pub(super) networks: &'s BTreeMap<Link, Network>,
    /// Of TCP sockets; the machine's own if there is none.
    pub(super) congestion_control: Option<&'s str>,
    pub(super) sender_processor: Option<usize>,
    pub(super) receiver_processor: Option<usize>,
    pub(super) receiver_call_bytes: usize,
}

/// What a run is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The bytes are compared and memory is looked at, both of which take time.
    Check,
    /// The clock.
    Time,
    /// The probe.
    Watch,
}

/// What one run gave.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) sender: Account,
    /// `None` for a file, which has no receiver.
    pub(super) receiver: Option<Account>,
    pub(super) sender_process: u32,
    pub(super) receiver_process: Option<u32>,
    /// The inode of the file or socket the bytes came from.
    pub(super) source_inode: u64,
    /// The inode of the socket or pipe at the sender, or of the file.
    pub(super) sink_inode: u64,
    /// Bytes of the file written to whose extents it shares; `None` if it is not a file, or if its
    /// file system does not tell.
    pub(super) shared_bytes: Option<u64>,
    /// Ticks of all processors in software interrupts while it ran, if the kernel counts them.
    pub(super) softirq_ticks: Option<u64>,
}

/// The descriptors of a run: what the sender reads and writes, and what else there is.
struct Joint {
    source: Option<OwnedFd>,
    sink: OwnedFd,
    /// Read by the receiver.
    far: Option<OwnedFd>,
    /// Written by the process that feeds the source.
    feed: Option<OwnedFd>,
}

impl Setting<'_> {
    /// Runs a case; `watch` is told the sender's process and the others' before they begin.
    pub(super) fn run(
        &self,
        case: &Case,
        purpose: Purpose,
        mut watch: impl FnMut(u32) -> io::Result<()>,
    ) -> Result<Run, RunError> {
        let joint = self.join(case)?;
        let sink = File::from(joint.sink.try_clone()?);
        let file = self.specimen.file.as_fd();
        let source = joint.source.as_ref().map_or(file, |source| source.as_fd());
        let order = Order::Send(self.sending(case, purpose));
        let sender = Worker::start(self.program, &order, &[source, sink.as_fd()])?;
        let receiver =
            joint.far.as_ref().map(|far| self.receiver(case, purpose, far)).transpose()?;
        let feeder = joint.feed.as_ref().map(|feed| self.feeder(case, feed)).transpose()?;
        let source_inode = rustix::fs::fstat(source).map_err(io::Error::from)?.st_ino;
        let sink_inode = sink.metadata()?.ino();
        // What a process here holds open never ends for those who read it.
        let sink = joint.far.is_none().then_some(sink);
        drop(joint);
        let crew = [Some(&sender), receiver.as_ref(), feeder.as_ref()];
        for worker in crew.into_iter().flatten() {
            worker.is_ready()?;
            watch(worker.process())?;
        }
        let ticks_before = softirq_ticks();
        for worker in crew.into_iter().flatten().rev() {
            worker.go()?;
        }
        let (sender_process, receiver_process) =
            (sender.process(), receiver.as_ref().map(Worker::process));
        let account = sender.account()?;
        let received = receiver.map(Worker::account).transpose()?;
        let softirq_ticks = softirq_ticks().zip(ticks_before).map(|(now, then)| now - then);
        let moved = received.as_ref().map_or(account.bytes, |received| received.bytes);
        let differs_at = match (&received, &sink) {
            (None, Some(sink)) if purpose == Purpose::Check => {
                difference(&self.specimen.file, sink, case.bytes)?
            }
            _ => received.as_ref().and_then(|received| received.differs_at),
        };
        let wrong = match differs_at {
            _ if moved != case.bytes => Some(format!("{moved} of {} bytes arrived", case.bytes)),
            at => at.map(|at| format!("what arrived differs from the file at byte {at}")),
        };
        if let Some(why) = wrong {
            return Err(io::Error::new(io::ErrorKind::InvalidData, why).into());
        }
        let shared_bytes = sink.as_ref().and_then(shared_bytes);
        Ok(Run {
            sender: account,
            receiver: received,
            sender_process,
            receiver_process,
            source_inode,
            sink_inode,
            shared_bytes,
            softirq_ticks,
        })
    }

    /// Makes what the bytes go through.
    fn join(&self, case: &Case) -> Result<Joint, RunError> {
        let (sink, far) = match case.pair {
            Pair::FileToTcp | Pair::SocketToSocket => {
                self.network(case.link)?.connect(self.congestion_control)?
            }
            Pair::FileToUnix => UnixStream::pair().map(|(sink, far)| (sink.into(), far.into()))?,
            Pair::FileToPipe => io::pipe().map(|(far, sink)| (sink.into(), far.into()))?,
            Pair::FileToFile => {
                let sibling = self.specimen.sibling();
                let sink = sibling.map_err(|error| RunError::Refused(error.to_string()))?.into();
                return Ok(Joint { source: None, sink, far: None, feed: None });
            }
        };
        let mut joint = Joint { source: None, sink, far: Some(far), feed: None };
        if case.pair == Pair::SocketToSocket {
            let loopback = self.network(Some(Link::Loopback))?;
            let (feed, source) = loopback.connect(self.congestion_control)?;
            (joint.feed, joint.source) = (Some(feed), Some(source));
        }
        Ok(joint)
    }

    fn network(&self, link: Option<Link>) -> io::Result<&Network> {
        let network = link.and_then(|link| self.networks.get(&link));
        network.ok_or_else(|| io::Error::other("there is no such network"))
    }

    fn sending(&self, case: &Case, purpose: Purpose) -> Sending {
        Sending {
            method: case.method.name().into(),
            from_file: case.pair != Pair::SocketToSocket,
            to_file: case.pair == Pair::FileToFile,
            bytes: case.bytes,
            transfer_bytes: case.transfer_bytes,
            processor: self.sender_processor,
            shows_sink: purpose == Purpose::Watch,
            looks_at_memory: purpose == Purpose::Check,
        }
    }

    fn receiver(&self, case: &Case, purpose: Purpose, far: &OwnedFd) -> io::Result<Worker> {
        let order = Order::Receive(Receiving {
            call_bytes: self.receiver_call_bytes,
            processor: self.receiver_processor,
            discards: case.discards,
            compares: purpose == Purpose::Check && !case.discards,
        });
        Worker::start(self.program, &order, &[far.as_fd(), self.specimen.file.as_fd()])
    }

    /// Starts the process that sends the file to the source of a run from socket to socket.
    fn feeder(&self, case: &Case, feed: &OwnedFd) -> io::Result<Worker> {
        let (pair, method) = (Pair::FileToTcp, Method::Sendfile);
        let case = Case { pair, method, transfer_bytes: case.bytes, ..*case };
        let processor = self.receiver_processor;
        let order = Order::Send(Sending { processor, ..self.sending(&case, Purpose::Time) });
        Worker::start(self.program, &order, &[self.specimen.file.as_fd(), feed.as_fd()])
    }
}

fn softirq_ticks() -> Option<u64> {
    besides::softirq_ticks(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// Where the first `bytes` bytes of two files differ.
fn difference(one: &File, other: &File, bytes: u64) -> io::Result<Option<u64>> {
    use std::os::unix::fs::FileExt;

    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(left.len());
        one.read_exact_at(&mut left[..len], at)?;
        other.read_exact_at(&mut right[..len], at)?;
        if let Some(index) = first_difference(&left[..len], &right[..len]) {
            return Ok(Some(at + index as u64));
        }
        at += len as u64;
    }
    // What is there beyond was not in the source.
    let beyond = other.metadata()?.len() > bytes;
    Ok(beyond.then_some(bytes))
}

/// Bytes of a file whose extents other files have too; `None` where the file system does not
/// tell. One in memory has no extents.
fn shared_bytes(file: &File) -> Option<u64> {
    if matches!(cache::file_system_in_memory(file), Ok(Some(_))) {
        return Some(0);
    }
    let (mut shared, mut next) = (0, Some(0));
    while let Some(offset) = next {
        let part = underpass_sys::extents::shared(file.as_fd(), offset).ok()?;
        shared += part.shared_bytes;
        next = part.next.filter(|&end| end > offset);
    }
    Some(shared)
}
