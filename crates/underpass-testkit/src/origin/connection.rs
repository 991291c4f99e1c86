//! The requests of one connection and what they are answered.

use std::io::{self, BufReader, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::answer::Answer;
use super::fault::{Fault, Stop};
use super::object::{Framing, GRAIN, Object};
use super::request::Request;
use super::state::Shared;
use super::wire::Wire;

/// Answers until the client leaves, or an answer ends the connection.
pub(super) fn serve(shared: &Shared, wire: &mut BufReader<Wire>, number: usize) -> io::Result<()> {
    while let Some(mut request) = Request::read(wire, number)? {
        let (faults, script) = {
            let mut state = shared.state();
            request.number = state.requests.len();
            state.requests.push(request.clone());
            state.faults(&request)
        };
        let scripted = script.map(|script| script(&request)).unwrap_or_default();
        let faults = [faults, scripted].concat();
        let turn = Turn { shared, request: &request, faults };
        if !turn.answer(wire.get_mut())? {
            break;
        }
    }
    Ok(())
}

/// A request and what goes wrong with its answer.
struct Turn<'a> {
    shared: &'a Shared,
    request: &'a Request,
    faults: Vec<Fault>,
}

impl Turn<'_> {
    /// Answers, and says whether the connection may have a next request.
    fn answer(&self, wire: &mut Wire) -> io::Result<bool> {
        let latency = self.shared.state().latency;
        if latency > Duration::ZERO {
            self.shared.wait_until(Instant::now() + latency);
        }
        if self.has(&Fault::Stall) {
            self.shared.stall();
        }
        if self.has(&Fault::Reset) {
            wire.will_reset()?;
            return Ok(false);
        }
        let object = self.object();
        let mut answer = self.right_answer(&object);
        if self.request.is_old() && answer.framing == Framing::Chunked {
            answer.framing = Framing::UntilClose;
        }
        let is_last = self.is_last(&answer);
        let head = self.head(&answer, is_last);
        if self.has(&Fault::ResetInHead) {
            wire.write_all(&head.as_bytes()[..head.len() / 2])?;
            wire.will_reset()?;
            return Ok(false);
        }
        wire.write_all(head.as_bytes())?;
        let is_whole = match self.request.method.as_str() {
            "HEAD" => true,
            _ => self.send(wire, &object, &answer)?,
        };
        wire.flush()?;
        if is_whole && is_last {
            wire.finish();
        }
        Ok(is_whole && !is_last)
    }

    /// What is answered with: what is there, or a line about it.
    fn object(&self) -> Arc<Object> {
        let mut state = self.shared.state();
        let there = state.object(&self.request.target);
        let status = self.faults.iter().find_map(Fault::status);
        match (status, there) {
            (None, Some(_)) if !["GET", "HEAD"].contains(&self.request.method.as_str()) => {
                line(405)
            }
            (None, Some(object)) if self.has(&Fault::Another) => {
                state.another(&self.request.target, Object::clone(&object))
            }
            (None, Some(object)) => object,
            (status, _) => line(status.unwrap_or(404)),
        }
    }

    fn right_answer(&self, object: &Object) -> Answer {
        let ignores = self.has(&Fault::IgnoreConditions) || self.has(&Fault::Another);
        let has_ranges = !self.has(&Fault::IgnoreRange);
        let mut answer = Answer::of(self.request, object, !ignores, has_ranges);
        for fault in &self.faults {
            if let Fault::Framed(framing) = fault {
                answer.framing = *framing;
            } else if let Fault::ContentRange(said) = fault {
                answer.fields.retain(|(name, _)| name != "Content-Range");
                answer.fields.push(("Content-Range".to_owned(), said.clone()));
            } else if let Fault::Field(name, value) = fault {
                answer.fields.push((name.clone(), value.clone()));
            }
        }
        answer
    }

    /// Whether the connection ends with this answer.
    fn is_last(&self, answer: &Answer) -> bool {
        let has_lie = self.faults.iter().find_map(Fault::length).is_some();
        has_lie || answer.framing == Framing::UntilClose || self.request.is_last()
    }

    fn head(&self, answer: &Answer, is_last: bool) -> String {
        let lie = self.faults.iter().find_map(Fault::length);
        let len = lie.unwrap_or(answer.content.end - answer.content.start);
        let date = httpdate::fmt_http_date(SystemTime::now());
        let reason = if answer.status < 400 { "OK" } else { "Error" };
        let mut head = format!("HTTP/1.1 {} {reason}\r\nDate: {date}\r\n", answer.status);
        for (name, value) in &answer.fields {
            head += &format!("{name}: {value}\r\n");
        }
        match answer.framing {
            _ if answer.status == 304 => {}
            Framing::Length => head += &format!("Content-Length: {len}\r\n"),
            Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
            Framing::UntilClose => {}
        }
        if is_last {
            head += "Connection: close\r\n";
        }
        head + "\r\n"
    }

    /// Sends the content, and says whether all of it went.
    fn send(&self, wire: &mut Wire, object: &Object, answer: &Answer) -> io::Result<bool> {
        let Range { start, end } = answer.content;
        let mut at = start;
        let mut stops: Vec<_> = self.faults.iter().filter_map(Fault::stop).collect();
        stops.sort_by_key(|(sent, _)| *sent);
        for (sent, stop) in stops.into_iter().filter(|(sent, _)| *sent <= end - start) {
            self.send_range(wire, object, answer, at..start + sent)?;
            at = start + sent;
            wire.flush()?;
            match stop {
                Stop::Stall => self.shared.stall(),
                Stop::Replace => {
                    let next = object.clone();
                    self.shared.change(|state| drop(state.put(&self.request.target, next)));
                }
                Stop::Reset => return wire.will_reset().map(|()| false),
                Stop::Cut => return Ok(false),
            }
        }
        self.send_range(wire, object, answer, at..end)?;
        if answer.framing == Framing::Chunked && answer.status != 304 {
            wire.write_all(b"0\r\n\r\n")?;
        }
        Ok(true)
    }

    fn send_range(
        &self,
        wire: &mut Wire,
        object: &Object,
        answer: &Answer,
        range: Range<u64>,
    ) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let piece = object.piece(at..range.end);
            let len = piece.len() as u64;
            self.shared.pace(len.min(GRAIN));
            if answer.framing == Framing::Chunked {
                wire.write_all(format!("{len:x}\r\n").as_bytes())?;
            }
            wire.write_all(piece)?;
            if answer.framing == Framing::Chunked {
                wire.write_all(b"\r\n")?;
            }
            at += len;
            self.shared.state().content_bytes += len;
        }
        Ok(())
    }

    fn has(&self, fault: &Fault) -> bool {
        self.faults.contains(fault)
    }
}

/// A line of text in place of an object.
fn line(status: u16) -> Arc<Object> {
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let object = Object::of(format!("{status}\n")).status(status).etag(None).modified(before);
    Arc::new(object.without_ranges())
}
