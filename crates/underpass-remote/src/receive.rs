//! What a fill asks an origin for, and how it takes the bytes of the answer.
//!
//! Servers ignore conditions, so the validator and the length of every answer are compared before a
//! byte of it is taken: bytes of two generations must not be in one file.
//!
//! Source: RFC 9110 §13.1.1, §14.4, §15.3.7, §15.5.13.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use underpass_client::{
    Body, ClientError, Condition, Interrupt, Method, Range, Response, Validator, Woken,
};

use crate::drive::Ended;
use crate::entry::{Entry, Upstream};
use crate::error::ObjectError;
use crate::fill::{Fill, Step};
use crate::head::Head;
use crate::object::Object;
use crate::origin::OriginAsk;

/// Bytes are published when there are this many,
const PUBLISH_BYTES: usize = 64 << 10;

/// or when the first of them has waited so long.
const PUBLISH_AFTER: Duration = Duration::from_millis(4);

/// What is there is written down when this many bytes more have come.
const KEEP_EVERY: u64 = 64 << 20;

/// How much of the disk it has is looked at when this many bytes more have come.
const MEASURE_EVERY: u64 = 8 << 20;

/// A request without readers ends after this time,
const UNREAD_FOR: Duration = Duration::from_secs(5);

/// if this much or more is to come, and it is more than what is there.
const UNREAD_BYTES: u64 = 16 << 20;

impl Fill {
    /// Asks for what is missing of it.
    pub(crate) fn request(&mut self, upstream: &Upstream, io: (&mut [u8], &Interrupt)) -> Ended {
        loop {
            match self.next() {
                Ok(Step::Skip(n)) => self.skip(n),
                Ok(Step::Take(_)) => break,
                Ok(Step::End) => return Ended::Done,
                Err(why) => return Ended::Lost(why),
            }
        }
        let (entry, origin) = (&upstream.entry, &upstream.origin);
        if !can_resume(entry) && self.object().has_some() {
            return Ended::Lost(ObjectError::Left);
        }
        let (head, range) = (entry.head(), self.range());
        let Some(path) = origin.path(entry.key()) else {
            let what = "it is of another origin".to_owned();
            return Ended::Lost(ObjectError::Origin(what));
        };
        let tag = head.strong().map(|tag| tag.write());
        let condition = tag.as_deref().map_or(Condition::Always, Condition::IfMatch);
        let last = (range.end < self.object().len()).then(|| range.end - 1);
        let asked = if tag.is_some() && (range.start > 0 || last.is_some()) {
            Range::From { first: range.start, last }
        } else {
            Range::Whole
        };
        let fields: Vec<_> = head
            .asked
            .iter()
            .filter_map(|(name, value)| format!("{name}: {value}").parse().ok())
            .collect();
        let ask = OriginAsk { method: Method::Get, range: asked, condition, fields: &fields };
        let began = Instant::now();
        match origin.ask(path, &ask, io.1) {
            Ok(response) => {
                self.object().state().origin.round_trip =
                    began.elapsed().max(Duration::from_millis(20));
                self.receive(response, upstream, io)
            }
            Err(error) => Ended::Broken(told(&error)),
        }
    }

    /// Takes the bytes of an answer, if it is one of this generation.
    pub(crate) fn receive(
        &mut self,
        response: Response<'_>,
        upstream: &Upstream,
        (buffer, interrupt): (&mut [u8], &Interrupt),
    ) -> Ended {
        let status = response.status;
        match status {
            200 | 203 | 206 => {}
            408 | 429 | 500.. => return Ended::Broken(ObjectError::Refused { status }),
            412 | 416 => return Ended::Lost(ObjectError::Replaced),
            _ => return Ended::Lost(ObjectError::Refused { status }),
        }
        let mut body = response.body;
        let head = upstream.entry.head();
        if !is_same(&body, &head) {
            return Ended::Lost(ObjectError::Replaced);
        }
        if body.place.at > self.range().start {
            let (asked, came) = (self.range().start, body.place.at);
            let what = format!("byte {asked} was asked for, and byte {came} came first");
            return Ended::Lost(ObjectError::Origin(what));
        }
        if body.is_range && head.strong().is_some() {
            self.object().state().origin.has_ranges = true;
        }
        let before = self.range().start - body.place.at;
        match skip(&mut body, before, buffer).and_then(|()| self.take_all(body, buffer, interrupt))
        {
            Ok(ended) => ended,
            Err(error) => self.broken_off(&error, interrupt),
        }
    }

    /// What becomes of it if it may not have its thread any longer.
    fn must_wait(&mut self, entry: &Entry, object: &Object) -> Option<Ended> {
        let missing = self.range().end - self.range().start;
        if self.keeps_thread(entry, missing) {
            return None;
        }
        let can_ask_anew = can_resume(entry) || !object.has_some();
        Some(if can_ask_anew { Ended::Waits } else { Ended::Lost(ObjectError::Busy) })
    }

    fn broken_off(&self, error: &io::Error, interrupt: &Interrupt) -> Ended {
        if interrupt.signal().is_some() {
            return Ended::Left;
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            let (promised, came) = (self.range().end, self.range().start);
            return Ended::Broken(ObjectError::Short { promised, came, tries: 1 });
        }
        Ended::Broken(ObjectError::Origin(error.to_string()))
    }

    fn take_all(
        &mut self,
        mut body: Body<'_>,
        buffer: &mut [u8],
        interrupt: &Interrupt,
    ) -> io::Result<Ended> {
        let object = Arc::clone(self.object());
        let Some(Upstream { entry, .. }) = object.upstream() else { return Ok(Ended::Left) };
        let socket = body.socket()?;
        let (mut kept, mut measured) = (self.range().start, self.range().start);
        loop {
            if let Some(ended) = self.must_wait(entry, &object) {
                return Ok(ended);
            }
            match self.next() {
                Ok(Step::End) => return Ok(Ended::Done),
                Err(why) => return Ok(Ended::Lost(why)),
                Ok(Step::Skip(n)) => {
                    skip(&mut body, n, buffer)?;
                    entry.count_received(n);
                    self.skip(n);
                }
                Ok(Step::Take(room)) => {
                    let len = usize::try_from(room).unwrap_or(usize::MAX).min(buffer.len());
                    let (n, error) = gather(&mut body, &mut buffer[..len], (&socket, interrupt));
                    entry.count_received(n as u64);
                    if n > 0
                        && let Err(why) = self.take(&buffer[..n])
                    {
                        return Ok(Ended::Lost(why));
                    }
                    if let Some(error) = error {
                        return Err(error);
                    }
                }
            }
            let at = self.range().start;
            if at - kept >= KEEP_EVERY {
                kept = at;
                if let Err(error) = entry.keep(&object) {
                    tracing::warn!("{}: what came of it is not kept: {error}", entry.key());
                }
            }
            if at - measured >= MEASURE_EVERY {
                measured = at;
                entry.measure(object.file());
                entry.store().inspect(|store| store.make_room());
            }
            let missing = self.range().end - at;
            if missing > UNREAD_BYTES && missing > at && object.unread() > UNREAD_FOR {
                return Ok(Ended::Left);
            }
        }
    }
}

/// Bytes until there are enough or the first has waited long enough; and why no more come.
fn gather(
    body: &mut Body<'_>,
    into: &mut [u8],
    (socket, interrupt): (&OwnedFd, &Interrupt),
) -> (usize, Option<io::Error>) {
    let (mut n, mut until) = (0, None);
    while n < into.len() && n < PUBLISH_BYTES {
        match body.read(&mut into[n..]) {
            Ok(0) => return (n, Some(io::ErrorKind::UnexpectedEof.into())),
            Ok(more) => n += more,
            Err(error) => return (n, Some(error)),
        }
        let until = *until.get_or_insert_with(|| Instant::now() + PUBLISH_AFTER);
        if body.remaining() == Some(0) || n >= PUBLISH_BYTES {
            break;
        }
        match interrupt.wait(&[(socket.as_fd(), PollFlags::IN)], Some(until)) {
            Ok(Woken::Ready) if Instant::now() < until => {}
            Ok(_) => break,
            Err(errno) => return (n, Some(errno.into())),
        }
    }
    (n, None)
}

fn skip(body: &mut Body<'_>, mut n: u64, buffer: &mut [u8]) -> io::Result<()> {
    while n > 0 {
        let len = usize::try_from(n).unwrap_or(usize::MAX).min(buffer.len());
        match body.read(&mut buffer[..len])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            came => n -= came as u64,
        }
    }
    Ok(())
}

/// Whether an answer can be of the generation with this head. Without a strong tag that is not
/// certain, and one answer alone makes the object.
fn is_same(body: &Body<'_>, head: &Head) -> bool {
    let known = head.field("etag").or_else(|| head.field("last-modified")).map(Validator::read);
    let is_tagged = match (known, &body.validator) {
        (Some(known), Some(found)) => {
            known.matches(found) && (head.strong().is_none() || found.is_strong())
        }
        (Some(_), None) => head.strong().is_none(),
        (None, _) => true,
    };
    // An answer in chunks has no length; its bytes are counted.
    let is_long = match body.total {
        Some(total) => total == head.len,
        None => !body.is_range,
    };
    is_tagged && is_long
}

/// Whether the rest of an answer can be asked for: other bytes could be told from it.
pub(crate) fn can_resume(entry: &Entry) -> bool {
    entry.head().strong().is_some()
}

fn told(error: &ClientError) -> ObjectError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text += &format!(": {source}");
        cause = source.source();
    }
    ObjectError::Origin(text)
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
