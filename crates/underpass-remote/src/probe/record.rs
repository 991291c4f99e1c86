//! What is written in a bucket of a probe that went well, so that not each start makes one.

use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use underpass::Source;
use underpass_client::{ClientError, Condition, Interrupt, Method, Range};

use super::ProbeError;
use crate::bucket::Bucket;
use crate::origin::OriginAsk;

const PATH: &str = "/underpass-probe.json";

/// How long it is believed: servers are updated.
const BELIEVED_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);

const BYTES_MAX: u64 = 4_096;

const FORMAT: u32 = 1;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    format: u32,
    server: String,
    /// Which one: a copy of the bucket is elsewhere.
    host: String,
    /// Seconds since 1970.
    probed: u64,
}

/// The name of the server of which it is known.
pub(super) fn read(bucket: &Bucket, interrupt: &Interrupt) -> Result<Option<String>, ProbeError> {
    let get = OriginAsk {
        method: Method::Get,
        range: Range::Whole,
        condition: Condition::Always,
        fields: &[],
    };
    let mut response = bucket.ask(PATH, &get, interrupt)?;
    let server = response.head.field("server").unwrap_or("not named").to_owned();
    let mut content = Vec::new();
    let read = (&mut response.body).take(BYTES_MAX).read_to_end(&mut content);
    if response.status != 200 || read.is_err() {
        return Ok(None);
    }
    let record = serde_json::from_slice::<Record>(&content).ok();
    let record = record.filter(|it| it.is_of(&server, bucket.host(), now()));
    Ok(record.map(|it| it.server))
}

pub(super) fn write(
    bucket: &Bucket,
    server: &str,
    interrupt: &Interrupt,
) -> Result<(), ClientError> {
    let (server, host) = (server.to_owned(), bucket.host().to_owned());
    let record = Record { format: FORMAT, server, host, probed: now().as_secs() };
    let content = serde_json::to_vec(&record).unwrap_or_default();
    bucket.put(PATH, Source::bytes(content), Condition::Always, interrupt).map(drop)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Record {
    fn is_of(&self, server: &str, host: &str, now: Duration) -> bool {
        let age = now.as_secs().checked_sub(self.probed);
        self.format == FORMAT
            && (self.server.as_str(), self.host.as_str()) == (server, host)
            && age.is_some_and(|age| age < BELIEVED_FOR.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_one_server_and_for_a_while() {
        let record = Record { format: 1, server: "s".into(), host: "h:1".into(), probed: 1_000 };
        let at = |server, host, seconds| record.is_of(server, host, Duration::from_secs(seconds));
        let last = 1_000 + 30 * 86_400 - 1;
        assert!(at("s", "h:1", 1_000) && at("s", "h:1", last));
        assert!(!at("s", "h:1", last + 1) && !at("s", "h:1", 999));
        assert!(!at("s 2", "h:1", 1_000) && !at("s", "h:2", 1_000));
        assert!(!Record { format: 2, ..record }.is_of("s", "h:1", Duration::from_secs(1_000)));
    }
}
