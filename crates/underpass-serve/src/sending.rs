//! A response on its way: how much of it has left, and its line in the log.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use http::header::{HOST, HeaderValue, REFERER, USER_AGENT};
use http::request::Parts;
use http::{Method, Request, StatusCode};

use crate::access_log::{Cut, Line, Requested};
use crate::account::Account;
use crate::cached::Cached;
use crate::plain_request::PlainRequest;
use crate::site::Site;

/// A response on its way. It has its line in the log when it is dropped, however it ended.
#[derive(Debug)]
pub(crate) struct Sending {
    site: Rc<Site>,
    client: Option<IpAddr>,
    /// The name whose password came with the request.
    user: Option<Box<str>>,
    request: Parts,
    status: StatusCode,
    /// When the request came; `None` without a log.
    since: Option<(SystemTime, Instant)>,
    content_bytes: u64,
    account: Account,
    cut: Option<Cut>,
    cached: Option<Cached>,
}

impl Sending {
    /// A response to this request of `peer`, of which nothing has left.
    pub(crate) fn new(
        site: &Rc<Site>,
        peer: Option<IpAddr>,
        request: Parts,
        status: StatusCode,
    ) -> Self {
        let since = site.is_logging().then(|| (SystemTime::now(), Instant::now()));
        let client = site.proxies.client(peer, &request.headers);
        let user = since.and_then(|_| site.user_of(&request));
        let (site, (content_bytes, account, cut)) = (Rc::clone(site), Default::default());
        let cached = None;
        Self { site, client, user, request, status, since, content_bytes, account, cut, cached }
    }

    /// The same with what became of a request for what an origin has.
    pub(crate) fn with(mut self, cached: Option<Cached>) -> Self {
        self.cached = cached;
        // It came before the origin was waited for.
        if let Some(waited) = cached.and_then(|cached| cached.waited)
            && let Some((time, since)) = &mut self.since
        {
            *time = time.checked_sub(waited).unwrap_or(*time);
            *since = since.checked_sub(waited).unwrap_or(*since);
        }
        self
    }

    /// A response to a plain request.
    pub(crate) fn of_plain(
        site: &Rc<Site>,
        client: Option<IpAddr>,
        request: &PlainRequest<'_>,
    ) -> Self {
        let method = if request.is_head { Method::HEAD } else { Method::GET };
        let mut head = Request::builder().method(method).uri(request.target);
        let fields = [
            (HOST, Some(request.host)),
            (REFERER, request.referer),
            (USER_AGENT, request.user_agent),
        ];
        for (name, value) in fields {
            let value = value.and_then(|value| HeaderValue::from_bytes(value).ok());
            head = value.into_iter().fold(head, |head, value| head.header(&name, value));
        }
        let (head, ()) = head.body(()).unwrap_or_default().into_parts();
        Self::new(site, client, head, StatusCode::OK)
    }

    /// Bytes of its content have left.
    pub(crate) const fn note_content(&mut self, bytes: u64) {
        self.content_bytes += bytes;
    }

    /// The same, with how they and the head left.
    pub(crate) fn note(&mut self, content_bytes: u64, account: &Account) {
        self.content_bytes += content_bytes;
        self.account += account;
    }

    /// Tells that its client does not get it whole.
    pub(crate) fn cut(&mut self, by: Cut, reason: impl fmt::Display) {
        self.cut = Some(by);
        self.site.counts.count_cut(by);
        tracing::warn!("{self} was cut short: {reason}");
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let Some((time, since)) = self.since else { return };
        self.site.record(&Line {
            client: self.client,
            user: self.user.as_deref(),
            time,
            request: Requested::Head(&self.request),
            status: self.status,
            content_bytes: self.content_bytes,
            account: self.account,
            cut: self.cut,
            cached: self.cached,
            took: since.elapsed(),
        });
    }
}

/// `GET /file to 192.0.2.7, 4096 bytes sent,`.
impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, target) = (&self.request.method, self.request.uri.path().escape_debug());
        write!(
            f,
            "{method} {target} to {}, {} bytes sent,",
            Client(self.client),
            self.content_bytes
        )
    }
}

/// A client as messages name it.
pub(crate) struct Client(pub(crate) Option<IpAddr>);

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a client of the Unix socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::Path;

    use http::Request;
    use underpass::Stability;
    use underpass_daemon::log::{Log, OpenLog, Sink};

    use super::*;
    use crate::access_log::AccessLog;
    use crate::progress::{Open, Progress};
    use crate::root::Root;
    use crate::service::Service;

    /// A site whose log is the file.
    fn logged(path: &Path) -> (Rc<Site>, Log) {
        let log = OpenLog::open(&Sink::File(path.into())).unwrap().start(|_| {}).unwrap();
        let root = Root::open(path.parent().unwrap()).unwrap();
        let service = Service::new(root, NonZeroUsize::MIN, Stability::None);
        let site = Site::new(service, AccessLog::new(log.lines()), std::sync::Arc::default());
        (Rc::new(site), log)
    }

    fn sending(site: &Rc<Site>, target: &str) -> Sending {
        let head = Request::get(target).body(()).unwrap().into_parts().0;
        Sending::new(site, None, head, StatusCode::OK)
    }

    /// What a log of these responses says of each: target and bytes.
    fn lines(respond: impl FnOnce(&Rc<Site>)) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (site, log) = logged(&path);
        respond(&site);
        site.flush_log();
        assert_eq!(Rc::strong_count(&site), 1);
        drop(site);
        assert_eq!(log.close(), 0);
        let text = std::fs::read_to_string(path).unwrap();
        let words = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        words.map(|words| format!("{} {}", words[6], words[9])).collect()
    }

    #[test]
    fn of_two_responses_on_their_way_each_has_its_own_count_and_its_own_line() {
        let said = lines(|site| {
            let (mut one, mut two) = (sending(site, "/one"), sending(site, "/two"));
            one.note_content(1);
            two.note_content(20);
            one.note_content(2);
            drop(two);
            one.note_content(4);
            assert_eq!(one.to_string(), "GET /one to a client of the Unix socket, 7 bytes sent,");
        });
        assert_eq!(said, ["/two 20", "/one 7"]);
    }

    #[test]
    fn the_head_of_a_response_is_not_content_however_it_is_written() {
        let said = lines(|site| {
            let progress = Progress::new(Rc::clone(site), None);
            for (target, writes) in
                [("/at-once", &[130][..]), ("/in-parts", &[40, 70, 20]), ("/cut", &[99])]
            {
                progress.leave(sending(site, target));
                for written in writes {
                    progress.note_written(100, *written, &Account::default());
                }
            }
        });
        assert_eq!(said, ["/at-once 30", "/in-parts 30", "/cut 0"]);
    }

    #[test]
    fn a_connection_is_idle_once_the_last_of_its_responses_was_flushed() {
        let said = lines(|site| {
            let progress = Rc::new(Progress::new(Rc::clone(site), None));
            let (one, two) = (Open::new(&progress), Open::new(&progress));
            progress.leave(sending(site, "/two"));
            drop(one);
            progress.note_flushed();
            assert!(progress.is_answering());
            progress.note_written(10, 15, &Account::default());
            drop(two);
            assert!(progress.is_answering());
            progress.note_flushed();
            assert!(progress.is_idle());
            progress.note_written(10, 15, &Account::default());
        });
        assert_eq!(said, ["/two 5"]);
    }
}
