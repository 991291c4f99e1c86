//! Deleting what is older or more than a topic keeps.
//!
//! Source: Kafka's `log.retention.check.interval.ms`.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::Topics;
use crate::chain::Chain;
use crate::partition::{Partition, Status};
use crate::time::now;

/// A thread that looks at all logs now and then, until this is dropped.
#[derive(Debug)]
pub(crate) struct Retention {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    is_asked: Mutex<bool>,
    asked: Condvar,
}

impl Stop {
    /// Waits; whether it was asked to stop.
    fn wait(&self, period: Duration) -> bool {
        let is_asked = self.is_asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.asked.wait_timeout_while(is_asked, period, |is_asked| !*is_asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn ask(&self) {
        *self.is_asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.asked.notify_all();
    }
}

impl Retention {
    /// Looks once each period.
    pub(crate) fn start(topics: Arc<Topics>, every: Duration) -> io::Result<Self> {
        let stop = Arc::<Stop>::default();
        let until = Arc::clone(&stop);
        let thread = Builder::new().name("retention".into()).spawn(move || {
            while !until.wait(every) {
                topics.retain(now());
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Retention {
    fn drop(&mut self) {
        self.stop.ask();
        if let Some(thread) = self.thread.take() {
            // A panic there has said so.
            drop(thread.join());
        }
    }
}

impl Topics {
    /// Deletes segments whose time is over, and what is more than a partition keeps.
    pub(crate) fn retain(&self, now: i64) {
        for topic in self.list() {
            topic.partitions().iter().for_each(|partition| retain(partition, now));
        }
    }
}

fn retain(partition: &Partition, now: i64) {
    if partition.status() != Status::Online {
        return;
    }
    let learnt = partition.reader().learn_times();
    let retained = learnt.and_then(|()| partition.log().retain(now, partition.high_watermark()));
    // The log's lock is released before files are unlinked.
    let deleted = retained.and_then(|retained| {
        let count = (retained.segments, retained.bytes);
        retained.unlink().map(|()| count)
    });
    match deleted {
        Ok((0, _)) => {}
        Ok((segments, bytes)) => {
            tracing::info!("{partition}: deleted {segments} segments of {bytes} bytes");
        }
        Err(error) => tracing::error!("{partition}: old segments stay: {}", Chain(&error)),
    }
}
