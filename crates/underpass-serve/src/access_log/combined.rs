//! Lines in the combined format.
//!
//! Source: Apache HTTP Server, mod_log_config ("combined", "Security Considerations").

use http::header::{REFERER, USER_AGENT};
use http::request::Parts;

use super::{Line, Requested, append, target, version};

pub(super) fn format(lines: &mut Vec<u8>, second: &str, line: &Line<'_>) {
    match line.client {
        Some(client) => append(lines, format_args!("{client}")),
        None => lines.push(b'-'),
    }
    lines.extend_from_slice(b" - ");
    user(lines, line.user);
    append(lines, format_args!(" [{second}] \""));
    match line.request {
        Requested::Head(head) => request_line(lines, head),
        Requested::Line(text) => escape(lines, text),
    }
    append(lines, format_args!("\" {} {} \"", line.status.as_str(), line.content_bytes));
    field(lines, line.request.field(&REFERER));
    lines.extend_from_slice(b"\" \"");
    field(lines, line.request.field(&USER_AGENT));
    lines.push(b'"');
}

/// With its spaces escaped too: it is a column.
fn user(lines: &mut Vec<u8>, user: Option<&str>) {
    let user = user.filter(|user| !user.is_empty()).unwrap_or("-");
    for (nth, word) in user.split(' ').enumerate() {
        lines.extend_from_slice(if nth == 0 { b"" } else { b"\\x20" });
        escape(lines, word.as_bytes());
    }
}

fn request_line(lines: &mut Vec<u8>, request: &Parts) {
    escape(lines, request.method.as_str().as_bytes());
    lines.push(b' ');
    escape(lines, target(&request.uri).as_bytes());
    lines.push(b' ');
    lines.extend_from_slice(version(request.version).as_bytes());
}

fn field(lines: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) if !value.is_empty() => escape(lines, value),
        _ => lines.push(b'-'),
    }
}

/// Control bytes, quotes, backslashes and what is not ASCII become `\xHH`.
fn escape(lines: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        if matches!(byte, b'"' | b'\\') || !(b' '..=b'~').contains(&byte) {
            append(lines, format_args!("\\x{byte:02X}"));
        } else {
            lines.push(byte);
        }
    }
}
