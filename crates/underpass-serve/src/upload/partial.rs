//! Uploads that are continued after their connection was cut: each has a place until it is whole.
//!
//! Which there are is in the memory of the process, and what has come of each in a hidden file. The
//! newest request for one takes it over from those before: its client knows what it does.
//!
//! Source: draft-ietf-httpbis-resumable-upload-12, §4 (upload resource), §4.6 (concurrency).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep, timeout};

use super::place::Place;
use super::{Refusal, Wanted, wait};
use crate::current_root::CurrentRoot;
use crate::root::Wait;

/// How long nothing may come of one before it goes.
pub(super) const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it is known that one is complete.
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

/// How many there are of a site.
const COUNT_MAX: usize = 256;

/// How many of the largest files they may be together.
const LARGEST_MAX: u64 = 16;

/// How long a request waits for those before it.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// The unguessable part of a URL: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Token(u128);

impl Token {
    fn new() -> Result<Self, Errno> {
        let mut random = [0; 16];
        // It never gives less than 256 bytes.
        getrandom(&mut random, GetRandomFlags::empty())?;
        Ok(Self(u128::from_ne_bytes(random)))
    }

    /// That of a target's query.
    pub(super) fn of(query: Option<&str>) -> Option<Self> {
        let text = query?.strip_prefix("upload=")?;
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|_| is_hex).map(Self)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upload={:032x}", self.0)
    }
}

/// Nothing of it: what stands here may be printed.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// All of a site.
#[derive(Debug, Default)]
pub(super) struct Partials(Mutex<HashMap<Token, Arc<Partial>>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Partial {
    /// The name that it will have, on the conditions of the request that began it.
    pub(super) wanted: Arc<Wanted>,
    /// The name that it has until then.
    hidden: Vec<u8>,
    state: Mutex<State>,
    /// Whose turn it is, and how many requests there were.
    turn: Arc<Turn<()>>,
    requests: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// As much has come.
    pub(super) offset: u64,
    /// As much will, if that is known.
    pub(super) length: Option<u64>,
    pub(super) is_complete: bool,
    touched: Instant,
}

/// The sole right to do something about one, until another request wants it.
#[derive(Debug)]
pub(super) struct Mine {
    requests: watch::Receiver<u64>,
    _turn: OwnedMutexGuard<()>,
}

impl Mine {
    /// What this is, unless another request comes first.
    pub(super) async fn unless_superseded<T>(
        &mut self,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let mut work = std::pin::pin!(work);
        let mut newer = std::pin::pin!(self.requests.changed());
        std::future::poll_fn(|cx| {
            if newer.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(Err(Refusal::Superseded));
            }
            work.as_mut().poll(cx)
        })
        .await
    }
}

impl Partial {
    pub(super) fn state(&self) -> State {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far it is.
    pub(super) fn note(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.touched = Instant::now();
    }

    /// Ends the requests before this one, and waits until they have.
    pub(super) async fn take_over(&self) -> Result<Mine, Refusal> {
        self.requests.send_modify(|requests| *requests += 1);
        let requests = self.requests.subscribe();
        let turn = timeout(PATIENCE, Arc::clone(&self.turn).lock_owned()).await;
        turn.map(|_turn| Mine { requests, _turn }).map_err(|_| Refusal::Busy)
    }

    /// Its file. What a request before had given to the disk is written by then.
    pub(super) async fn open(&self, root: &Arc<CurrentRoot>) -> Result<Place, Refusal> {
        let end = Instant::now() + PATIENCE;
        loop {
            let (root, wanted) = (Arc::clone(root), Arc::clone(&self.wanted));
            let hidden = self.hidden.clone();
            let open = move || Place::open(&*root.get(Wait::Allowed)?, &wanted, hidden);
            match wait(open).await {
                Err(Refusal::Busy) if Instant::now() < end => sleep(PAUSE).await,
                place => break place,
            }
        }
    }

    /// How much of the disk it may take, where no file is larger than this.
    fn reserved(&self, bytes_max: u64) -> u64 {
        let state = self.state();
        if state.is_complete { 0 } else { state.length.unwrap_or(bytes_max) }
    }

    fn is_old(&self, now: Instant) -> bool {
        let state = self.state();
        let age_max = if state.is_complete { KNOWN_FOR } else { AGE_MAX };
        now.duration_since(state.touched) > age_max
    }
}

impl Partials {
    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Arc<Partial>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one of a token, if that is of this path.
    pub(super) fn find(&self, token: Token, path: &[u8]) -> Result<Arc<Partial>, Refusal> {
        let partial = self.lock().get(&token).cloned().ok_or(Refusal::Unknown)?;
        let is_of_path = partial.wanted.path() == path && !partial.is_old(Instant::now());
        is_of_path.then_some(partial).ok_or(Refusal::Unknown)
    }

    /// One more, if there is room for it and those that are being written.
    pub(super) async fn add(
        &self,
        root: &Arc<CurrentRoot>,
        wanted: &Arc<Wanted>,
        place: Place,
        bytes_max: u64,
    ) -> Result<(Token, Arc<Partial>, Mine, Place), Refusal> {
        let token = Token::new()?;
        let state =
            State { offset: 0, length: wanted.len, is_complete: false, touched: Instant::now() };
        let partial = Arc::new(Partial {
            wanted: Arc::clone(wanted),
            hidden: place.hidden().to_vec(),
            state: Mutex::new(state),
            turn: Arc::default(),
            requests: watch::Sender::default(),
        });
        let mine = partial.take_over().await?;
        self.lock().insert(token, Arc::clone(&partial));
        if self.make_room(root, bytes_max, COUNT_MAX).await {
            return Ok((token, partial, mine, place));
        }
        self.lock().remove(&token);
        drop(place.unkept());
        Err(Refusal::Busy)
    }

    /// Forgets one, and removes its file.
    pub(super) async fn remove(&self, root: &Arc<CurrentRoot>, token: Token) {
        let partial = self.lock().remove(&token);
        let Some(partial) = partial.filter(|it| !it.state().is_complete) else { return };
        match partial.open(root).await {
            Ok(place) => drop(place.unkept()),
            Err(refusal) => tracing::debug!("a part of an upload is not removed: {refusal}"),
        }
    }

    /// Forgets those that are old.
    pub(super) async fn forget_old(&self, root: &Arc<CurrentRoot>) {
        let now = Instant::now();
        let old = |(token, partial): (&Token, &Arc<Partial>)| partial.is_old(now).then_some(*token);
        let old: Vec<_> = self.lock().iter().filter_map(old).collect();
        for token in old {
            self.remove(root, token).await;
        }
    }

    /// Forgets the old, and then those of which nothing has come for the longest time, until the
    /// rest is within these limits; `false` if it is not.
    async fn make_room(&self, root: &Arc<CurrentRoot>, bytes_max: u64, count_max: usize) -> bool {
        self.forget_old(root).await;
        while self.are_too_many(bytes_max, count_max) {
            let Some(token) = self.idle_for_longest() else { return false };
            self.remove(root, token).await;
        }
        true
    }

    fn are_too_many(&self, bytes_max: u64, count_max: usize) -> bool {
        let all = self.lock();
        let reserved = all.values().map(|partial| partial.reserved(bytes_max));
        let bytes = reserved.fold(0, u64::saturating_add);
        bytes > bytes_max.saturating_mul(LARGEST_MAX) || all.len() > count_max
    }

    fn idle_for_longest(&self) -> Option<Token> {
        let all = self.lock();
        let idle = all.iter().filter(|(_, partial)| partial.turn.try_lock().is_ok());
        idle.min_by_key(|(_, partial)| partial.state().touched).map(|(token, _)| *token)
    }
}

#[cfg(test)]
mod tests;
