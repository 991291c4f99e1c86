//! Why a request gets no file, and the status that says so.
//!
//! Source: RFC 9110 §15.5, §15.6; RFC 9112 §3.2 (Host).

use std::error::Error;
use std::iter::successors;

use http::header::HOST;
use http::request::Parts;
use http::{Method, StatusCode, Version};
use rustix::io::Errno;
use underpass::MapError;

use crate::conditional::sole;
use crate::representation::RepresentationError;
use crate::root::OpenError;
use crate::target::TargetError;

/// Why a request gets no file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the request has not exactly one Host field")]
    Host,
    #[error("the method is neither GET nor HEAD")]
    Method,
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Represent(#[from] RepresentationError),
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Host => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Target(TargetError::Slash { .. }) | Self::Open(OpenError::Absent) => {
                StatusCode::NOT_FOUND
            }
            Self::Target(_) => StatusCode::BAD_REQUEST,
            Self::Open(OpenError::Denied) => StatusCode::FORBIDDEN,
            Self::Open(OpenError::Exhausted(_) | OpenError::WouldWait) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Represent(RepresentationError::Map(error)) if will_pass(error) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Open(OpenError::Failed(_)) | Self::Represent(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

/// Checks a request before its target is looked at.
pub(crate) fn admit(request: &Parts) -> Result<(), Refusal> {
    // RFC 9112 §3.2: a server MUST answer 400 to an HTTP/1.1 request that lacks a Host field or
    // has several.
    if request.version == Version::HTTP_11 && sole(&request.headers, &HOST).is_none() {
        return Err(Refusal::Host);
    }
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Refusal::Method);
    }
    Ok(())
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
