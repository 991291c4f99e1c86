//! What stands before and after the look-up of a file: it may answer in its place, or add to its
//! answer.
//!
//! Each station is a field of [`Stations`], made once and shared by all workers; a site without
//! it has nothing there, and pays nothing. Their order is in this file and nowhere else.
//!
//! Source: RFC 9110 §9.3.2 (HEAD), §9.3.7 (OPTIONS), §15.5.6 (405).

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::Method;
use http::header::{HOST, HeaderValue};
use http::request::Parts;

use crate::access::{Access, make_private};
use crate::addresses::AddressRules;
use crate::answer::Answer;
use crate::cors::Cors;
use crate::fixed_status::FixedStatuses;
use crate::lookup::Lookup;
use crate::redirects::Redirects;
use crate::target::Target;
use crate::upload::Upload;

/// A request as the stations of a site see it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// Its head, whose host and framing have been checked.
    pub head: &'r Parts,
    /// The client's address; the client of a Unix socket has none.
    pub client: Option<IpAddr>,
    /// The name that it asked for in the handshake (SNI), if the connection is secured.
    pub server_name: Option<&'r str>,
    /// The port of https, if its listener is there to send clients to that.
    pub https_port: Option<u16>,
}

impl Asked<'_> {
    /// Its decoded path; of one that is malformed and leads nowhere, what it says.
    pub(crate) fn path(&self) -> Vec<u8> {
        let path = self.head.uri.path();
        Target::parse(path).map_or_else(|_| path.into(), |target| target.as_bytes().to_vec())
    }

    /// The host that it names, perhaps with a port.
    pub(crate) fn host(&self) -> Option<&[u8]> {
        // RFC 9112 §3.2.2: that of an absolute-form goes before the field.
        match self.head.uri.authority() {
            Some(authority) => Some(authority.as_str().as_bytes()),
            None => self.head.headers.get(HOST).map(HeaderValue::as_bytes),
        }
    }
}

/// What comes after a station.
pub enum Step {
    /// The next one, and after the last the look-up.
    Go,
    /// No look-up: this is the answer.
    Answer(Answer),
    /// This work, which takes a while. It finds the answer, or else the look-up is next: only the
    /// last station waits.
    Wait(Pin<Box<dyn Future<Output = Option<Answer>>>>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Go => "Go",
            Self::Answer(_) => "Answer",
            Self::Wait(_) => "Wait",
        })
    }
}

/// The stations of a site.
#[derive(Debug, Default)]
pub struct Stations {
    /// Which addresses may ask.
    pub addresses: AddressRules,
    /// What pages of other origins may do.
    pub cors: Option<Cors>,
    /// Paths that are somewhere else.
    pub redirects: Redirects,
    /// Paths that are answered with an error whatever is there.
    pub statuses: FixedStatuses,
    /// Who may read what.
    pub access: Option<Arc<Access>>,
    /// What may be put where.
    pub upload: Option<Arc<Upload>>,
}

impl Stations {
    /// What the request passes before its file is looked up. It runs once more if the look-up has
    /// to wait.
    pub(crate) fn before(&self, asked: &Asked<'_>, lookup: &Lookup) -> Step {
        if let Some(answer) = self.addresses.refuse(asked, lookup) {
            return Step::Answer(answer);
        }
        if asked.head.method == Method::OPTIONS {
            let mut answer = Answer::options(self.allow(asked));
            if let Some(upload) = &self.upload {
                upload.describe(&asked.head.uri, &mut answer.headers);
            }
            if let Some(cors) = self.cors.as_ref().filter(|_| Cors::is_preflight(asked.head)) {
                cors.allow(asked.head, &mut answer.headers);
            }
            return Step::Answer(answer);
        }
        if !matches!(asked.head.method, Method::GET | Method::HEAD) {
            return Step::Answer(Answer::method_not_allowed(self.allow(asked)));
        }
        if let Some(answer) = self.redirects.answer(asked.head) {
            return Step::Answer(answer);
        }
        if let Some(answer) = self.statuses.answer(asked, lookup) {
            return Step::Answer(answer);
        }
        match self.access_to(asked, lookup) {
            Some(access) => access.admit(&asked.head.headers),
            None => Step::Go,
        }
    }

    /// What an upload passes before its content is read. Everyone who puts something somewhere is
    /// one who may, whatever paths are for all to read.
    pub(crate) fn before_upload(&self, asked: &Asked<'_>, lookup: &Lookup) -> Step {
        if let Some(answer) = self.addresses.refuse(asked, lookup) {
            return Step::Answer(answer);
        }
        if !self.upload.as_ref().is_some_and(|it| it.takes(asked.head)) {
            return Step::Answer(Answer::method_not_allowed(self.allow(asked)));
        }
        if let Some(answer) = self.statuses.answer(asked, lookup) {
            return Step::Answer(answer);
        }
        match &self.access {
            Some(access) => access.admit(&asked.head.headers),
            None => Step::Go,
        }
    }

    /// What every answer passes, that of a station too.
    pub(crate) fn after(&self, asked: &Asked<'_>, lookup: &Lookup, answer: Answer) -> Answer {
        let mut answer = answer;
        if self.access_to(asked, lookup).is_some() {
            make_private(&mut answer.headers);
        }
        self.addresses.protect(asked, lookup, &mut answer.headers);
        if let Some(cors) = &self.cors {
            cors.add_to(asked.head, &mut answer.headers);
        }
        if asked.head.method == Method::HEAD { answer.without_content() } else { answer }
    }

    /// Whether a plain request for this passes all of them, and its answer too, without anyone
    /// having a say.
    pub(crate) fn let_plain_pass(&self, target: &Target<'_>, lookup: &Lookup) -> bool {
        // What has a fixed status was never kept.
        let Self { addresses, cors, redirects, statuses: _, access, upload: _ } = self;
        let is_protected = |it: &Arc<Access>| it.protects(target.as_bytes(), lookup);
        cors.is_none()
            && !redirects.have(target)
            && !access.as_ref().is_some_and(is_protected)
            && !addresses.have(target.as_bytes(), lookup)
    }

    /// The name whose password came with a request that was asked for one.
    pub(crate) fn user_of(&self, asked: &Asked<'_>, lookup: &Lookup) -> Option<Box<str>> {
        let is_put = asked.head.method == Method::PUT;
        let access = self.access.as_ref().filter(|_| is_put);
        access.or_else(|| self.access_to(asked, lookup))?.user_of(&asked.head.headers)
    }

    /// Who may read what is asked for, if not everyone may.
    fn access_to(&self, asked: &Asked<'_>, lookup: &Lookup) -> Option<&Arc<Access>> {
        self.access.as_ref().filter(|it| it.protects_uri(asked.head.uri.path(), lookup))
    }

    /// The methods that there are for what is asked for.
    fn allow(&self, asked: &Asked<'_>) -> HeaderValue {
        let of_uploads = self.upload.as_ref().and_then(|it| it.allow(&asked.head.uri));
        HeaderValue::from_static(of_uploads.unwrap_or("GET, HEAD, OPTIONS"))
    }
}
