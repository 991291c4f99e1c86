//! How a request was answered with regard to the cache: for the field and the metrics.
//!
//! Source: RFC 9211 §2 (Cache-Status).

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::policy::Why;
use crate::cached::Cached;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// By what is here, which is fresh.
    Hit,
    /// By what is here though it has been stale for so long.
    Stale(Duration),
    /// The origin was asked for what is not here, with this status; or somebody else had asked.
    Miss { status: u16, is_collapsed: bool },
    /// It was asked whether what is here is still so, and said this.
    Revalidated { status: u16, is_collapsed: bool },
    /// The answer is not kept.
    Relayed(Why),
    /// Only what is here was wanted, and it is not.
    NotHere,
    /// The origin gave no answer.
    Failed,
}

impl CacheStatus {
    /// Those that are counted, by name.
    pub(crate) const NAMES: [&'static str; 6] =
        ["hit", "stale", "miss", "revalidated", "relayed", "failed"];

    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Hit => 0,
            Self::Stale(_) => 1,
            Self::Miss { .. } | Self::NotHere => 2,
            Self::Revalidated { .. } => 3,
            Self::Relayed(_) => 4,
            Self::Failed => 5,
        }
    }

    /// What the log is told, with how long the origin took, and was waited for.
    pub(crate) const fn in_log(self, origin: Option<Duration>, waited: Option<Duration>) -> Cached {
        Cached { result: Self::NAMES[self.place()], origin, waited }
    }

    /// Adds what the client is told.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        let collapsed = |is: bool| if is { "; collapsed" } else { "" };
        let text = match self {
            Self::Hit => "underpass; hit".to_owned(),
            Self::Stale(by) => format!("underpass; hit; ttl=-{}", by.as_secs()),
            Self::Miss { status, is_collapsed } => {
                let stored = if status == 200 || status == 206 { "; stored" } else { "" };
                let collapsed = collapsed(is_collapsed);
                format!("underpass; fwd=uri-miss; fwd-status={status}{stored}{collapsed}")
            }
            Self::Revalidated { status, is_collapsed } => {
                let collapsed = collapsed(is_collapsed);
                format!("underpass; fwd=stale; fwd-status={status}{collapsed}")
            }
            Self::Relayed(Why::Authorization) => {
                "underpass; fwd=bypass; detail=authorization".to_owned()
            }
            Self::Relayed(why) => format!("underpass; fwd=uri-miss; detail={}", why.name()),
            Self::NotHere => "underpass; fwd=uri-miss; detail=only-if-cached".to_owned(),
            Self::Failed => "underpass; fwd=uri-miss; detail=failed".to_owned(),
        };
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(CACHE_STATUS, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_says_whether_the_origin_was_asked_and_what_it_said() {
        let said = |status: CacheStatus| {
            let mut headers = HeaderMap::new();
            status.add_to(&mut headers);
            headers[CACHE_STATUS].to_str().unwrap().to_owned()
        };
        let miss = |status, is_collapsed| said(CacheStatus::Miss { status, is_collapsed });
        assert_eq!(said(CacheStatus::Hit), "underpass; hit");
        assert_eq!(
            said(CacheStatus::Stale(Duration::from_millis(5_900))),
            "underpass; hit; ttl=-5"
        );
        assert_eq!(miss(200, false), "underpass; fwd=uri-miss; fwd-status=200; stored");
        assert_eq!(miss(206, true), "underpass; fwd=uri-miss; fwd-status=206; stored; collapsed");
        assert_eq!(miss(404, false), "underpass; fwd=uri-miss; fwd-status=404");
        let revalidated = CacheStatus::Revalidated { status: 304, is_collapsed: false };
        assert_eq!(said(revalidated), "underpass; fwd=stale; fwd-status=304");
        let relayed = said(CacheStatus::Relayed(Why::Authorization));
        assert_eq!(relayed, "underpass; fwd=bypass; detail=authorization");
        let relayed = said(CacheStatus::Relayed(Why::SetCookie));
        assert_eq!(relayed, "underpass; fwd=uri-miss; detail=set-cookie");
    }
}
