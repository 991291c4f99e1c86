//! What a request leads to: what is here, what the origin says, or a request to it for this one
//! alone.
//!
//! Source: RFC 9111 §4 (answers from what is stored), §5.2.1.7 (only-if-cached).

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::COOKIE;
use http::request::Parts;
use http::{Method, StatusCode};
use underpass_remote::{Entry, Head, Key, Object};

use super::ask::Ended;
use super::negative::Known;
use super::policy::{Instead, Policy, Why, is_only_if_cached};
use super::question::{self, Question};
use super::status::CacheStatus;
use super::times::Times;
use super::{OriginSite, lock};
use crate::answer::Answer;

/// How often a request asks if what was asked for is of no use to it.
const ASKED_MAX: usize = 3;

/// What a request leads to.
pub(super) enum Found {
    Here(Here),
    Relay(Why),
    Answer(Answer, CacheStatus),
}

/// What is here, and what its head says.
pub(super) struct Here {
    pub(super) entry: Arc<Entry>,
    pub(super) head: Arc<Head>,
    pub(super) policy: Policy,
    pub(super) status: CacheStatus,
    /// Who asked has opened it, and so it is still open.
    pub(super) object: Option<Arc<Object>>,
}

impl Here {
    fn into_stale(self, now: SystemTime) -> Self {
        Self { status: CacheStatus::Stale(self.policy.stale_for(now)), ..self }
    }
}

impl OriginSite {
    fn here(&self, entry: &Arc<Entry>, status: CacheStatus, object: Option<Arc<Object>>) -> Here {
        let (entry, head) = (Arc::clone(entry), entry.head());
        Here { policy: self.policy(&head), entry, head, status, object }
    }

    pub(super) async fn find(
        self: &Arc<Self>,
        key: &Key,
        path: &str,
        request: &Parts,
        times: &mut Times,
    ) -> Found {
        for _ in 0..ASKED_MAX {
            if let Some(found) = self.find_once(key, path, request, times).await {
                return found;
            }
        }
        Found::Relay(Why::Purged)
    }

    /// `None` if what was asked for is of no use: it was purged meanwhile, or somebody had asked
    /// for the head alone.
    async fn find_once(
        self: &Arc<Self>,
        key: &Key,
        path: &str,
        request: &Parts,
        times: &mut Times,
    ) -> Option<Found> {
        match self.negative.get(key, Instant::now()) {
            Some(Known::Absent(status)) => {
                return Some(Found::Answer(Answer::error(status), CacheStatus::Hit));
            }
            Some(Known::Relayed(why)) => return Some(Found::Relay(why)),
            None => {}
        }
        let (now, entry) = (SystemTime::now(), self.store.get(key));
        let entry = entry.filter(|entry| question::suits(&entry.head(), request));
        if let Some(entry) = &entry {
            let here = self.here(entry, CacheStatus::Hit, None);
            if here.policy.is_fresh(now) {
                return Some(Found::Here(here));
            }
            if here.policy.may_stand_in(Instead::WhileAsking, now) {
                drop(self.ask(Question::again(key, path, entry)));
                return Some(Found::Here(here.into_stale(now)));
            }
        }
        if is_only_if_cached(&request.headers) {
            let answer = Answer::error(StatusCode::GATEWAY_TIMEOUT);
            return Some(Found::Answer(answer, CacheStatus::NotHere));
        }
        let asked = self.ask(match &entry {
            Some(entry) => Question::again(key, path, entry),
            None => Question::first(key, path, request),
        });
        let is_collapsed = !asked.is_first;
        let ended = asked.end(self.timeouts, times).await;
        self.ended(ended, entry, request, is_collapsed)
    }

    /// What the origin's answer makes of a request.
    fn ended(
        &self,
        ended: Ended,
        entry: Option<Arc<Entry>>,
        request: &Parts,
        is_collapsed: bool,
    ) -> Option<Found> {
        let was_here = entry.is_some();
        let said = |status: u16| {
            if was_here {
                CacheStatus::Revalidated { status, is_collapsed }
            } else {
                CacheStatus::Miss { status, is_collapsed }
            }
        };
        Some(match ended {
            Ended::Purged => return None,
            Ended::Here(entry, ..) if !question::suits(&entry.head(), request) => return None,
            Ended::Here(entry, status, object) => {
                Found::Here(self.here(&entry, said(status), object))
            }
            Ended::Moved(to) => {
                let status = StatusCode::TEMPORARY_REDIRECT;
                Found::Answer(Answer::redirect(status, to), said(status.as_u16()))
            }
            Ended::Says(status, fields) => {
                let mut answer = Answer::error(status);
                answer.headers.extend(fields);
                Found::Answer(answer, said(status.as_u16()))
            }
            // It was asked as by no one in particular.
            Ended::Relay(why, _) if request.headers.contains_key(COOKIE) => Found::Relay(why),
            Ended::Relay(why, small) => {
                let small = lock(&small).take().filter(|_| request.method == Method::GET);
                let status = CacheStatus::Relayed(why);
                small.map_or(Found::Relay(why), |answer| Found::Answer(answer, status))
            }
            Ended::Failed(status, said) => {
                let now = SystemTime::now();
                let stale = entry.map(|entry| self.here(&entry, CacheStatus::Failed, None));
                let may = |here: &Here| here.policy.may_stand_in(Instead::OfError, now);
                match stale.filter(may) {
                    Some(here) => Found::Here(here.into_stale(now)),
                    None => {
                        let mut answer = Answer::error(status);
                        answer.headers.extend(said);
                        Found::Answer(answer, CacheStatus::Failed)
                    }
                }
            }
        })
    }
}
