//! Why nothing was put in place, and what its client is told.

use std::io;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, HeaderValue, RETRY_AFTER};
use rustix::io::Errno;

use super::ACCEPT_PATCH;
use super::fields::{OFFSET, PARTIAL};
use crate::answer::Answer;
use crate::root::OpenError;

/// Why nothing was put in place. The text is for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("The request target is malformed, or has an encoded slash.")]
    Target,
    #[error("Names that begin with a dot, or are hidden otherwise, are not for uploads.")]
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
    #[error(
        "A page of another site has sent this, or none that is known: files are taken from the \
         page of this site."
    )]
    OtherSite,
    #[error("Files are taken as a form of multipart/form-data, with a boundary.")]
    NotAForm,
    #[error("The form is malformed.")]
    Malformed,
    #[error("The head of a part of the form is too long.")]
    LongHead,
    #[error("There is no file in the form.")]
    NoFile,
    #[error("A form has 64 files at most: send the others by another.")]
    Many,
    #[error("There are two files of this name in the form.")]
    Twice,
    #[error("This is not a name of a file, which has no slash.")]
    Segment,
    #[error("Files of this name are not taken here.")]
    Pattern,
    #[error("There is no such upload: it is complete, was cancelled, or is too old.")]
    Unknown,
    #[error("Another request continues this upload.")]
    Superseded,
    #[error("What is appended is sent as application/partial-upload.")]
    NotPartial,
    #[error("Upload-Offset and Upload-Complete say where the content belongs.")]
    NoOffset,
    #[error("The upload is complete.")]
    Completed,
    #[error("The lengths that are given for the upload, and what comes, do not agree.")]
    Length,
    #[error("The upload has come as far as {expected}, and not {provided}.")]
    Offset { expected: u64, provided: u64 },
    #[error("{name}: {why}\nNo file of the form was put in place.")]
    Of { name: String, why: Box<Self> },
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Target
            | Self::ContentRange
            | Self::Incomplete
            | Self::Name
            | Self::Malformed
            | Self::LongHead
            | Self::NoFile
            | Self::Segment
            | Self::NoOffset
            | Self::Completed
            | Self::Length => StatusCode::BAD_REQUEST,
            Self::Hidden | Self::Denied | Self::OtherSite | Self::Pattern => StatusCode::FORBIDDEN,
            Self::Directory
            | Self::NotAFile
            | Self::NoDirectory
            | Self::Exists
            | Self::Twice
            | Self::Superseded
            | Self::Offset { .. } => StatusCode::CONFLICT,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::Coded | Self::NotAForm | Self::NotPartial => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge | Self::Many => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Of { why, .. } => why.status(),
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The same of one file of a form.
    pub(super) fn of(self, name: String) -> Self {
        Self::Of { name, why: Box::new(self) }
    }

    /// Whether something is wrong here, and not with the request.
    pub(super) fn is_of_this_end(&self) -> bool {
        if let Self::Of { why, .. } = self {
            return why.is_of_this_end();
        }
        matches!(self, Self::Full | Self::Failed(_))
    }

    /// The problem that it is, as programs know it (draft-ietf-httpbis-resumable-upload-12, §7).
    fn problem(&self) -> Option<serde_json::Value> {
        let name = if matches!(self, Self::Offset { .. }) {
            "mismatching-upload-offset"
        } else if matches!(self, Self::Completed) {
            "completed-upload"
        } else if matches!(self, Self::Length) {
            "inconsistent-upload-length"
        } else {
            return None;
        };
        let kind = format!("https://iana.org/assignments/http-problem-types#{name}");
        let mut problem = serde_json::json!({ "type": kind, "title": self.to_string() });
        if let Self::Offset { expected, provided } = self {
            problem["expected-offset"] = (*expected).into();
            problem["provided-offset"] = (*provided).into();
        }
        Some(problem)
    }

    pub(crate) fn into_answer(self) -> Answer {
        let (media_type, text) = match self.problem() {
            Some(problem) => ("application/problem+json", format!("{problem}\n")),
            None => ("text/plain; charset=utf-8", format!("{}\n{self}\n", self.status())),
        };
        let media_type = HeaderValue::from_static(media_type);
        let mut answer = Answer::text(self.status(), media_type, Bytes::from(text));
        if let Self::Offset { expected, .. } = self {
            answer.headers.insert(OFFSET, expected.into());
        }
        if matches!(self, Self::NotPartial) {
            answer.headers.insert(ACCEPT_PATCH, PARTIAL);
        }
        // RFC 9110 §12.5.3: which codings would have been taken.
        if matches!(self, Self::Coded) {
            answer.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
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
