//! Why nothing was put in place, and what its client is told.

use std::io;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, HeaderValue, RETRY_AFTER};
use rustix::io::Errno;

use crate::answer::Answer;
use crate::root::OpenError;

/// Why nothing was put in place. The text is for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("The request target is malformed, or has an encoded slash.")]
    Target,
    #[error("Names that begin with a dot are not for uploads.")]
    Hidden,
    #[error("This is a directory, and not the name of a file.")]
    Directory,
    #[error("There is something that is not a file.")]
    NotAFile,
    #[error("There is no directory to put it in.")]
    NoDirectory,
    #[error("There is such a file, and none is replaced here.")]
    Exists,
    #[error("The file is not in the state the request expects.")]
    Precondition,
    #[error("Parts of a file cannot be put in place: send all of it.")]
    ContentRange,
    #[error("Content codings are not decoded here: send the file as it is.")]
    Coded,
    #[error("The file is larger than may be put here.")]
    TooLarge,
    #[error("Too many uploads are under way. Try again.")]
    Busy,
    #[error("The content ended early, or is not framed as it should be.")]
    Incomplete,
    #[error("The content did not arrive in time.")]
    Stalled,
    #[error("The server may not write here.")]
    Denied,
    #[error("There is no room for the file.")]
    Full,
    #[error("The name is too long for the file system.")]
    Name,
    #[error("The file could not be written.")]
    Failed(#[source] Errno),
}

impl Refusal {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Target | Self::ContentRange | Self::Incomplete | Self::Name => {
                StatusCode::BAD_REQUEST
            }
            Self::Hidden | Self::Denied => StatusCode::FORBIDDEN,
            Self::Directory | Self::NotAFile | Self::NoDirectory | Self::Exists => {
                StatusCode::CONFLICT
            }
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::Coded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn into_answer(self) -> Answer {
        let text = format!("{}\n{self}\n", self.status());
        let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
        let mut answer = Answer::text(self.status(), media_type, Bytes::from(text));
        // RFC 9110 §12.5.3: which codings would have been taken.
        if matches!(self, Self::Coded) {
            answer.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if matches!(self, Self::Busy) {
            answer.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

/// What a call has answered that makes, writes or names the file.
impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::Denied,
            Errno::NOSPC | Errno::DQUOT => Self::Full,
            Errno::FBIG => Self::TooLarge,
            Errno::NAMETOOLONG => Self::Name,
            Errno::EXIST => Self::Exists,
            Errno::ISDIR => Self::Directory,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::Busy,
            _ => Self::Failed(errno),
        }
    }
}

/// Why the directory was not opened.
impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Absent => Self::NoDirectory,
            OpenError::Denied => Self::Denied,
            OpenError::WouldWait | OpenError::Exhausted(_) => Self::Busy,
            OpenError::Failed(errno) => Self::Failed(errno),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).unwrap_or(Errno::IO).into()
    }
}
