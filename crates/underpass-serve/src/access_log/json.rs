//! Lines that are JSON objects. Each has all keys, in the same order; what there is not is null.
//!
//! Source: RFC 8259; RFC 3339 §5.6.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{HOST, REFERER, USER_AGENT};

use super::{Line, Requested, append, target, version};
use crate::account::METHODS;

pub(super) fn format(lines: &mut Vec<u8>, second: &str, line: &Line<'_>) {
    let millis = line.time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis();
    let second = second.trim_end_matches('Z');
    append(lines, format_args!("{{\"time\":\"{second}.{millis:03}Z\",\"client\":"));
    match line.client {
        Some(client) => append(lines, format_args!("\"{client}\"")),
        None => lines.extend_from_slice(b"null"),
    }
    key(lines, "user", line.user.map(str::as_bytes));
    request(lines, &line.request);
    append(lines, format_args!(",\"status\":{}", line.status.as_str()));
    append(lines, format_args!(",\"bytes\":{},\"sent\":{{", line.content_bytes));
    for (nth, (method, bytes)) in METHODS.iter().zip(line.account.bytes).enumerate() {
        let comma = if nth == 0 { "" } else { "," };
        append(lines, format_args!("{comma}\"{method}\":{bytes}"));
    }
    let account = &line.account;
    append(lines, format_args!("}},\"cold_waits\":{}", account.cold_waits));
    append(lines, format_args!(",\"cold_ms\":{}", Millis(account.cold_time)));
    append(lines, format_args!(",\"fallbacks\":{}", account.fallbacks));
    match account.errno {
        Some(errno) => {
            append(lines, format_args!(",\"errno\":\"{}\"", crate::metrics::name(errno)));
        }
        None => lines.extend_from_slice(b",\"errno\":null"),
    }
    key(lines, "cut", line.cut.map(|cut| cut.name().as_bytes()));
    key(lines, "cache", line.cached.map(|cached| cached.result.as_bytes()));
    time(lines, "origin_ms", line.cached.and_then(|cached| cached.origin));
    time(lines, "waited_ms", line.cached.and_then(|cached| cached.waited));
    append(lines, format_args!(",\"ms\":{}}}", Millis(line.took)));
}

/// What was asked for. What is not a request has its first line as the target.
fn request(lines: &mut Vec<u8>, request: &Requested<'_>) {
    let (method, whole, protocol) = match *request {
        Requested::Head(head) => (
            Some(head.method.as_str().as_bytes()),
            target(&head.uri).into_owned().into_bytes(),
            Some(version(head.version).as_bytes()),
        ),
        Requested::Line(text) => (None, text.to_vec(), None),
    };
    key(lines, "method", method);
    key(lines, "target", Some(&whole));
    key(lines, "protocol", protocol);
    let of_target = match request {
        Requested::Head(head) => head.uri.authority().map(|it| it.as_str().as_bytes()),
        Requested::Line(_) => None,
    };
    key(lines, "host", of_target.or_else(|| request.field(&HOST)));
    key(lines, "referer", request.field(&REFERER));
    key(lines, "user_agent", request.field(&USER_AGENT));
}

fn key(lines: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    append(lines, format_args!(",\"{name}\":"));
    match value {
        Some(value) => string(lines, value),
        None => lines.extend_from_slice(b"null"),
    }
}

fn time(lines: &mut Vec<u8>, name: &str, time: Option<Duration>) {
    match time {
        Some(time) => append(lines, format_args!(",\"{name}\":{}", Millis(time))),
        None => append(lines, format_args!(",\"{name}\":null")),
    }
}

/// Control characters become `\uHHHH`, those past ASCII too, and what is not UTF-8 U+FFFD.
fn string(lines: &mut Vec<u8>, value: &[u8]) {
    lines.push(b'"');
    for character in String::from_utf8_lossy(value).chars() {
        match character {
            '"' | '\\' => append(lines, format_args!("\\{character}")),
            _ if character.is_control() => {
                append(lines, format_args!("\\u{:04x}", u32::from(character)));
            }
            _ => append(lines, format_args!("{character}")),
        }
    }
    lines.push(b'"');
}

/// Milliseconds with three digits after the point.
struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}
