//! What a fill does from its first answer to its end: it asks for the rest of one that breaks off,
//! and writes down what came.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use underpass_client::{Interrupt, Response, Woken};

use crate::checksum;
use crate::entry::{Entry, Upstream};
use crate::error::ObjectError;
use crate::fill::Fill;
use crate::object::Object;
use crate::origin::Origin;
use crate::receive::can_resume;
use crate::tags;
use crate::threads::Length;
use crate::turn::Turn;

/// What is received before it is written.
const BUFFER_BYTES: usize = 256 << 10;

/// How long to wait before the rest of an answer is asked for.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];

/// How an answer ended.
pub(crate) enum Ended {
    /// All that was needed of it came.
    Done,
    /// It broke off, or there was none: the rest may be asked for.
    Broken(ObjectError),
    /// Nothing more of this object will come.
    Lost(ObjectError),
    /// It has no reader, or the program ends.
    Left,
    /// Others have its thread now: the rest is to be asked for when it has one again.
    Waits,
}

impl Fill {
    /// Takes the bytes of an answer to what this fill was begun for, and of further ones if it
    /// breaks off. Returns when all that is needed came, or nothing more comes, or when the rest
    /// will be asked for by another thread because there are too many fills for all to run.
    pub fn run(self, response: Response<'_>, interrupt: &Interrupt) {
        self.drive(interrupt, |fill, upstream, buffer| {
            fill.receive(response, upstream, (buffer, interrupt))
        });
    }

    /// Asks for its bytes and takes them, if they are not there by now.
    pub(crate) fn ask(mut self, interrupt: &Interrupt) {
        self.fail(None);
        self.drive(interrupt, |fill, upstream, buffer| fill.request(upstream, (buffer, interrupt)));
    }

    fn drive(
        mut self,
        interrupt: &Interrupt,
        first: impl FnOnce(&mut Self, &Upstream, &mut [u8]) -> Ended,
    ) {
        let object = Arc::clone(self.object());
        let Some(upstream) = object.upstream() else { return };
        self.turn = Turn::begin();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut before = self.range().start;
        let mut ended = first(&mut self, upstream, &mut buffer);
        let mut tries = 0;
        while let Ended::Broken(why) = ended {
            if self.range().start > before {
                tries = 0;
            }
            let Some(pause) = PAUSES.get(tries).filter(|_| can_resume(&upstream.entry)) else {
                ended = self.broken(&upstream.entry, why);
                break;
            };
            // What breaks off may do so for long.
            if !self.keeps_thread(&upstream.entry, u64::MAX) {
                ended = Ended::Waits;
                break;
            }
            tracing::debug!("{}: {why}; it is asked again", upstream.entry.key());
            if !matches!(interrupt.wait(&[], Some(Instant::now() + *pause)), Ok(Woken::Due)) {
                ended = Ended::Left;
                break;
            }
            (before, tries) = (self.range().start, tries + 1);
            ended = self.request(upstream, (&mut buffer, interrupt));
        }
        if let Ended::Waits = ended {
            self.wait(&upstream.entry);
        } else {
            self.end(&upstream.entry, ended);
        }
    }

    /// Whether it may have its thread for this much more.
    pub(crate) fn keeps_thread(&mut self, entry: &Entry, missing: u64) -> bool {
        let store = entry.store();
        store.is_none_or(|store| self.turn.lasts(missing, can_resume(entry), &store))
    }

    /// Waits for a thread, to ask for what is missing.
    fn wait(mut self, entry: &Entry) {
        tracing::debug!("{}: others are taken first", entry.key());
        self.forget_rate();
        // What it says if no thread takes it.
        self.fail(Some(ObjectError::Busy));
        if let Some(store) = entry.store() {
            store.take_turn(Length::Long, self);
        }
    }

    /// The answer broke off, and the rest will not be asked for any more by this fill.
    fn broken(&mut self, entry: &Entry, why: ObjectError) -> Ended {
        if !can_resume(entry) {
            // Another answer may be of another generation.
            return Ended::Lost(why);
        }
        self.fail(Some(why.clone()));
        Ended::Broken(why)
    }

    /// Writes down what came, before those who wait look what to do.
    fn end(self, entry: &Arc<Entry>, ended: Ended) {
        let object = self.object();
        match ended {
            Ended::Lost(why) => {
                tracing::warn!("{}: {why}", entry.key());
                if let (ObjectError::Disk(Errno::NOSPC | Errno::DQUOT), Some(store)) =
                    (&why, entry.store())
                {
                    store.make_room_for(object.len());
                }
                entry.leave(Some(why));
            }
            Ended::Broken(why) => tracing::warn!("{}: {why}", entry.key()),
            // The rest of another answer may be of another generation.
            Ended::Done | Ended::Left if !can_resume(entry) && !object.is_whole() => {
                entry.leave(Some(ObjectError::Left));
            }
            Ended::Done | Ended::Left | Ended::Waits => {}
        }
        let kept = if object.is_whole() && !entry.is_whole() {
            prove(entry, object)
        } else {
            entry.keep(object)
        };
        if let Err(error) = kept {
            tracing::warn!("{}: what came of it is not kept: {error}", entry.key());
        }
        if let Some(store) = entry.store() {
            store.make_room();
        }
    }
}

fn prove(entry: &Arc<Entry>, object: &Object) -> io::Result<()> {
    match compare(entry, object) {
        Ok(()) => entry.finish(object),
        Err(ObjectError::Disk(errno)) => Err(errno.into()),
        Err(why) => {
            tracing::warn!("{}: {why}: it is not stored", entry.key());
            entry.leave(None);
            Ok(())
        }
    }
}

/// Whether its bytes are what the origin said.
fn compare(entry: &Entry, object: &Object) -> Result<(), ObjectError> {
    let head = entry.head();
    if checksum::of(&head, object.file(), &object.kept())? {
        return Ok(());
    }
    let is_bucket = object.upstream().is_some_and(|up| matches!(*up.origin, Origin::Bucket(_)));
    let Some(tag) = tags::digest_of(&head).filter(|_| is_bucket) else { return Ok(()) };
    let found = checksum::md5(object.file(), object.len())?;
    entry.store().map_or(Ok(()), |store| store.tags.compare(entry.key(), tag, found))
}
