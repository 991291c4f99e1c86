//! What the connections of an origin share.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::fault::Fault;
use super::object::Object;
use super::rate::Rate;
use super::request::Request;

/// Says what goes wrong with the answer to a request.
pub(super) type Script = Arc<dyn Fn(&Request) -> Vec<Fault> + Send + Sync>;

/// The state, and its changes.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub(super) struct State {
    objects: BTreeMap<String, Arc<Object>>,
    /// Every object there has been, with its target.
    pub(super) generations: Vec<(String, Arc<Object>)>,
    pub(super) rate: Rate,
    pub(super) latency: Duration,
    pub(super) script: Option<Script>,
    pub(super) faults: BTreeMap<usize, Vec<Fault>>,
    pub(super) requests: Vec<Request>,
    pub(super) content_bytes: u64,
    /// Answers that wait to be released, and how often that was done.
    pub(super) stalled: usize,
    pub(super) releases: u64,
    pub(super) is_down: bool,
    connections: HashMap<usize, TcpStream>,
    connected: usize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = f.debug_struct("State");
        state.field("objects", &self.objects).field("requests", &self.requests.len());
        state.finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new() -> Self {
        let state = State {
            objects: BTreeMap::new(),
            generations: Vec::new(),
            rate: Rate::of(None),
            latency: Duration::ZERO,
            script: None,
            faults: BTreeMap::new(),
            requests: Vec::new(),
            content_bytes: 0,
            stalled: 0,
            releases: 0,
            is_down: false,
            connections: HashMap::new(),
            connected: 0,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that threads may wait for.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until a time, or until the origin goes down.
    pub(super) fn wait_until(&self, end: Instant) {
        let mut state = self.state();
        while !state.is_down {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the next release, or until the origin goes down.
    pub(super) fn stall(&self) {
        let mut state = self.state();
        let releases = state.releases;
        state.stalled += 1;
        while state.releases == releases && !state.is_down {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.stalled -= 1;
    }

    /// Waits until that many bytes may be sent.
    pub(super) fn pace(&self, bytes: u64) {
        let at = self.state().rate.take(bytes, Instant::now());
        if at > Instant::now() {
            self.wait_until(at);
        }
    }
}

impl State {
    pub(super) fn put(&mut self, target: &str, object: Object) -> Arc<Object> {
        let object = self.another(target, object);
        self.objects.insert(target.to_owned(), Arc::clone(&object));
        object
    }

    pub(super) fn remove(&mut self, target: &str) {
        self.objects.remove(target);
    }

    /// A generation that is no other object.
    pub(super) fn another(&mut self, target: &str, object: Object) -> Arc<Object> {
        let object = Arc::new(object.of_generation(self.generations.len() as u64 + 1));
        self.generations.push((target.to_owned(), Arc::clone(&object)));
        object
    }

    /// What is under a target, or under its path.
    pub(super) fn object(&self, target: &str) -> Option<Arc<Object>> {
        let path = target.split('?').next().unwrap_or_default();
        self.objects.get(target).or_else(|| self.objects.get(path)).map(Arc::clone)
    }

    /// What goes wrong with the answer to this request.
    pub(super) fn faults(&self, request: &Request) -> (Vec<Fault>, Option<Script>) {
        let own = self.faults.get(&request.number).cloned().unwrap_or_default();
        (own, self.script.as_ref().map(Arc::clone))
    }

    /// The number of a new connection; none if the origin is down.
    pub(super) fn connect(&mut self, stream: TcpStream) -> Option<usize> {
        if self.is_down {
            return None;
        }
        let number = self.connected;
        self.connected += 1;
        self.connections.insert(number, stream);
        Some(number)
    }

    pub(super) fn disconnect(&mut self, number: usize) {
        self.connections.remove(&number);
    }

    /// Ends every connection.
    pub(super) fn cut_all(&mut self) {
        for (_, stream) in self.connections.drain() {
            // One that has ended already is as it should be.
            if set_socket_linger(&stream, Some(Duration::ZERO)).is_ok() {
                drop(stream.shutdown(Shutdown::Both));
            }
        }
    }
}
