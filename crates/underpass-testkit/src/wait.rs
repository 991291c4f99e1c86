//! Waiting for a condition that nothing announces, with an end.
//!
//! For what has no descriptor to poll: another process's state, a port that starts to accept.
//! The pause only bounds the cost of asking; the condition, never the time, decides.

use std::time::{Duration, Instant};

/// Asks until the answer is `Some`, at most for `limit`.
///
/// Returns `None` if the limit passed first; the condition is asked at least once.
pub fn until<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = condition() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_asked_until_it_holds_and_at_least_once() {
        let mut asked = 0;
        let mut third_time = || {
            asked += 1;
            (asked == 3).then_some(asked)
        };
        assert_eq!(until(Duration::from_secs(60), &mut third_time), Some(3));
        assert_eq!(until(Duration::ZERO, || Some(1)), Some(1));
        assert_eq!(until(Duration::ZERO, || None::<u8>), None);
    }
}
