//! Whether a bucket's conditional writes hold, which is what keeps the writers of a log apart.
//!
//! Servers that look at a condition before they have the content, and do not look again when they
//! carry the write out, are right about one writer at a time and let several of many win. So they
//! are raced: writers that have sent half of their content, and the rest of it all at once.
//!
//! Source: Amazon S3 User Guide, "Conditional writes" (412, 409, 404).

mod race;
mod record;

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::time::{Duration, Instant};

use underpass::Source;
use underpass_client::{ClientError, Condition, Interrupt, Method, Range, Response};

use crate::bucket::Bucket;
use crate::origin::OriginAsk;

/// Rounds of each kind of race.
const ROUNDS: u32 = 8;

/// Rounds that may end without anybody who won.
const UNDECIDED_MAX: u32 = 8;

/// The content of each write, of which half is held back.
const LEN: usize = 2_048;

/// How long it is: so that the other half has come to the server, and whatever is before it.
const HOLD: [Duration; 2] = [Duration::from_millis(150), Duration::from_secs(2)];

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// What the server calls itself.
    pub server: String,
    /// Whether it was raced now, or some time before and that is written in the bucket.
    pub is_new: bool,
}

/// Why it is not known that conditional writes hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// They do not.
    #[error(
        "{bucket} at {host} (server: {server}): {what}: it cannot keep a log's writers apart; \
         use another"
    )]
    Refused {
        /// `s3://…`.
        bucket: String,
        /// Its server's address.
        host: String,
        /// What the server calls itself.
        server: String,
        /// What it did.
        what: String,
    },
    /// It could not be found out.
    #[error("{bucket} at {host}: {what}")]
    Unknown {
        /// `s3://…`.
        bucket: String,
        /// Its server's address.
        host: String,
        /// Why.
        what: String,
    },
    /// The bucket could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Bucket {
    /// Finds out whether conditional writes hold, by some seconds of writes beneath the prefix, or
    /// reads there that they did a while ago. For the start of a program; several may do so at a
    /// time. How long the server may do nothing is up to `interrupt`.
    ///
    /// # Errors
    ///
    /// [`ProbeError`].
    pub fn probe(&self, interrupt: &Interrupt) -> Result<Probed, ProbeError> {
        if let Some(server) = record::read(self, interrupt)? {
            return Ok(Probed { server, is_new: false });
        }
        let mut probe = Probe::of(self, interrupt);
        let found = probe.run();
        probe.clean();
        found?;
        record::write(self, &probe.server, interrupt)?;
        Ok(Probed { server: probe.server, is_new: true })
    }
}

/// One run of it.
struct Probe<'b> {
    bucket: &'b Bucket,
    interrupt: &'b Interrupt,
    /// That no other run writes to.
    directory: String,
    server: String,
    hold: Duration,
    /// What is taken away at the end.
    paths: Vec<String>,
    undecided: u32,
}

impl<'b> Probe<'b> {
    fn of(bucket: &'b Bucket, interrupt: &'b Interrupt) -> Self {
        let run = RandomState::new().hash_one(Instant::now());
        Self {
            bucket,
            interrupt,
            directory: format!("/underpass-probe/{run:016x}"),
            server: "not named".to_owned(),
            hold: HOLD[0],
            paths: Vec::new(),
            undecided: 0,
        }
    }

    fn run(&mut self) -> Result<(), ProbeError> {
        self.one_at_a_time()?;
        for round in 1..=ROUNDS {
            let mut is_won = false;
            while !is_won {
                // A write that failed may land yet.
                let path = self.path(&format!("create-{round}-{}", self.undecided));
                is_won = self.race(&path, "If-None-Match: *", round)?;
            }
        }
        let path = self.path("update");
        self.won(&path, "first", Condition::IfNoneMatch("*"))?;
        for round in 1..=ROUNDS {
            while !self.race(&path, "If-Match", round)? {}
        }
        Ok(())
    }

    /// What a server that knows conditions at all does right.
    fn one_at_a_time(&mut self) -> Result<(), ProbeError> {
        let (path, other) = (self.path("one"), self.path("none"));
        let began = Instant::now();
        let first = self.won(&path, "first", Condition::IfNoneMatch("*"))?;
        self.hold = (began.elapsed() * 4).clamp(HOLD[0], HOLD[1]);
        self.lost(&path, Condition::IfNoneMatch("*"), "If-None-Match: * of a key that is there")?;
        let second = self.won(&path, "second", Condition::IfMatch(&first))?;
        self.lost(&path, Condition::IfMatch(&first), "If-Match of a tag that is no more")?;
        self.lost(&other, Condition::IfMatch(&first), "If-Match of a key that is not there")?;
        match self.read(&path)? {
            Some((content, tag)) if content == padded("second") && tag == second => Ok(()),
            _ => Err(self.refused("what was put last was not what is there")),
        }
    }

    /// A write that must be carried out; its tag.
    fn won(
        &mut self,
        path: &str,
        content: &str,
        condition: Condition<'_>,
    ) -> Result<String, ProbeError> {
        let response = self.put(path, content, condition)?;
        if let Some(server) = response.head.field("server") {
            self.server = server.to_owned();
        }
        let is_update = matches!(condition, Condition::IfMatch(_));
        let name = if is_update { "If-Match" } else { "If-None-Match: *" };
        match (response.status, response.head.field("etag")) {
            (200..300, Some(tag)) => Ok(tag.to_owned()),
            (200..300, None) => Err(self.refused("its answer to a PUT has no ETag")),
            // Which is what a 403 comes as.
            (404, _) => Err(self.unknown(
                "these credentials may not write there: allow them s3:PutObject, s3:GetObject and \
                 s3:DeleteObject",
            )),
            (status @ (500 | 502.. | 409), _) => {
                Err(self.unknown(&format!("it answered {status} to a PUT; try again")))
            }
            (status, _) => {
                Err(self.refused(&format!("it answered {status} to a PUT with {name} that holds")))
            }
        }
    }

    /// A write that must not be.
    fn lost(&self, path: &str, condition: Condition<'_>, what: &str) -> Result<(), ProbeError> {
        match self.put(path, "another", condition)?.status {
            404 | 409 | 412 => Ok(()),
            200..300 => Err(self.refused(&format!("it carried out a PUT with {what}"))),
            status => Err(self.unknown(&format!("it answered {status} to a PUT; try again"))),
        }
    }

    fn put(
        &self,
        path: &str,
        content: &str,
        condition: Condition<'_>,
    ) -> Result<Response<'b>, ClientError> {
        self.bucket.put(path, Source::bytes(padded(content)), condition, self.interrupt)
    }

    /// What is there, with its tag.
    fn read(&self, path: &str) -> Result<Option<(Vec<u8>, String)>, ProbeError> {
        let get = OriginAsk {
            method: Method::Get,
            range: Range::Whole,
            condition: Condition::Always,
            fields: &[],
        };
        let mut response = self.bucket.ask(path, &get, self.interrupt)?;
        match response.status {
            200 => {}
            404 => return Ok(None),
            status => return Err(self.unknown(&format!("it answered {status} to a GET"))),
        }
        let tag = response.head.field("etag").unwrap_or_default().to_owned();
        let mut content = Vec::new();
        let read = (&mut response.body).take(LEN as u64 + 1).read_to_end(&mut content);
        read.map_err(|error| self.unknown(&format!("what was put cannot be read: {error}")))?;
        Ok(Some((content, tag)))
    }

    /// A path of this run's own.
    fn path(&mut self, name: &str) -> String {
        let path = format!("{}/{name}", self.directory);
        self.paths.push(path.clone());
        path
    }

    /// Best effort: what stays is small, and in the way of nothing.
    fn clean(&self) {
        for path in &self.paths {
            if let Err(error) = self.bucket.delete(path, Condition::Always, self.interrupt) {
                tracing::debug!("{path} stays: {error}");
            }
        }
    }

    fn refused(&self, what: &str) -> ProbeError {
        ProbeError::Refused {
            bucket: self.bucket.name(),
            host: self.bucket.host().to_owned(),
            server: self.server.clone(),
            what: what.to_owned(),
        }
    }

    fn unknown(&self, what: &str) -> ProbeError {
        ProbeError::Unknown {
            bucket: self.bucket.name(),
            host: self.bucket.host().to_owned(),
            what: what.to_owned(),
        }
    }
}

/// Content that begins with these words, and has the length of all.
fn padded(words: &str) -> Vec<u8> {
    let mut content = format!("{words}\n").into_bytes();
    content.resize(LEN, b'.');
    content
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
