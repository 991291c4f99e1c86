//! One request to an origin for all who wait for its answer.
//!
//! Whatever becomes of the job that asks (it ends, is refused, is dropped, or panics), its key is
//! free after it: who comes then asks anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::HeaderMap;
use tokio::sync::watch;
use tokio::time::timeout;
use underpass_client::{Interrupt, Timeouts};
use underpass_remote::Key;

use super::ask::Ended;
use super::question::Question;
use super::times::Times;
use super::{OriginSite, lock};

/// What is waited for.
type Saying = watch::Receiver<Option<Said>>;

/// What came of it, and how long the origin took.
type Said = (Ended, Duration);

/// Those that are asked about, by key.
pub(super) type AllAsked = Mutex<HashMap<Key, Saying>>;

/// A question that is asked.
pub(super) struct Asked {
    saying: Saying,
    since: Instant,
    /// Whether it was asked for this one, and not for another who wanted the same.
    pub(super) is_first: bool,
    /// Whether as many waited for a thread as may.
    pub(super) is_refused: bool,
}

impl Asked {
    /// Waits for what comes of it.
    pub(super) async fn end(self, timeouts: Timeouts, times: &mut Times) -> Ended {
        let since = self.since;
        let (ended, took) = self.said(timeouts).await;
        times.add(since, took);
        ended
    }

    async fn said(mut self, timeouts: Timeouts) -> (Ended, Option<Duration>) {
        let failed = |status| (Ended::Failed(status, HeaderMap::new()), None);
        let said = self.saying.wait_for(Option::is_some);
        let said = match timeouts.idle.zip(timeouts.connect) {
            // It may wait for a thread as well, behind fills that take long.
            Some((idle, connect)) => match timeout(idle + connect, said).await {
                Ok(said) => said,
                Err(_) => return failed(StatusCode::GATEWAY_TIMEOUT),
            },
            None => said.await,
        };
        match said.ok().and_then(|said| said.clone()) {
            Some((ended, took)) => (ended, Some(took)),
            // As many wait for a thread as may.
            None => failed(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// The job that asks, from when it is to be done to its end.
struct Turn {
    site: Arc<OriginSite>,
    key: Key,
    sender: watch::Sender<Option<Said>>,
    saying: Saying,
}

impl Turn {
    /// Those who come from now on ask anew.
    fn free_key(&self) {
        let mut all = lock(&self.site.asking);
        if all.get(&self.key).is_some_and(|known| known.same_channel(&self.saying)) {
            all.remove(&self.key);
        }
    }

    /// The content may come on other threads after it: `held` is kept until it has.
    fn run(&self, question: &Question, interrupt: &Interrupt, held: impl Send + 'static) {
        let since = Instant::now();
        let (ended, rest) = self.site.exchange(question, interrupt);
        let took = since.elapsed();
        if let Ended::Failed(status, _) = &ended {
            tracing::debug!("{}: {status}", question.key);
        }
        // Those who come now find what was made of the answer.
        self.free_key();
        self.sender.send_replace(Some((ended, took)));
        if let Some((fill, response)) = rest {
            fill.holding(held).run(response, interrupt);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.free_key();
    }
}

impl OriginSite {
    /// Asks, or joins those who wait.
    pub(super) fn ask(self: &Arc<Self>, question: Question) -> Asked {
        self.ask_holding(question, ())
    }

    /// The same, and keeps `held` until all that it leads to has ended, if it asks.
    pub(super) fn ask_holding<T: Send + 'static>(
        self: &Arc<Self>,
        question: Question,
        held: T,
    ) -> Asked {
        let since = Instant::now();
        let mut all = lock(&self.asking);
        if let Some(known) = all.get(&question.key) {
            return Asked { saying: known.clone(), since, is_first: false, is_refused: false };
        }
        let (sender, saying) = watch::channel(None);
        let key = question.key.clone();
        all.insert(key.clone(), saying.clone());
        let question = Question { mark: self.under_way.begin(&key), ..question };
        drop(all);
        let turn = Turn { site: Arc::clone(self), key, sender, saying: saying.clone() };
        let is_begun = self.store.spawn(move |interrupt| turn.run(&question, interrupt, held));
        Asked { saying, since, is_first: true, is_refused: !is_begun }
    }

    /// Who comes from now on does not join those who wait.
    pub(super) fn part_from_waiting(&self, key: &Key) {
        lock(&self.asking).remove(key);
        self.under_way.purge(key);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::origin::testing::site;

    fn turn(site: &Arc<OriginSite>, key: &Key) -> Turn {
        let (sender, saying) = watch::channel(None);
        lock(&site.asking).insert(key.clone(), saying.clone());
        Turn { site: Arc::clone(site), key: key.clone(), sender, saying }
    }

    #[test]
    fn a_key_is_free_when_its_job_was_refused_dropped_or_panicked() {
        let (site, _dir) = site();
        let key = site.key("/a").unwrap();
        drop(turn(&site, &key));
        assert!(lock(&site.asking).is_empty(), "dropped");
        let job = turn(&site, &key);
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _job = job;
            panic!("as a job may");
        }));
        assert!(panicked.is_err() && lock(&site.asking).is_empty(), "it panicked");
        site.store.close();
        let asked = site.ask(Question::whole(&key, "/a"));
        assert!(asked.is_refused && lock(&site.asking).is_empty(), "refused");
    }

    #[test]
    fn who_asks_after_a_purge_keeps_the_key() {
        let (site, _dir) = site();
        let key = site.key("/a").unwrap();
        let before = turn(&site, &key);
        site.part_from_waiting(&key);
        let after = turn(&site, &key);
        drop(before);
        assert_eq!(lock(&site.asking).len(), 1);
        drop(after);
        assert!(lock(&site.asking).is_empty());
    }
}
