//! What a bucket answers instead of what was asked for, as one line with the remedy.
//!
//! Source: Amazon S3 API Reference, "Error responses".

use std::time::{Duration, SystemTime};

use serde::Deserialize;

/// A refusal's content is less than this.
pub(crate) const BYTES_MAX: u64 = 64 << 10;

/// What a refusal says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    /// Where the bucket is.
    pub(crate) region: Option<String>,
}

/// What is known of a request that was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) bucket: &'a str,
    /// Of the server, with its port.
    pub(crate) host: &'a str,
    /// The region that it was signed for.
    pub(crate) region: &'a str,
    /// As whom it was asked.
    pub(crate) key_id: Option<&'a str>,
    pub(crate) now: SystemTime,
}

/// Codes of answers that are about the object: it is not there, or these credentials may not
/// tell whether it is.
const OF_OBJECTS: [&str; 5] =
    ["NoSuchKey", "AccessDenied", "KeyTooLongError", "NoSuchVersion", "MethodNotAllowed"];

impl Refusal {
    /// What the content of an answer says; nothing if it is not of the protocol.
    pub(crate) fn parse(content: &[u8]) -> Self {
        quick_xml::de::from_reader(content).unwrap_or_default()
    }

    /// Whether it is about the object and nothing that the operator could mend; without a code the
    /// status decides, as after a HEAD.
    pub(crate) fn is_of_the_object(&self, status: u16) -> bool {
        match self.code.as_str() {
            "" => matches!(status, 403..=405),
            code => OF_OBJECTS.contains(&code),
        }
    }

    /// Why, and what to do. `date` is the server's.
    pub(crate) fn reason(
        &self,
        status: u16,
        request: &Request<'_>,
        date: Option<SystemTime>,
    ) -> String {
        let Request { bucket, host, region, key_id, now } = *request;
        let key = key_id.unwrap_or("none");
        let elsewhere = self.region.as_deref().filter(|other| *other != region);
        let remedy = match self.code.as_str() {
            "RequestTimeTooSkewed" => return clock(host, now, date),
            "NoSuchBucket" => format!("there is no bucket '{bucket}': name another, or its server"),
            "AccessDenied" => format!("the key {key} may not do this"),
            "InvalidAccessKeyId" | "XAdminUserNotFound" => {
                format!("the key {key} is not known there: set AWS_ACCESS_KEY_ID, or its server")
            }
            "SignatureDoesNotMatch" => {
                format!("the secret is not that of the key {key}: set AWS_SECRET_ACCESS_KEY anew")
            }
            "ExpiredToken" | "TokenRefreshRequired" => {
                format!("the session token of the key {key} has expired: renew it, and start again")
            }
            "InvalidToken" => {
                format!("the session token is not that of the key {key}: set AWS_SESSION_TOKEN")
            }
            _ if let Some(other) = elsewhere => format!(
                "the bucket is in {other}, and was asked for in {region}: \
                 give ?region={other}, or AWS_REGION"
            ),
            _ => self.message.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        let code = if self.code.is_empty() { "without a reason" } else { &self.code };
        let colon = if remedy.is_empty() { "" } else { ": " };
        // What a server says is shown, not obeyed: no control characters, and not all of a book.
        let text = format!("{status} {code}{colon}{remedy}");
        text.chars().filter(|char| !char.is_control()).take(400).collect()
    }
}

/// Whose clock is wrong cannot be told; that of a server is looked after by more people.
fn clock(host: &str, now: SystemTime, date: Option<SystemTime>) -> String {
    let Some(date) = date else {
        return format!(
            "this machine's clock differs from {host}'s: signatures are refused; set it"
        );
    };
    let (apart, word) = match now.duration_since(date) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let apart = about(apart);
    format!("this machine's clock is {apart} {word} {host}'s: signatures are refused; set it")
}

fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(status: u16, content: &str, ahead: i64) -> String {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let apart = Duration::from_secs(ahead.unsigned_abs());
        let now = if ahead < 0 { date - apart } else { date + apart };
        let request = Request {
            bucket: "data",
            host: "s3.example",
            region: "us-east-1",
            key_id: Some("AKID"),
            now,
        };
        let refusal = Refusal::parse(content.as_bytes());
        assert!(!refusal.is_of_the_object(status), "{content}");
        refusal.reason(status, &request, Some(date))
    }

    fn document(code: &str, more: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error xmlns=\"http://s3.example/\">\
             <Code>{code}</Code><Message>It &lt;is\n so&gt;.</Message>{more}<HostId>x</HostId>\
             </Error>"
        )
    }

    #[test]
    fn each_refusal_is_a_line_with_the_remedy() {
        let region = "<Region>eu-west-1</Region>";
        for (status, code, more, line) in [
            (404, "NoSuchBucket", "", "there is no bucket 'data': name another, or its server"),
            (
                403,
                "InvalidAccessKeyId",
                "",
                "the key AKID is not known there: set AWS_ACCESS_KEY_ID, or its server",
            ),
            (
                403,
                "SignatureDoesNotMatch",
                "",
                "the secret is not that of the key AKID: set AWS_SECRET_ACCESS_KEY anew",
            ),
            (
                400,
                "ExpiredToken",
                "",
                "the session token of the key AKID has expired: renew it, and start again",
            ),
            (
                400,
                "AuthorizationHeaderMalformed",
                region,
                "the bucket is in eu-west-1, and was asked for in us-east-1: \
                 give ?region=eu-west-1, or AWS_REGION",
            ),
            (
                301,
                "PermanentRedirect",
                region,
                "the bucket is in eu-west-1, and was asked for in us-east-1: \
                 give ?region=eu-west-1, or AWS_REGION",
            ),
            (400, "Other", "", "It <is so>."),
        ] {
            let wanted = format!("{status} {code}: {line}");
            assert_eq!(reason(status, &document(code, more), 0), wanted);
        }
        assert_eq!(reason(400, "<html>no</html>", 0), "400 without a reason");
        assert_eq!(reason(400, "", 0), "400 without a reason");
        let long = reason(400, &document("Other", &"a\u{7}".repeat(99_999)), 0);
        assert!(long.len() < 500 && !long.contains('\u{7}'), "{long}");
    }

    #[test]
    fn a_wrong_clock_is_told_by_how_much_and_which_way() {
        for (ahead, apart) in [
            (17 * 60 + 3, "17 min ahead of"),
            (-17 * 60, "17 min behind"),
            (100, "100 s ahead of"),
            (90 * 60, "90 min ahead of"),
            (-3 * 3_600, "3 h behind"),
            (400 * 86_400, "400 days ahead of"),
        ] {
            let line = format!(
                "this machine's clock is {apart} s3.example's: signatures are refused; set it"
            );
            assert_eq!(reason(403, &document("RequestTimeTooSkewed", ""), ahead), line);
        }
    }

    #[test]
    fn an_object_that_is_not_there_is_no_fault_of_the_one_who_asks() {
        for (status, content) in [
            (404, document("NoSuchKey", "")),
            (403, document("AccessDenied", "")),
            (404, String::new()),
            (403, String::new()),
        ] {
            let refusal = Refusal::parse(content.as_bytes());
            assert!(refusal.is_of_the_object(status), "{status} {content}");
        }
    }
}
