//! Connections that are kept for the next request to their origin.
//!
//! They cost descriptors while nothing is asked, so there are few, and none for long. A server may
//! close one at any time: whether it did is seen when it is taken, or at the first byte of the
//! answer that does not come.
//!
//! Source: RFC 9112 §9.3, §9.3.1, §9.5.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::connection::{Connection, Idle};
use crate::error::ClientError;
use crate::head::Head;
use crate::interrupt::Interrupt;
use crate::url::Url;

/// Connections of one origin.
const AN_ORIGIN_MAX: usize = 8;

/// Connections of all origins; the longest idle gives way.
const ALL_MAX: usize = 64;

/// How long one is kept: less than servers do by custom.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Idle connections, the longest idle first.
#[derive(Debug)]
pub(crate) struct Pool<C = Idle> {
    idle: Mutex<Vec<Kept<C>>>,
}

#[derive(Debug)]
struct Kept<C> {
    origin: Url,
    since: Instant,
    connection: C,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self { idle: Mutex::new(Vec::new()) }
    }
}

impl<C> Pool<C> {
    /// The one that was used last of an origin.
    pub(crate) fn take(&self, origin: &Url, now: Instant) -> Option<C> {
        let mut idle = self.idle(now);
        let last = idle.iter().rposition(|kept| kept.origin.is_same_origin(origin))?;
        Some(idle.remove(last).connection)
    }

    /// Keeps one, unless there are enough of its origin.
    pub(crate) fn keep(&self, origin: &Url, connection: C, now: Instant) {
        let mut idle = self.idle(now);
        if idle.iter().filter(|kept| kept.origin.is_same_origin(origin)).count() >= AN_ORIGIN_MAX {
            return;
        }
        if idle.len() >= ALL_MAX {
            idle.remove(0);
        }
        idle.push(Kept { origin: origin.clone(), since: now, connection });
    }

    /// Those that are not too old.
    fn idle(&self, now: Instant) -> MutexGuard<'_, Vec<Kept<C>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| now.saturating_duration_since(kept.since) < TIME_MAX);
        idle
    }
}

/// The pool of a client, if it keeps connections. A clone of the client has another one, since it
/// may come to trust other servers.
#[derive(Debug, Default)]
pub(crate) struct Keeping(Option<Arc<Pool>>);

impl Clone for Keeping {
    fn clone(&self) -> Self {
        Self(self.0.as_ref().map(|_| Arc::default()))
    }
}

impl Keeping {
    pub(crate) fn new() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

/// Where a connection is kept when the content of its answer is over.
#[derive(Debug)]
pub(crate) struct Home {
    pool: Arc<Pool>,
    origin: Url,
}

impl Home {
    pub(crate) fn keep(self, connection: Connection<'_>) {
        self.pool.keep(&self.origin, Idle::of(connection), Instant::now());
    }
}

impl Client {
    /// Where the connection of this answer may be kept.
    pub(crate) fn home(&self, url: &Url, head: &Head) -> Option<Home> {
        let pool = self.keeping.0.as_ref().filter(|_| head.is_persistent)?;
        Some(Home { pool: Arc::clone(pool), origin: url.without_credentials() })
    }

    /// Sends a request over a connection that was kept, and waits until its answer begins; `None`
    /// if there is none, or the server has closed it and sent no byte. Then the request can be sent
    /// again, if it changes nothing.
    pub(crate) fn send_over_kept<'i>(
        &self,
        request: &str,
        url: &Url,
        interrupt: &'i Interrupt,
        connected: &dyn Fn(&Connection<'i>) -> io::Result<()>,
    ) -> Result<Option<Connection<'i>>, ClientError> {
        let Some(pool) = &self.keeping.0 else { return Ok(None) };
        let kept = std::iter::from_fn(|| pool.take(url, Instant::now()));
        let Some(mut connection) = kept.filter_map(|idle| idle.resume(interrupt)).next() else {
            return Ok(None);
        };
        let begun = connected(&connection)
            .and_then(|()| connection.write_all(request.as_bytes()))
            .and_then(|()| connection.flush())
            .and_then(|()| connection.peek(&mut [0]));
        match begun {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(connection)),
            Err(error) if is_lost(&error) => Ok(None),
            Err(error) => Err(ClientError::open("ask", url, error)),
        }
    }
}

/// Whether the server has closed the connection; TLS says so in its own way.
fn is_lost(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_of_an_origin_is_taken_while_it_is_young() {
        let (pool, begun) = (Pool::default(), Instant::now());
        let at = |s| begun + Duration::from_secs(s);
        let [a, b, c] =
            ["http://a/x", "http://b/", "https://a:80/"].map(|it| Url::parse(it).unwrap());
        pool.keep(&a, 1, at(0));
        pool.keep(&a, 2, at(1));
        pool.keep(&b, 3, at(2));
        let [again, named] = ["HTTP://A:80/y", "http://u:p@a/"].map(|it| Url::parse(it).unwrap());
        assert_eq!(pool.take(&c, at(3)), None);
        assert_eq!(pool.take(&again, at(3)), Some(2));
        assert_eq!(pool.take(&named, at(29)), Some(1));
        assert_eq!(pool.take(&a, at(29)), None);
        assert_eq!(pool.take(&b, at(32)), None);
    }

    #[test]
    fn there_are_few_of_an_origin_and_of_all() {
        let (pool, now) = (Pool::default(), Instant::now());
        let url = |n: usize| Url::parse(&format!("http://a{n}/")).unwrap();
        for n in 0..20 {
            pool.keep(&url(0), n, now);
        }
        let kept: Vec<_> = std::iter::from_fn(|| pool.take(&url(0), now)).collect();
        assert_eq!(kept, (0..AN_ORIGIN_MAX).rev().collect::<Vec<_>>());
        for n in 0..=ALL_MAX {
            pool.keep(&url(n), n, now);
        }
        assert_eq!(pool.take(&url(0), now), None);
        assert_eq!((1..=ALL_MAX).filter_map(|n| pool.take(&url(n), now)).count(), ALL_MAX);
    }
}
