//! The load client: many keep-alive connections over one epoll set, one request in flight each.
//!
//! It must cost less than the server it measures, so bodies are discarded in the kernel
//! (`MSG_TRUNC`, tcp(7)) after the first buffer, and a connection is asked again only when epoll
//! says so. A response counts only if its head says 200 and the right Content-Length; chunked
//! bodies are refused, since a server that sends a file that way does other work than its peers.
//! What fails is counted and the connection made anew, so a server cannot gain by failing.
//!
//! Source: epoll(7), level-triggered; recv(2); tcp(7), `MSG_TRUNC`.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use underpass_testkit::process::output;

/// The first receive of a response: its head, and the whole of a small body.
const FIRST_BYTES: usize = 8 << 10;

/// The most one discarding receive takes. The memory is never touched.
const DISCARD_BYTES: usize = 1 << 20;

/// A server that answers nothing for this long ends the measurement.
const STALL: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// What to ask of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    pub address: SocketAddr,
    pub path: &'a str,
    pub connections: usize,
    /// What each response must have as its Content-Length.
    pub body_bytes: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// Good responses within the time asked for.
    pub responses: u64,
    /// Good responses to requests that were under way when the time ended.
    pub late: u64,
    /// Responses with a wrong head, and connections that were closed or reset.
    pub failures: u64,
    /// The time that `responses` took.
    pub elapsed: Duration,
}

/// One connection, one request after the other.
#[derive(Debug)]
pub(crate) struct Asking {
    socket: TcpStream,
    request: Vec<u8>,
    body_bytes: u64,
    /// What has arrived of the head, and of the body with it.
    head: Vec<u8>,
    /// Bytes of the body that are still to come, once the head is known.
    left: Option<u64>,
}

/// What one receive led to.
enum Event {
    Response,
    Failure,
    Partial,
}

impl Asking {
    pub(crate) fn new(address: SocketAddr, path: &str, body_bytes: u64) -> Result<Self> {
        let socket = TcpStream::connect(address).with_context(|| address.to_string())?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, request: get(path), body_bytes, head: Vec::new(), left: None })
    }

    /// Asks for the body, discarding it in the kernel, and waits for its last byte.
    pub(crate) fn ask_and_wait(&mut self, room: &mut Room) -> Result<()> {
        self.ask()?;
        loop {
            match self.receive(room) {
                Event::Response => return Ok(()),
                Event::Partial => {}
                Event::Failure => bail!("a failed or short response"),
            }
        }
    }

    fn ask(&mut self) -> Result<()> {
        self.head.clear();
        self.left = None;
        match send(&self.socket, &self.request, SendFlags::NOSIGNAL) {
            // A request is far smaller than the free room of a socket whose peer has answered.
            Ok(n) => ensure!(n == self.request.len(), "a request was sent in part: {n} bytes"),
            // The receive that follows meets the same and counts the failure.
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Takes what has arrived, in one call.
    fn receive(&mut self, Room(room): &mut Room) -> Event {
        let (flags, most) = match self.left {
            None => (RecvFlags::empty(), FIRST_BYTES),
            Some(left) => (RecvFlags::TRUNC, usize::try_from(left).unwrap_or(usize::MAX)),
        };
        let most = most.min(room.len());
        let room = room.get_mut(..most).unwrap_or_default();
        let n = match recv(&self.socket, &mut *room, flags) {
            Ok((_, n @ 1..)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Event::Partial,
            Ok(_) | Err(_) => return Event::Failure,
        };
        if let Some(left) = &mut self.left {
            *left -= n as u64;
        } else {
            self.head.extend_from_slice(room.get(..n).unwrap_or_default());
            let Some(head) = Head::parse(&self.head) else { return Event::Partial };
            let came = (self.head.len() - head.len_bytes) as u64;
            if !head.is_of(self.body_bytes) || came > self.body_bytes {
                return Event::Failure;
            }
            self.left = Some(self.body_bytes - came);
        }
        if self.left == Some(0) { Event::Response } else { Event::Partial }
    }
}

/// Where bodies are discarded: any number of connections share one.
#[derive(Debug)]
pub(crate) struct Room(Vec<u8>);

impl Room {
    pub(crate) fn new() -> Self {
        Self(vec![0; DISCARD_BYTES])
    }
}

/// Open connections, ready for any number of [`Client::run`]s.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    load: Load<'a>,
    epoll: OwnedFd,
    connections: Vec<Asking>,
    room: Room,
}

impl<'a> Client<'a> {
    /// Opens the connections.
    pub(crate) fn new(load: Load<'a>) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut client = Self { load, epoll, connections: Vec::new(), room: Room::new() };
        for i in 0..load.connections {
            client.connections.push(client.connect(i)?);
        }
        Ok(client)
    }

    /// Keeps one request in flight on every connection for `duration`, then lets the last
    /// responses arrive. Only responses within `duration` are counted, or the first if none came.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Outcome> {
        let start = Instant::now();
        let mut outcome = Outcome::default();
        self.connections.iter_mut().try_for_each(Asking::ask)?;
        let mut waiting = self.connections.len();
        let mut events = Vec::with_capacity(256);
        while waiting > 0 {
            events.clear();
            let room = rustix::buffer::spare_capacity(&mut events);
            let ready = epoll::wait(&self.epoll, room, Some(&STALL))?;
            ensure!(ready > 0, "no byte for {} s, {outcome:?}", STALL.tv_sec);
            // On a busy machine the first answer may come late; a measurement needs one.
            let has_one = outcome.responses + outcome.failures > 0;
            let is_over = has_one && start.elapsed() >= duration;
            if is_over && outcome.elapsed.is_zero() {
                outcome.elapsed = start.elapsed();
            }
            for event in &events {
                let i = usize::try_from(event.data.u64()).context("an index came back changed")?;
                match self.connections[i].receive(&mut self.room) {
                    Event::Partial => continue,
                    Event::Response if is_over => outcome.late += 1,
                    Event::Response => outcome.responses += 1,
                    Event::Failure => {
                        outcome.failures += 1;
                        // Closing the old socket takes it out of the epoll set.
                        self.connections[i] = self.connect(i)?;
                    }
                }
                if is_over {
                    waiting -= 1;
                } else {
                    self.connections[i].ask()?;
                }
            }
        }
        Ok(outcome)
    }

    /// Asks by a fixed schedule, `per_second` times in each second, and returns how late each
    /// answer was in µs, counted from when it was due to be asked for.
    ///
    /// What is due while every connection waits is asked when one is free. What has no answer when
    /// the time ends counts with the time it has been due, which is less than it would have taken.
    pub(crate) fn run_at(&mut self, per_second: f64, duration: Duration) -> Result<Vec<f64>> {
        let start = Instant::now();
        let due = |nth: u32| start + Duration::from_secs_f64(f64::from(nth) / per_second);
        let mut idle: Vec<usize> = (0..self.connections.len()).collect();
        let mut asked_for: Vec<Option<Instant>> = vec![None; self.connections.len()];
        let (mut next, mut latencies) = (0, Vec::new());
        let mut events = Vec::with_capacity(256);
        while start.elapsed() < duration {
            while due(next) <= Instant::now()
                && let Some(i) = idle.pop()
            {
                self.connections[i].ask()?;
                asked_for[i] = Some(due(next));
                next += 1;
            }
            events.clear();
            let room = rustix::buffer::spare_capacity(&mut events);
            // It has a CPU to itself: to sleep would add what a timer is late.
            epoll::wait(&self.epoll, room, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
            for event in &events {
                let i = usize::try_from(event.data.u64()).context("an index came back changed")?;
                match self.connections[i].receive(&mut self.room) {
                    Event::Partial => {}
                    Event::Failure => bail!("a failed or short response"),
                    Event::Response => {
                        let due =
                            asked_for[i].take().context("an answer that was not asked for")?;
                        latencies.push(due.elapsed().as_secs_f64() * 1e6);
                        idle.push(i);
                    }
                }
            }
        }
        let end = start + duration;
        let not_asked = (next..).map(due).take_while(|due| *due < end);
        for due in asked_for.into_iter().flatten().chain(not_asked) {
            latencies.push(end.saturating_duration_since(due).as_secs_f64() * 1e6);
        }
        Ok(latencies)
    }

    fn connect(&self, i: usize) -> Result<Asking> {
        let Load { address, path, body_bytes, .. } = self.load;
        let asking = Asking::new(address, path, body_bytes)?;
        asking.socket.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(i as u64);
        epoll::add(&self.epoll, &asking.socket, data, epoll::EventFlags::IN)?;
        Ok(asking)
    }
}

/// What a response's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Its length, the empty line included.
    len_bytes: usize,
    /// The status code.
    status: u16,
    /// The length of the body that follows.
    content_length: Option<u64>,
}

impl Head {
    /// Reads a head from the start of `received`; `None` while its end has not arrived.
    pub(super) fn parse(received: &[u8]) -> Option<Self> {
        let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = received.get(..end)?;
        let mut lines = head.split(|&byte| byte == b'\n');
        let status = lines.next().and_then(|line| line.get(9..12)).and_then(number).unwrap_or(0);
        let content_length = lines.find_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at(colon);
            if name.eq_ignore_ascii_case(b"content-length") {
                number(value.get(1..)?)
            } else {
                None
            }
        });
        let status = u16::try_from(status).unwrap_or(0);
        Some(Self { len_bytes: end + 4, status, content_length })
    }

    /// Whether it is that of a 200 with a body of this length.
    pub(super) fn is_of(&self, body_bytes: u64) -> bool {
        (self.status, self.content_length) == (200, Some(body_bytes))
    }

    /// Whether all of the body has come, and nothing behind it.
    pub(super) fn is_followed_by(&self, received: &[u8], body_bytes: u64) -> bool {
        (received.len() - self.len_bytes) as u64 == body_bytes
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

/// A keep-alive request for `path`.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
        .into_bytes()
}

/// Fetches `path` with curl and compares the body with the file it must come from, with cmp.
///
/// What is timed afterwards is thereby known to be the right work.
pub(crate) fn verify(address: SocketAddr, path: &str, file: &Path) -> Result<()> {
    let script = r#"curl -sSf "$0" | cmp - "$1""#;
    let url = format!("http://{address}{path}");
    output(Command::new("sh").args(["-c", script, &url]).arg(file))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers each request of a connection with the next of `answers`, written byte by byte,
    /// and closes the connection when they are used up.
    fn scripted(answers: &'static [&'static [u8]]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                client.set_nodelay(true).unwrap();
                for answer in answers {
                    let mut request = [0; 1024];
                    let is_asked = client.read(&mut request).is_ok_and(|n| n > 0);
                    // The client hangs up on an answer it does not like.
                    if !is_asked || answer.iter().any(|&byte| client.write_all(&[byte]).is_err()) {
                        break;
                    }
                }
            }
        });
        address
    }

    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    const OTHER_BODY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabd";
    const CUT_SHORT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab";
    const WRONG_STATUS: &[u8] = b"HTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nabc";
    const WRONG_LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";

    fn outcome(answers: &'static [&'static [u8]]) -> Outcome {
        let load = Load { address: scripted(answers), path: "/", connections: 1, body_bytes: 3 };
        Client::new(load).unwrap().run(Duration::from_millis(50)).unwrap()
    }

    #[test]
    fn good_answers_are_counted_however_they_are_cut() {
        let outcome = outcome(&[GOOD; 1000]);
        assert!(outcome.responses > 1 && outcome.failures <= 1, "{outcome:?}");
    }

    #[test]
    fn a_schedule_is_kept_and_what_never_came_counts() {
        let load =
            |answers| Load { address: scripted(answers), path: "/", connections: 1, body_bytes: 3 };
        let times = |answers| {
            Client::new(load(answers)).unwrap().run_at(1000.0, Duration::from_millis(200)).unwrap()
        };
        let all = times(&[GOOD; 1000]);
        assert!((150..=201).contains(&all.len()), "{}", all.len());
        // One answer that does not end: the others were due all the time.
        let none = times(&[CUT_SHORT; 1000]);
        assert!((150..=201).contains(&none.len()), "{}", none.len());
        let most = none.iter().copied().fold(0.0, f64::max);
        assert!(most > 100_000.0, "{most}");
    }

    #[test]
    fn wrong_status_wrong_length_and_closed_connections_are_failures() {
        for answers in [&[WRONG_STATUS; 1000][..], &[WRONG_LENGTH; 1000], &[]] {
            let outcome = outcome(answers);
            assert_eq!(outcome.responses, 0, "{outcome:?}");
            assert!(outcome.failures > 0, "{outcome:?}");
        }
    }

    #[test]
    fn a_head_ends_at_the_empty_line_and_names_are_case_insensitive() {
        let response = b"HTTP/1.1 206 Partial Content\r\ncontent-LENGTH:  12\r\nA: b\r\n\r\nbody";
        let head = Head { len_bytes: 59, status: 206, content_length: Some(12) };
        assert_eq!(Head::parse(response), Some(head));
        assert_eq!(Head::parse(&response[..58]), None);
    }

    #[test]
    fn a_body_that_differs_ends_early_or_is_refused_fails_verification() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"abc").unwrap();
        verify(scripted(&[GOOD]), "/", file.path()).unwrap();
        for bad in [&[OTHER_BODY][..], &[CUT_SHORT], &[WRONG_STATUS], &[]] {
            verify(scripted(bad), "/", file.path()).unwrap_err();
        }
    }
}
