//! The thread that looks at groups when it is time to: sessions that are over, rebalances that have
//! waited long enough, offsets that have been kept long enough.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::coordinator::Shared;
use super::expiry;
use super::group::Group;
use crate::time;

/// As Kafka's `offsets.retention.check.interval.ms`.
const EXPIRY_EVERY: Duration = Duration::from_secs(600);

impl Shared {
    /// Looks at groups when it is time to, until the end.
    pub(super) fn keep_time(&self) {
        let mut expire_at = Instant::now() + EXPIRY_EVERY;
        let mut state = self.lock();
        while !state.is_closed {
            while let Some(name) = state.roster.take_alarm(self.now()) {
                self.act_in(&mut state, &name, Group::tick);
            }
            if Instant::now() >= expire_at {
                drop(state);
                self.expire();
                expire_at = Instant::now() + EXPIRY_EVERY;
                state = self.lock();
                continue;
            }
            let alarm = state.roster.next_alarm();
            let alarm = alarm.map(|due| Duration::from_millis(due.saturating_sub(self.now())));
            let pause = expire_at.saturating_duration_since(Instant::now());
            let pause = alarm.map_or(pause, |alarm| alarm.min(pause));
            let waited = self.reset.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Forgets groups without members, and in time their offsets.
    fn expire(&self) {
        let mut names: Vec<String> = {
            let state = self.lock();
            let vacant = state.roster.iter().filter(|(_, group)| group.is_vacant());
            vacant.map(|(name, _)| name.to_owned()).collect()
        };
        names.extend(self.journal.offsets().groups().map(|(name, _)| name.to_owned()));
        for name in names {
            let mut state = self.lock();
            let entry = {
                let offsets = self.journal.offsets();
                let Some(kept) = offsets.group(&name) else { continue };
                let written = kept.generation.as_ref().map(|last| last.number);
                // Its last generation may have yet to be written.
                let goes_on =
                    |group: &Group| !group.is_vacant() || Some(group.generation()) != written;
                if state.roster.get(&name).is_some_and(goes_on) {
                    continue;
                }
                expiry::expired(&name, kept, self.began_ms, self.retention, time::now())
            };
            state.roster.remove(&name);
            if let Some(entry) = entry {
                drop(self.journal.submit(entry));
            }
        }
    }
}
