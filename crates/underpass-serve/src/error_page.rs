//! The content of answers that carry no file: one or two lines of plain text.
//!
//! They are the same for every client and never repeat anything of the request, so there is
//! nothing to escape.
//!
//! Source: RFC 9110 §15 (status codes).

use http::StatusCode;

/// The text for a status: code, reason and, where it helps, what to do about it.
#[must_use]
pub(crate) fn text(status: StatusCode) -> &'static str {
    match status.as_u16() {
        308 => "308 Permanent Redirect\n",
        400 => {
            "400 Bad Request\nThe request target is malformed, or there is not one Host field.\n"
        }
        403 => "403 Forbidden\nThe server may not read this file.\n",
        404 => "404 Not Found\nThere is no such file here.\n",
        405 => "405 Method Not Allowed\nFiles are read with GET or HEAD.\n",
        412 => "412 Precondition Failed\nThe file is not in the state the request expects.\n",
        416 => "416 Range Not Satisfiable\nThe file ends before the range begins.\n",
        503 => "503 Service Unavailable\nThis file cannot be sent right now. Try again.\n",
        _ => "500 Internal Server Error\nThe file could not be read.\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_starts_with_its_status() {
        for code in [308, 400, 403, 404, 405, 412, 416, 500, 503] {
            let status = StatusCode::from_u16(code).unwrap();
            let first = text(status).lines().next().unwrap();
            assert_eq!(first, format!("{code} {}", status.canonical_reason().unwrap()));
        }
    }
}
