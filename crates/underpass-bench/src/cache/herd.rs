//! Clients that ask for the same cold object at once.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::event::{Timespec, epoll};

use super::fetch::{Body, request};
use super::peers::Cache;
use super::{Asked, Options, REQUESTS, limited, put};
use crate::idle::{allow_descriptors, anonymous_kib};
use crate::report::{Better, Quantity};
use crate::{Run, files, turns};
use underpass_testkit::origin::Object;

/// Bytes that the origin sent, by those of the object.
const TIMES: Quantity = Quantity { name: "times sent", better: Better::Neither, decimals: 4 };
/// The most anonymous memory that it had at any time.
const MEMORY: Quantity = Quantity { name: "anon. MiB", better: Better::Neither, decimals: 1 };
const SECONDS: Quantity = Quantity { name: "s", better: Better::Neither, decimals: 2 };

const CASE: &str = "herd";

/// A server that sends nothing for this long ends the measurement.
const STALL: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(20);

/// Runs this part.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let clients = options.clients;
    allow_descriptors(clients as u64 * 2 + 1000)?;
    let (dir, origin) = (files::scratch()?, limited(options)?);
    let peers = [Cache::NginxLock, Cache::NginxSlice, Cache::Varnish];
    let peers = run.field(peers, Cache::Underpass, Cache::name)?;
    for round in 0..run.rounds {
        for peer in turns(&peers, round) {
            let server = peer.start(origin.address(), dir.path())?;
            let (who, object) = (peer.name(), put(&origin, "/object", options.object_bytes()));
            let asked = Asked::before(&origin);
            let start = Instant::now();
            let watch = Watch::start(server.id());
            let came = ask_at_once(server.address(), clients, &object);
            let memory_kib = watch.stop()?;
            came.with_context(|| who.to_owned())?;
            let seconds = start.elapsed().as_secs_f64();
            let (requests, bytes) = asked.until_quiet(&origin)?;
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 bytes")]
            let times = bytes as f64 / object.len() as f64;
            run.report.sample(CASE, who, TIMES, times);
            run.report.sample(CASE, who, REQUESTS, f64::from(u32::try_from(requests)?));
            run.report.sample(CASE, who, MEMORY, f64::from(u32::try_from(memory_kib)?) / 1024.0);
            run.report.sample(CASE, who, SECONDS, seconds);
            server.stop()?;
        }
    }
    let (mib, limit) = (options.object_bytes() >> 20, options.origin_mib);
    let title = format!("{clients} clients, {mib} MiB at {limit} MiB/s");
    run.report.table(CASE, &title, &[TIMES, REQUESTS, MEMORY, SECONDS]);
    Ok(())
}

/// A thread that looks at the memory of a process and its descendants.
struct Watch {
    is_over: std::sync::Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<u64>>,
}

impl Watch {
    fn start(process: u32) -> Self {
        let is_over = std::sync::Arc::new(AtomicBool::new(false));
        let over = std::sync::Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(anonymous_kib(process)?);
                thread::park_timeout(LOOK);
            }
            Ok(most)
        });
        Self { is_over, thread }
    }

    fn stop(self) -> Result<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watch panicked"))?
    }
}

/// Every client asks before any reads, and every byte of every body is compared.
fn ask_at_once(address: SocketAddr, clients: usize, object: &Object) -> Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut all = Vec::with_capacity(clients);
    for nth in 0..clients {
        let mut stream = TcpStream::connect(address).with_context(|| format!("client {nth}"))?;
        stream.write_all(&request("/object", None))?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(nth as u64);
        epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
        all.push(Some((stream, Body::new(false, 0..object.len()))));
    }
    let (mut room, mut left) = (vec![0; 256 << 10], clients);
    let mut events = Vec::with_capacity(256);
    while left > 0 {
        events.clear();
        let spare = rustix::buffer::spare_capacity(&mut events);
        ensure!(epoll::wait(&epoll, spare, Some(&STALL))? > 0, "{left} clients wait for nothing");
        for event in &events {
            let nth = usize::try_from(event.data.u64()).context("an index came back changed")?;
            let Some((stream, body)) = &mut all[nth] else { continue };
            match stream.read(&mut room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Ok(n @ 1..) => body.take(&room[..n], object)?,
                ended => anyhow::bail!("client {nth} got {ended:?} {}", body.told()),
            }
            if body.is_whole() {
                // Closing it takes it out of the epoll set.
                all[nth] = None;
                left -= 1;
            }
        }
    }
    Ok(())
}
