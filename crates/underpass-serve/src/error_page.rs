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
        301 => "301 Moved Permanently\n",
        302 => "302 Found\n",
        303 => "303 See Other\n",
        307 => "307 Temporary Redirect\n",
        308 => "308 Permanent Redirect\n",
        400 => "400 Bad Request\nThe request is malformed, or has not one valid Host field.\n",
        401 => "401 Unauthorized\nA name and its password are needed here.\n",
        403 => "403 Forbidden\nThe server may not read this file.\n",
        404 => "404 Not Found\nThere is no such file here.\n",
        405 => "405 Method Not Allowed\nFiles are read with GET or HEAD.\n",
        408 => "408 Request Timeout\nThe head of the request did not arrive in time.\n",
        410 => "410 Gone\nThis was here once, and does not come back.\n",
        412 => "412 Precondition Failed\nThe file is not in the state the request expects.\n",
        414 => "414 URI Too Long\nThe request target is too long.\n",
        416 => "416 Range Not Satisfiable\nThe file ends before the range begins.\n",
        421 => "421 Misdirected Request\nThe connection was made for another host.\n",
        429 => "429 Too Many Requests\nThe origin takes no more requests right now.\n",
        431 => "431 Request Header Fields Too Large\nThe head of the request is too large.\n",
        451 => "451 Unavailable For Legal Reasons\n",
        501 => "501 Not Implemented\nThe only transfer coding understood here is chunked.\n",
        503 => "503 Service Unavailable\nThis file cannot be sent right now. Try again.\n",
        502 => "502 Bad Gateway\nThe origin's answer could not be used.\n",
        504 => "504 Gateway Timeout\nThe origin does not answer, and this is not here.\n",
        505 => "505 HTTP Version Not Supported\nHTTP/1.1 and HTTP/1.0 are spoken here.\n",
        _ => "500 Internal Server Error\nThe file could not be read.\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_starts_with_its_status() {
        let redirects = [301, 302, 303, 307, 308];
        let errors = [
            400, 401, 403, 404, 405, 408, 410, 412, 414, 416, 421, 429, 431, 451, 500, 501, 502,
            503, 504, 505,
        ];
        for code in redirects.into_iter().chain(errors) {
            let status = StatusCode::from_u16(code).unwrap();
            let first = text(status).lines().next().unwrap();
            assert_eq!(first, format!("{code} {}", status.canonical_reason().unwrap()));
        }
    }
}
