//! Why a request gets no file, and the status that says so.
//!
//! Source: RFC 9110 §15.5, §15.6, §9.3.6 (CONNECT); RFC 9112 §3.2 (Host), §6.1 (transfer codings).

use std::error::Error;
use std::iter::successors;

use http::header::{HOST, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, StatusCode, Uri, Version};
use rustix::io::Errno;
use underpass::MapError;

use crate::first_line::FirstLine;
use crate::host::{is_host, is_host_with_port};
use crate::representation::RepresentationError;
use crate::root::OpenError;
use crate::target::TargetError;

/// Why a request gets no file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the request has not exactly one Host field with a host in it")]
    Host,
    #[error("the request target names no valid host")]
    Authority,
    #[error("the chunked transfer coding is applied more than once")]
    ChunkedTwice,
    #[error("a transfer coding other than chunked")]
    TransferCoding,
    #[error("names that begin with a dot are not served")]
    Hidden,
    #[error("directories are not listed")]
    Unlisted,
    #[error("the listing has fewer pages")]
    NoPage,
    #[error("there is no archive of that form")]
    NoArchive,
    #[error("an archive would be larger than it may be")]
    TooLarge,
    #[error("too many directories are being read, or archives sent")]
    Busy,
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Represent(#[from] RepresentationError),
    #[cfg(feature = "remote")]
    #[error(transparent)]
    Object(#[from] underpass_remote::ObjectError),
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Host | Self::Authority | Self::ChunkedTwice => StatusCode::BAD_REQUEST,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Hidden
            | Self::Unlisted
            | Self::NoPage
            | Self::NoArchive
            | Self::Target(TargetError::Slash { .. })
            | Self::Open(OpenError::Absent) => StatusCode::NOT_FOUND,
            Self::Target(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge | Self::Open(OpenError::Denied) => StatusCode::FORBIDDEN,
            Self::Busy | Self::Open(OpenError::Exhausted(_) | OpenError::WouldWait) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Represent(RepresentationError::Map(error)) if will_pass(error) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Open(OpenError::Failed(_)) | Self::Represent(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            #[cfg(feature = "remote")]
            Self::Object(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether there is no such file: not one that is hidden, or may not be read.
    pub(crate) const fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Unlisted
                | Self::Target(TargetError::Slash { .. })
                | Self::Open(OpenError::Absent)
        )
    }

    /// Whether something is wrong here, and not with the request.
    pub(crate) fn is_of_this_end(&self) -> bool {
        self.status().is_server_error() && !matches!(self, Self::TransferCoding)
    }
}

/// Checks what a request says of itself, before anything is done about it.
pub(crate) fn check_message(request: &Parts) -> Result<(), Refusal> {
    check_host(&request.headers, request.version)?;
    check_authority(&request.method, &request.uri)?;
    if request.headers.contains_key(TRANSFER_ENCODING) {
        check_codings(&request.headers)?;
    }
    Ok(())
}

/// RFC 9112 §3.2: a server MUST answer 400 to an HTTP/1.1 request that lacks a Host field, and to
/// any request that has several or an invalid one.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let is_right = match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => is_host(host.as_bytes()),
        (Some(_), Some(_)) => false,
    };
    if is_right { Ok(()) } else { Err(Refusal::Host) }
}

/// The authority of an absolute-form, and of the authority-form, which only CONNECT has.
fn check_authority(method: &Method, uri: &Uri) -> Result<(), Refusal> {
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let is_right = if *method == Method::CONNECT {
        // RFC 9110 §9.3.6: a server MUST reject a CONNECT to an empty or invalid port.
        uri.scheme().is_none() && authority.is_some_and(is_host_with_port)
    } else {
        authority.is_none_or(is_host)
    };
    if is_right { Ok(()) } else { Err(Refusal::Authority) }
}

/// The last coding is chunked, or hyper would have refused the request.
fn check_codings(headers: &HeaderMap) -> Result<(), Refusal> {
    let values = headers.get_all(TRANSFER_ENCODING).iter();
    let codings = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let codings = codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty());
    let (chunked, others): (Vec<_>, Vec<_>) =
        codings.partition(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if !others.is_empty() {
        return Err(Refusal::TransferCoding);
    }
    if chunked.len() > 1 { Err(Refusal::ChunkedTwice) } else { Ok(()) }
}

/// The status for what hyper refused to read as a request, if that is what it did. `head` is as
/// much as a head may have of what came.
pub(crate) fn of_malformed(
    error: &hyper::Error,
    first_line: &FirstLine,
    head: &[u8],
) -> Option<StatusCode> {
    if error.is_parse_too_large() {
        // RFC 9112 §3: 414 for a target that is longer than any that is read.
        let is_all_target = !head.contains(&b'\n');
        return Some(if is_all_target {
            StatusCode::URI_TOO_LONG
        } else {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        });
    }
    if error.is_parse() && first_line.has_other_version() {
        return Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
    // The end of the stream within a head is not a request either.
    (error.is_parse() || error.is_incomplete_message()).then_some(StatusCode::BAD_REQUEST)
}

/// Whether a later request may succeed: limits are reached, the file shrank just now, or another
/// process writes to a file that is to be leased.
fn will_pass(error: &MapError) -> bool {
    match error {
        MapError::TooMany { .. } | MapError::Range { .. } => true,
        MapError::Call { errno: source, .. } => {
            matches!(*source, Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::NOMEM)
        }
        _ => false,
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// The status that a request is refused with; 200 if it is not.
    fn status(version: Version, method: &str, target: &str, fields: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap().into_parts().0;
        check_message(&request).map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_request_names_one_host_and_one_0_of_http_may_name_none() {
        for (version, hosts, expected) in [
            (Version::HTTP_11, &["x"][..], 200),
            (Version::HTTP_11, &[], 400),
            (Version::HTTP_11, &[""], 400),
            (Version::HTTP_11, &["x/y"], 400),
            (Version::HTTP_11, &["x", "x"], 400),
            (Version::HTTP_10, &[], 200),
            (Version::HTTP_10, &["x"], 200),
            (Version::HTTP_10, &["u@x"], 400),
            (Version::HTTP_10, &["x", "y"], 400),
        ] {
            let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            assert_eq!(status(version, "GET", "/", &fields), expected, "{version:?} {hosts:?}");
        }
    }

    #[test]
    fn an_authority_in_the_target_is_a_host_and_that_of_connect_has_a_port() {
        for (method, target, expected) in [
            ("GET", "http://x:80/a", 200),
            ("GET", "http://[::1]/a", 200),
            ("GET", "http://u@x/a", 400),
            ("GET", "http://x..y/a", 400),
            ("GET", "http://x:65536/a", 400),
            ("CONNECT", "x:443", 200),
            ("CONNECT", "x", 400),
            ("CONNECT", "/a", 400),
            ("CONNECT", "http://x:80/", 400),
            ("OPTIONS", "*", 200),
        ] {
            let got = status(Version::HTTP_11, method, target, &[("host", "x")]);
            assert_eq!(got, expected, "{method} {target}");
        }
    }

    #[test]
    fn chunked_is_the_only_transfer_coding_and_is_applied_once() {
        for (values, expected) in [
            (&["chunked"][..], 200),
            (&["Chunked"], 200),
            (&[", chunked"], 200),
            (&["gzip, chunked"], 501),
            (&["gzip", "chunked"], 501),
            (&["chunked, gzip", "chunked"], 501),
            (&["chunked, chunked"], 400),
            (&["chunked", "chunked"], 400),
        ] {
            let mut fields = vec![("host", "x")];
            fields.extend(values.iter().map(|value| ("transfer-encoding", *value)));
            assert_eq!(status(Version::HTTP_11, "GET", "/", &fields), expected, "{values:?}");
        }
    }

    #[test]
    fn only_what_is_wrong_here_is_told_to_the_operator() {
        for (refusal, is_here) in [
            (Refusal::TransferCoding, false),
            (Refusal::Open(OpenError::Absent), false),
            (Refusal::Open(OpenError::Failed(Errno::IO)), true),
            (Refusal::Open(OpenError::Exhausted(Errno::MFILE)), true),
        ] {
            assert_eq!(refusal.is_of_this_end(), is_here, "{refusal}");
        }
    }
}
