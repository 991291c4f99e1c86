//! Dates in the four spellings a static server needs, all in UTC.
//!
//! File times are any 64-bit number, while an HTTP-date has four digits for the year and starts
//! in 1970: what is outside has no spelling here.
//!
//! Source: RFC 9110 §5.6.7 (IMF-fixdate); Apache HTTP Server, mod_log_config (`%t`); RFC 3339.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// 9999-12-31T23:59:59Z in seconds since 1970.
const SECS_MAX: i64 = 253_402_300_799;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 as IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
#[must_use]
pub(crate) fn imf_fixdate(secs: i64) -> Option<String> {
    let since = u64::try_from(secs).ok().filter(|_| secs <= SECS_MAX)?;
    Some(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since)))
}

/// A second since 1970, and its IMF-fixdate.
#[derive(Debug, Clone)]
pub(crate) struct Second {
    number: u64,
    date: HeaderValue,
}

thread_local! {
    static LAST: RefCell<Second> = const { RefCell::new(Second { number: 0, date: EPOCH }) };
}

const EPOCH: HeaderValue = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT");

impl Second {
    /// This one.
    pub(crate) fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        LAST.with_borrow_mut(|last| {
            if last.number != now {
                *last = Self::of(now);
            }
            last.clone()
        })
    }

    /// One without a date is told as the first of all.
    pub(crate) fn of(number: u64) -> Self {
        let date = i64::try_from(number).ok().and_then(imf_fixdate);
        let date = date.and_then(|date| date.try_into().ok()).unwrap_or(EPOCH);
        Self { number, date }
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn imf_fixdate(&self) -> &HeaderValue {
        &self.date
    }

    pub(crate) fn into_imf_fixdate(self) -> HeaderValue {
        self.date
    }
}

/// Seconds since 1970 as access logs have it: `06/Nov/1994:08:49:37 +0000`.
#[must_use]
pub(crate) fn log_date(secs: i64) -> Option<String> {
    let date = imf_fixdate(secs)?;
    let [day, month, year, time] = fields(&date)?;
    Some(format!("{day}/{month}/{year}:{time} +0000"))
}

/// Seconds since 1970 to the minute, sorted as text: `1994-11-06 08:49`.
#[must_use]
pub(crate) fn sortable(secs: i64) -> Option<String> {
    let date = rfc3339(secs)?;
    Some(date.get(..16)?.replace('T', " "))
}

/// Seconds since 1970 as programs write them: `1994-11-06T08:49:37Z`.
#[must_use]
pub(crate) fn rfc3339(secs: i64) -> Option<String> {
    let date = imf_fixdate(secs)?;
    let [day, month, year, time] = fields(&date)?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Some(format!("{year}-{month:02}-{day}T{time}Z"))
}

/// Day, month, year and time of an IMF-fixdate.
fn fields(date: &str) -> Option<[&str; 4]> {
    let mut words = date.split(' ').skip(1);
    Some([words.next()?, words.next()?, words.next()?, words.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_has_four_spellings() {
        let secs = 784_111_777;
        assert_eq!(imf_fixdate(secs).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(log_date(secs).unwrap(), "06/Nov/1994:08:49:37 +0000");
        assert_eq!(sortable(secs).unwrap(), "1994-11-06 08:49");
        assert_eq!(rfc3339(secs).unwrap(), "1994-11-06T08:49:37Z");
    }

    #[test]
    fn every_month_has_its_number() {
        for month in 1..=12 {
            // The 15th of each month of 2001, which began 978307200 s after 1970.
            let day = 86_400 * (i64::from(month) - 1) * 30 + 86_400 * 14;
            let text = sortable(978_307_200 + day).unwrap();
            assert!(text.starts_with(&format!("2001-{month:02}-")), "{text}");
        }
    }

    #[test]
    fn moments_without_four_digits_for_the_year_have_none() {
        assert_eq!(imf_fixdate(0).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(imf_fixdate(SECS_MAX).unwrap(), "Fri, 31 Dec 9999 23:59:59 GMT");
        for secs in [-1, SECS_MAX + 1, i64::MIN, i64::MAX] {
            assert_eq!(imf_fixdate(secs), None, "{secs}");
            assert_eq!(sortable(secs), None, "{secs}");
        }
    }
}
