//! Whether a client takes its response, told by what it has acknowledged.
//!
//! The socket's queue can hold megabytes, which a slow client reads for minutes without there being
//! room for more.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{Limits, RATE_OVER};

/// What looks at the queue of a socket have shown.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    /// What the queue held, and how many bytes had been written.
    before: (usize, u64),
    /// Since when it has been so.
    since: Option<Instant>,
    /// When the rate was counted last, and what had been taken by then.
    counted: Option<(Instant, i64)>,
}

/// How a client takes too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooSlow {
    /// Nothing, for this time.
    Nothing(Duration),
    /// Less than this a second.
    Below(NonZeroU64),
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(time) => write!(f, "nothing was taken for {} s", time.as_secs_f64()),
            Self::Below(rate) => {
                let over = RATE_OVER.as_secs();
                write!(f, "less than {rate} bytes a second were taken, over {over} s")
            }
        }
    }
}

impl Taking {
    /// At a look: whether too little has been taken of what was `written`, of which `queued` bytes
    /// wait in the socket.
    pub(crate) fn look(&mut self, queued: usize, written: u64, limits: &Limits) -> Option<TooSlow> {
        let is_taken = queued == 0 || (queued, written) != self.before;
        self.before = (queued, written);
        let since = self.since.take().filter(|_| !is_taken).unwrap_or_else(Instant::now);
        self.since = Some(since);
        if queued == 0 {
            // It has taken all that there is.
            self.counted = None;
            return None;
        }
        if since.elapsed() > limits.send_time {
            return Some(TooSlow::Nothing(limits.send_time));
        }
        self.is_below(queued, written, limits.rate_min?)
    }

    fn is_below(&mut self, queued: usize, written: u64, rate: NonZeroU64) -> Option<TooSlow> {
        let taken = written.cast_signed() - queued as i64;
        let (since, before) = *self.counted.get_or_insert_with(|| (Instant::now(), taken));
        let time = since.elapsed();
        if time < RATE_OVER {
            return None;
        }
        self.counted = Some((Instant::now(), taken));
        let wanted = rate.get() as f64 * time.as_secs_f64();
        (((taken - before) as f64) < wanted).then_some(TooSlow::Below(rate))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(test);
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_client_has_its_time_from_the_last_byte_that_it_took() {
        run(async {
            let (limits, mut taking) = (Limits::default(), Taking::default());
            for (queued, written) in [(500, 1_000), (400, 1_000), (400, 1_100)] {
                // Not a byte more than at the last look, for as long as may be.
                for _ in 0..=limits.send_time.as_secs() {
                    assert_eq!(taking.look(queued, written, &limits), None);
                    advance(SECOND).await;
                }
            }
            let too_slow = taking.look(400, 1_100, &limits).unwrap();
            assert_eq!(too_slow.to_string(), "nothing was taken for 120 s");
        });
    }

    #[test]
    fn a_rate_is_over_half_a_minute_in_which_there_was_something_to_take() {
        run(async {
            let rate_min = NonZeroU64::new(1_000);
            let (limits, mut taking) =
                (Limits { rate_min, ..Limits::default() }, Taking::default());
            let mut written = 1_000_000;
            for _ in 0..100 {
                assert_eq!(taking.look(500_000, written, &limits), None);
                (written, _) = (written + 1_000, advance(SECOND).await);
            }
            // In steps, too.
            for _ in 0..4 {
                assert_eq!(taking.look(500_000, written, &limits), None);
                (written, _) = (written + 31_000, advance(30 * SECOND).await);
            }
            for _ in 0..29 {
                assert_eq!(taking.look(500_000, written, &limits), None);
                (written, _) = (written + 900, advance(SECOND).await);
            }
            // It has taken all, and has its half minute anew.
            assert_eq!(taking.look(0, written, &limits), None);
            for _ in 0..30 {
                assert_eq!(taking.look(500_000, written, &limits), None);
                (written, _) = (written + 900, advance(SECOND).await);
            }
            let too_slow = taking.look(500_000, written, &limits).unwrap();
            let text = "less than 1000 bytes a second were taken, over 30 s";
            assert_eq!(too_slow.to_string(), text);
        });
    }
}
