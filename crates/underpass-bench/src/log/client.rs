//! The load: connections over one epoll set, one request in flight on each.
//!
//! It must cost less than the server, so answers are discarded in the kernel after their first
//! bytes (`MSG_TRUNC`, tcp(7)), of which the error is looked at.
//!
//! Source: epoll(7), level-triggered; recv(2); tcp(7), `MSG_TRUNC`.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::frames::{Request, int16, int32};

/// The first receive of an answer.
const FIRST_BYTES: usize = 8 << 10;

/// The most that one discarding receive takes; the memory is not touched.
const DISCARD_BYTES: usize = 2 << 20;

/// A server that answers nothing for this long ends the measurement.
const STALL: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// What is asked of a server.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub request: Request,
    /// Offsets that are asked for: a multiple of the first, below the second.
    pub offsets: (u64, u64),
    /// What a good answer has at least.
    pub answer_bytes: usize,
    /// The most requests of one run.
    pub requests_max: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub answers: u64,
    /// Of the answers, lengths included.
    pub bytes: u64,
    /// How long each took, in nanoseconds, sorted.
    pub times: Vec<f64>,
    pub elapsed: Duration,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    frame: Vec<u8>,
    sent: usize,
    start: Instant,
    /// The first bytes of the answer.
    head: Vec<u8>,
    /// Bytes of the answer that are to come, once its length is known.
    left: Option<usize>,
    is_writable_asked: bool,
}

/// Open connections.
#[derive(Debug)]
pub(super) struct Client {
    load: Load,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    room: Vec<u8>,
    random: u64,
}

impl Client {
    pub(super) fn new(load: Load) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for i in 0..load.connections {
            let socket = TcpStream::connect(load.address).context("the server is gone")?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(i as u64);
            epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
            let frame = load.request.frame.clone();
            let start = Instant::now();
            let head = Vec::with_capacity(FIRST_BYTES);
            let (sent, left, is_writable_asked) = (0, None, false);
            connections.push(Connection {
                socket,
                frame,
                sent,
                start,
                head,
                left,
                is_writable_asked,
            });
        }
        let (room, random) = (vec![0; DISCARD_BYTES], 0x9e37_79b9_7f4a_7c15);
        Ok(Self { load, epoll, connections, room, random })
    }

    /// Keeps a request in flight on every connection for `duration`, then lets the last answers
    /// arrive; all are counted.
    pub(super) fn run(&mut self, duration: Duration) -> Result<Outcome> {
        let (start, mut outcome) = (Instant::now(), Outcome::default());
        let (mut asked, mut waiting) = (0, self.connections.len());
        for i in 0..self.connections.len() {
            self.ask(i)?;
            asked += 1;
        }
        let mut events = Vec::with_capacity(256);
        while waiting > 0 {
            events.clear();
            let room = rustix::buffer::spare_capacity(&mut events);
            let ready = epoll::wait(&self.epoll, room, Some(&STALL))?;
            ensure!(ready > 0, "no answer for {} s after {}", STALL.tv_sec, outcome.answers);
            for event in &events {
                let i = usize::try_from(event.data.u64())?;
                if !self.advance(i, &mut outcome)? {
                    continue;
                }
                if asked < self.load.requests_max && start.elapsed() < duration {
                    self.ask(i)?;
                    asked += 1;
                } else {
                    waiting -= 1;
                }
            }
        }
        outcome.elapsed = start.elapsed();
        outcome.times.sort_by(f64::total_cmp);
        Ok(outcome)
    }

    fn ask(&mut self, i: usize) -> Result<()> {
        let offset = self.next_offset();
        let connection = &mut self.connections[i];
        if let Some(at) = self.load.request.offset_at {
            connection.frame[at..at + 8].copy_from_slice(&offset.to_be_bytes());
        }
        (connection.sent, connection.left) = (0, None);
        connection.head.clear();
        connection.start = Instant::now();
        self.send(i)
    }

    /// xorshift: the same offsets in every run.
    fn next_offset(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let (step, end) = self.load.offsets;
        self.random % (end / step).max(1) * step
    }

    fn send(&mut self, i: usize) -> Result<()> {
        let connection = &mut self.connections[i];
        while connection.sent < connection.frame.len() {
            match send(
                &connection.socket,
                &connection.frame[connection.sent..],
                SendFlags::NOSIGNAL,
            ) {
                Ok(n) => connection.sent += n,
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno).context("a request was not taken"),
            }
        }
        let wants = connection.sent < connection.frame.len();
        if wants != connection.is_writable_asked {
            connection.is_writable_asked = wants;
            let data = epoll::EventData::new_u64(i as u64);
            let out = if wants { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            epoll::modify(&self.epoll, &connection.socket, data, epoll::EventFlags::IN | out)?;
        }
        Ok(())
    }

    /// Sends what is left of a request, or receives once; whether the answer is complete.
    fn advance(&mut self, i: usize, outcome: &mut Outcome) -> Result<bool> {
        if self.connections[i].sent < self.connections[i].frame.len() {
            self.send(i)?;
            return Ok(false);
        }
        let load = &self.load;
        let connection = &mut self.connections[i];
        let (flags, most) = match connection.left {
            None => (RecvFlags::empty(), FIRST_BYTES),
            Some(left) => (RecvFlags::TRUNC, left.min(DISCARD_BYTES)),
        };
        let n = match recv(&connection.socket, &mut self.room[..most], flags) {
            Ok((_, n @ 1..)) => n,
            Err(Errno::AGAIN) => return Ok(false),
            Ok(_) => anyhow::bail!("the server closed a connection"),
            Err(errno) => return Err(errno).context("an answer did not come"),
        };
        if let Some(left) = &mut connection.left {
            *left -= n;
        } else {
            connection.head.extend_from_slice(&self.room[..n]);
            if connection.head.len() < load.request.head_bytes {
                return Ok(false);
            }
            let len = 4 + usize::try_from(int32(&connection.head, 0)?)?;
            let error = int16(&connection.head, load.request.error_at)?;
            ensure!(error == 0 && len >= load.answer_bytes, "error {error}, {len} bytes");
            outcome.bytes += len as u64;
            let came = connection.head.len();
            connection.left = Some(len.checked_sub(came).context("more than one answer")?);
        }
        if connection.left != Some(0) {
            return Ok(false);
        }
        outcome.answers += 1;
        outcome.times.push(connection.start.elapsed().as_secs_f64() * 1e9);
        Ok(true)
    }
}
